package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/internal/terminal"
)

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// every is how often the status line is renewed, and the phase looked at.
const every = 500 * time.Millisecond

// showStatus keeps one line on a terminal up to date; elsewhere it prints a
// line whenever the scenario's phase has changed. The function it returns ends
// that, and waits for the end.
func showStatus(w io.Writer, terminal bool, s *faultserver.Server) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		last := ""
		for {
			if terminal {
				fmt.Fprintf(w, "\r\x1b[K%s", clipped(statusLine(s), widthOf(w)))
			} else if now := s.Phase(); now.Scenario != "" && now.String() != last {
				last = now.String()
				fmt.Fprintf(w, "%s: %s\n", commandName, last)
			}
			select {
			case <-tick.C:
			case <-quit:
				if terminal {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func statusLine(s *faultserver.Server) string {
	t := s.Journal().Totals()
	line := fmt.Sprintf("connections %d (%d open)  requests %d  faults %d", t.Connections, t.Open, t.Requests, t.Struck)
	switch now := s.Phase(); {
	case now.Ended:
		line += "  " + now.String()
	case now.Scenario != "":
		line += fmt.Sprintf("  phase %d/%d %s", now.Number, now.Of, now.Phase)
	}
	return line
}

// widthOf is the width of the terminal that w is, or what most have.
func widthOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width := terminal.Width(f); width > 0 {
			return width
		}
	}
	return 80
}

// clipped leaves a column free: a line that wraps cannot be written over.
func clipped(line string, width int) string {
	if runes := []rune(line); len(runes) >= width {
		return string(runes[:max(0, width-2)]) + "…"
	}
	return line
}

// list prints everything that has a name.
func list(w io.Writer) {
	listPersonalities(w)
	fmt.Fprintln(w, "scenarios:")
	for _, name := range faultserver.Scenarios() {
		about := ""
		if sc, err := faultserver.LoadScenario(name); err == nil {
			about = firstSentence(sc.Description)
		}
		fmt.Fprintf(w, "  %-24s %s\n", name, about)
	}
	fmt.Fprintln(w, "operations (in scenarios and at the control endpoint):")
	fmt.Fprintf(w, "  %s\n", strings.Join(faultserver.Operations(), " "))
	fmt.Fprintln(w, "faults, with the parameters each needs and [takes]:")
	for _, k := range faultserver.Kinds() {
		needed, optional := k.Parameters()
		parameters := strings.Join(needed, " ")
		if len(optional) > 0 {
			parameters = strings.TrimSpace(parameters + " [" + strings.Join(optional, " ") + "]")
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-28s %s", k, parameters), " "))
	}
	fmt.Fprintln(w, "every fault also takes: nth nth_on_conn reused_only idle_at_least probability method path header times")
}

func listPersonalities(w io.Writer) {
	fmt.Fprintln(w, "personalities, with their idle timeout, how they close then, and requests per connection:")
	for _, name := range faultserver.Personalities() {
		d, err := faultserver.DescribePersonality(name)
		if err != nil {
			continue // it is in the list
		}
		idle, requests := "-", "-"
		if limit := cmp.Or(d.IdleTimeout, d.IdleTimeoutHTTP2); limit > 0 {
			idle = limit.String()
		}
		if d.MaxRequests > 0 {
			requests = strconv.Itoa(d.MaxRequests)
		}
		fmt.Fprintf(w, "  %-14s %-8s %-12s %-6s %s\n", name, idle, d.Close, requests, firstSentence(d.Text))
	}
}

func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if end := strings.Index(text, ". "); end >= 0 {
		text = text[:end+1]
	}
	return text
}
