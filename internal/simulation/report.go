package simulation

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Violation is a promise that was broken.
type Violation struct {
	Promise string        `json:"promise"` // P1 to P7
	At      time.Duration `json:"at_ns"`   // since the run began
	What    string        `json:"what"`
}

func (v Violation) String() string { return fmt.Sprintf("%s at %v: %s", v.Promise, v.At, v.What) }

// A Report is what a run came to. It says enough about what happened to show that
// the run was worth something.
type Report struct {
	Violations []Violation

	Calls, Answered, Failed int
	Attempts, Resent        int // of calls with a Trace
	Executed                int // by the servers
	Conns                   int
	Spent                   time.Duration // of virtual time
}

// maxViolations is how many are kept: the first ones tell the story.
const maxViolations = 20

func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls (%d answered, %d failed), %d attempts seen, %d resent, %d executions, %d connections, %v",
		r.Calls, r.Answered, r.Failed, r.Attempts, r.Resent, r.Executed, r.Conns, r.Spent.Round(time.Millisecond))
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\n  %v", v)
	}
	return b.String()
}

// breaks reports whether the promise was broken; "" stands for any.
func (r Report) breaks(promise string) bool {
	for _, v := range r.Violations {
		if promise == "" || v.Promise == promise {
			return true
		}
	}
	return false
}

// A ledger is a Report while the run goes on.
type ledger struct {
	began time.Time

	mu     sync.Mutex
	report Report
}

func (l *ledger) violate(promise, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.report.Violations) < maxViolations {
		l.report.Violations = append(l.report.Violations, Violation{promise, time.Since(l.began), fmt.Sprintf(format, args...)})
	}
}

func (l *ledger) count(f func(*Report)) {
	l.mu.Lock()
	f(&l.report)
	l.mu.Unlock()
}

// Add adds what other came to, but for its violations.
func (r *Report) Add(other Report) {
	r.Calls += other.Calls
	r.Answered += other.Answered
	r.Failed += other.Failed
	r.Attempts += other.Attempts
	r.Resent += other.Resent
	r.Executed += other.Executed
	r.Conns += other.Conns
	r.Spent += other.Spent
}

// Command is what runs a seed again.
func Command(seed uint64) string {
	return fmt.Sprintf("go run ./internal/simulation/cmd -seed %d", seed)
}
