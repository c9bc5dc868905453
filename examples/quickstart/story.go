package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// An ending is all that is known after a comparison.
type ending struct {
	own         bool // against the user's own server
	post        bool
	deadline    time.Duration
	retired     time.Duration // idle age at which idlewise closes; 0: it knows of no deadline
	planned     int           // requests per transport
	interrupted bool
	theirs      result // http.Transport's
	ours        result // idlewise's
}

// realRetired is what the idle age of a demonstration stands for: when idlewise
// leaves a server that closes after uvicornKeepAlive. The shorter a keep-alive
// is, the larger a share of it is margin.
const realRetired = 4750 * time.Millisecond

// printStory says in words what the table shows, and what it does not.
func printStory(w io.Writer, e ending) {
	switch {
	case e.interrupted:
		say(w, "Stopped early: this is what was seen until then.")
	case min(e.theirs.requests, e.ours.requests) < e.planned:
		say(w, "Stopped early: the time was up before all %d requests were sent; -duration gives more.", e.planned)
	}
	if e.theirs.requests > 0 {
		e.tellTheirs(w)
	}
	if e.ours.requests > 0 {
		e.tellOurs(w)
	}
	e.tellTwice(w)
	if e.own {
		e.tellServer(w)
	}
}

func (e ending) tellTheirs(w io.Writer) {
	r := e.theirs
	again := ""
	if r.repeated > 0 {
		again = fmt.Sprintf(" It sent %s a second time without telling.", count(r.repeated, "request"))
	}
	failed := total(r.causes)
	switch {
	case failed > 0:
		why := ""
		if !e.own {
			why = " because the server was just closing their connection"
		}
		say(w, "http.Transport: %.1f %% of the requests failed%s (%s).%s It repeats GETs by itself, but leaves PUT, DELETE and POST to you.",
			100*float64(failed)/float64(r.requests), why, causes(r.causes), again)
	case e.own && !e.post && r.repeated > 0:
		say(w, "http.Transport: no error, since it repeats GETs by itself.%s As POSTs most of these would have failed; -post shows it, with real POSTs.", again)
	case e.own:
		say(w, "http.Transport: no error.%s", again)
	default:
		say(w, "http.Transport: no error.%s The race with the server's close was never lost this time; run it again.", again)
	}
}

func (e ending) tellOurs(w io.Writer) {
	r := e.ours
	text := "idlewise: no error."
	if failed := total(r.causes); failed > 0 {
		text = fmt.Sprintf("idlewise: %s (%s).", count(failed, "error"), causes(r.causes))
		if !e.own {
			text += " This should not happen: please report it, with this output."
		}
	}
	if r.repeated > 0 {
		text += fmt.Sprintf(" It sent %s a second time, where that was safe.", count(r.repeated, "request"))
	}
	if e.retired > 0 {
		real := ""
		if !e.own {
			real = fmt.Sprintf(" (%v of %v in life)", realRetired, uvicornKeepAlive)
		}
		text += fmt.Sprintf(" It closes a connection that was idle for %v%s, before the server does, and so opened %d where http.Transport opened %d.",
			e.retired.Round(time.Millisecond), real, r.connections, e.theirs.connections)
	} else {
		text += fmt.Sprintf(" It does not know when the server closes; if that is after %[1]v, -keep-alive %[1]v lets it leave in time.", e.deadline)
	}
	say(w, "%s", text)
}

// tellTwice tells what the journals counted.
func (e ending) tellTwice(w io.Writer) {
	switch theirs, ours := e.theirs.postTwice, e.ours.postTwice; {
	case theirs == notCounted || ours == notCounted:
		say(w, "Whether a request was executed twice only your server can tell.")
	case theirs == 0 && ours == 0:
		say(w, "No POST was executed twice, say the servers' journals.")
	default:
		say(w, "POSTs that were executed twice, as the servers' journals say: http.Transport %d, idlewise %d.", theirs, ours)
	}
}

// tellServer says whether the gaps were near the server's true keep-alive, for
// otherwise nothing could have been seen, and what answers it gave.
func (e ending) tellServer(w io.Writer) {
	switch long, open := e.theirs.alive+e.theirs.closed, e.theirs.alive; {
	case long == 0:
	case open == long:
		say(w, "After %v idle the server had never closed the connection: its keep-alive is longer. A larger -gap comes nearer to the race.", e.deadline)
	case open == 0:
		say(w, "After %v idle the server had always closed the connection: its keep-alive is shorter. A smaller -gap comes nearer to the race.", e.deadline)
	default:
		say(w, "After about %v idle the server had closed %d of %d connections: -gap is right. More -requests show more.", e.deadline, long-open, long)
	}
	for _, r := range []result{e.theirs, e.ours} {
		for _, status := range slices.Sorted(maps.Keys(r.statuses)) {
			say(w, "%s: %s with status %d, not counted as an error.", r.name, count(r.statuses[status], "answer"), status)
		}
	}
}

// causes lists what errors said, the most frequent first.
func causes(n map[string]int) string {
	texts := slices.SortedFunc(maps.Keys(n), func(a, b string) int {
		return cmp.Or(cmp.Compare(n[b], n[a]), strings.Compare(a, b))
	})
	var parts []string
	for i, text := range texts {
		if i == 3 {
			parts = append(parts, "and others")
			break
		}
		parts = append(parts, fmt.Sprintf("%s: %d", text, n[text]))
	}
	return strings.Join(parts, ", ")
}

func total(n map[string]int) (sum int) {
	for _, k := range n {
		sum += k
	}
	return sum
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// say prints a paragraph, in lines of at most 79 characters where its words
// are not longer.
func say(w io.Writer, format string, args ...any) {
	line := ""
	for _, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		if line != "" && len(line)+1+len(word) > 79 {
			fmt.Fprintln(w, line)
			line = " " // continued
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	fmt.Fprintln(w, line)
}
