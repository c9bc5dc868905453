package idlewise

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// Knowledge is what a Transport has learned about the idle timeouts of its
// upstreams. It can be written as JSON and given to another process as
// Config.Learned, so that it need not learn by its own losses: for short-lived
// jobs and functions. There it counts as provisional until a close agrees with
// it: it can lower a deadline, and does not override what a server announces.
type Knowledge struct {
	Version   int                 `json:"version"` // 1
	Upstreams []UpstreamKnowledge `json:"upstreams"`
}

// UpstreamKnowledge is what was learned about one upstream.
type UpstreamKnowledge struct {
	Name       string        `json:"name"`        // such as "https://api.example.com:443", and the proxy
	At         time.Time     `json:"at"`          // when it was written down
	Deadline   time.Duration `json:"deadline_ns"` // the idle timeout, 0 if unknown
	Confidence string        `json:"confidence"`  // "confirmed", "provisional" or "none"
	Timeouts   []Timeout     `json:"timeouts"`    // the evidence, the lowest first
}

// A Timeout is an idle age, or a small range of them, at which an upstream
// closed connections.
type Timeout struct {
	Lower    time.Duration `json:"lower_ns"`
	Upper    time.Duration `json:"upper_ns"`
	Closes   int           `json:"closes"`   // at this age, ever
	Weight   float64       `json:"weight"`   // of these closes, fading as others come
	Survived float64       `json:"survived"` // weight of connections that were alive after it
}

const knowledgeVersion = 1

// maxTimeouts bounds what Config.Learned may hold per upstream.
const maxTimeouts = 8

// Knowledge returns what was learned so far, sorted by upstream. Upstreams
// about which nothing was learned are left out.
func (t *Transport) Knowledge() *Knowledge {
	k := &Knowledge{Version: knowledgeVersion, Upstreams: []UpstreamKnowledge{}}
	if t.ready() != nil || t.passthrough != nil {
		return k
	}
	now := time.Now()
	seen := make(map[string]bool)
	for _, u := range t.registry.all() {
		if uk, ok := u.knowledge(now); ok {
			k.Upstreams = append(k.Upstreams, uk)
			seen[uk.Name] = true
		}
	}
	for name, uk := range t.learned { // not met in this process
		if !seen[name] {
			k.Upstreams = append(k.Upstreams, uk)
		}
	}
	slices.SortFunc(k.Upstreams, func(a, b UpstreamKnowledge) int { return cmp.Compare(a.Name, b.Name) })
	return k
}

func (u *upstream) knowledge(now time.Time) (UpstreamKnowledge, bool) {
	p := &u.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	g := u.group()
	g.lock()
	defer g.unlock()
	if g.learned == nil {
		return UpstreamKnowledge{}, false
	}
	d, sure := g.learned.name.Deadline()
	k := UpstreamKnowledge{Name: u.name, At: now.Round(0), Deadline: d, Confidence: sure.String()}
	for _, m := range g.learned.name.Recall() {
		k.Timeouts = append(k.Timeouts, Timeout(m))
	}
	return k, len(k.Timeouts) > 0
}

// ParseKnowledge reads what json.Marshal made of a Knowledge. What is corrupt or
// of another kind is an error; a Transport then starts without.
func ParseKnowledge(text []byte) (*Knowledge, error) {
	var k Knowledge
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("idlewise: knowledge: %w", err)
	}
	if err := k.validate(); err != nil {
		return nil, fmt.Errorf("idlewise: knowledge: %w", err)
	}
	return &k, nil
}

// validate reports every mistake.
func (k *Knowledge) validate() error {
	if k.Version != knowledgeVersion {
		return fmt.Errorf("version: %d is not %d; was it written by another program?", k.Version, knowledgeVersion)
	}
	var errs []error
	seen := make(map[string]bool)
	for i, u := range k.Upstreams {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("upstreams[%d] (%q): %s", i, u.Name, fmt.Sprintf(format, args...)))
		}
		switch {
		case u.Name == "":
			bad("name: is empty")
		case seen[u.Name]:
			bad("name: is there twice")
		}
		seen[u.Name] = true
		if len(u.Timeouts) > maxTimeouts {
			bad("timeouts: %d are more than %d", len(u.Timeouts), maxTimeouts)
		}
		for j, m := range u.Timeouts {
			if m.Lower <= 0 || m.Upper < m.Lower || m.Closes < 1 || !(m.Weight >= 0) || !(m.Survived >= 0) {
				bad("timeouts[%d]: %+v is none", j, m)
			}
		}
	}
	return errors.Join(errs...)
}

// learnedBefore returns the experience that an earlier process had with u, or
// nil.
func (t *Transport) learnedBefore(u *upstream) *experience {
	k, ok := t.learned[u.name]
	if !ok {
		return nil
	}
	all := make([]deadline.Memory, len(k.Timeouts))
	for i, m := range k.Timeouts {
		all[i] = deadline.Memory(m)
	}
	return &experience{name: deadline.Remember(all)}
}
