package trial

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

// A result is what came of a run.
type result struct {
	name, above                  string
	operations, attempts, errors int
	failures                     []error
	saw                          map[string]int
	took                         time.Duration
	struck, executions           int
	kinds                        map[string]int // of faults, and why the server closed connections
	postsTwice                   int
}

func (r *Run) result() result {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.Server.Journal()
	totals := j.Totals()
	res := result{
		name: r.Name, above: r.Above, operations: r.operations, attempts: r.attempts,
		failures: slices.Clone(r.failures), saw: maps.Clone(r.saw), took: r.took,
		executions: totals.Executions,
		postsTwice: len(j.ExecutedTwice("POST")), kinds: totals.Faults,
	}
	if r.Twice {
		res.postsTwice = 0
	}
	for _, why := range []string{"idle-timeout", "draining", "server-killed"} {
		if n := totals.Closed[why]; n > 0 {
			res.kinds[why] = n
		}
	}
	delete(res.kinds, faultserver.Latency.String()) // it is the distance, and no fault of the server's
	for _, n := range res.kinds {
		res.struck += n
	}
	for _, n := range r.saw {
		res.errors += n
	}
	return res
}

// Report prints what became of the two runs, by what the SDK saw and by the
// journals of the servers. Its error says why they do not show what they are
// to show: that there were faults, that an SDK on http.Transport (theirs) sees
// them, and that one on idlewise (ours) does not.
func Report(out io.Writer, theirs, ours *Run) error {
	results := []result{theirs.result(), ours.result()}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tthe program's\t\tthe %s's\t\tthe server's\t\t\t\n", ours.Above)
	fmt.Fprintf(t, "beneath the %s\tcalls\tfailed\tattempts\terrors\tfaults\texecuted\ttook\t\n", ours.Above)
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1fs\t\n", r.name, r.operations, len(r.failures),
			r.attempts, r.errors, r.struck, r.executions, r.took.Seconds())
	}
	t.Flush()
	fmt.Fprintln(out)
	for _, r := range results {
		fmt.Fprintf(out, "%s: struck by %s.\n", r.name, list(r.kinds))
		if len(r.saw) > 0 {
			fmt.Fprintf(out, "  The %s saw %s.\n", r.above, list(r.saw))
		}
		for i, err := range r.failures {
			if i == 3 {
				fmt.Fprintf(out, "  … and %d more.\n", len(r.failures)-i)
				break
			}
			fmt.Fprintf(out, "  The program got: %v\n", err)
		}
	}
	if err := verdict(results[0], results[1]); err != nil {
		return err
	}
	fmt.Fprintf(out, "The server was struck, and the %s on %s did not see it.\n", ours.Above, ours.Name)
	return nil
}

func verdict(theirs, ours result) error {
	var errs []error
	if ours.struck == 0 {
		errs = append(errs, errors.New("no fault struck idlewise's server: it proves nothing"))
	}
	if theirs.errors == 0 {
		errs = append(errs, fmt.Errorf("the %s on %s saw no error: the faults prove nothing", theirs.above, theirs.name))
	}
	if ours.operations == 0 || ours.operations != theirs.operations {
		errs = append(errs, fmt.Errorf("%d and %d calls: want as many of both", theirs.operations, ours.operations))
	}
	if n := len(ours.failures); n > 0 {
		errs = append(errs, fmt.Errorf("%d calls failed on idlewise, the first: %w", n, ours.failures[0]))
	}
	if ours.errors > 0 {
		errs = append(errs, fmt.Errorf("the %s on idlewise saw %s", ours.above, list(ours.saw)))
	}
	if ours.attempts != ours.operations {
		errs = append(errs, fmt.Errorf("the %s on idlewise made %d attempts for %d calls", ours.above, ours.attempts, ours.operations))
	}
	if ours.postsTwice > 0 {
		errs = append(errs, fmt.Errorf("%d POSTs were executed twice", ours.postsTwice))
	}
	return errors.Join(errs...)
}

// list says what there was how often, the most frequent first.
func list(n map[string]int) string {
	if len(n) == 0 {
		return "nothing"
	}
	names := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		return cmp.Or(cmp.Compare(n[b], n[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%q %d times", name, n[name])
		if n[name] == 1 {
			names[i] = fmt.Sprintf("%q once", name)
		}
	}
	return strings.Join(names, ", ")
}

// cause is an error's text without addresses, so that equal ones count as such.
func cause(err error) string {
	for op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil; {
		err = op.Err
	}
	return err.Error()
}
