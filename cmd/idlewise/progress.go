package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/internal/terminal"
)

// terminalWidth tells the width of the terminal that f is. It is nil if lines
// written to f cannot be written over: where f is no terminal, or does not know
// its width, and on Windows, whose consoles need to be asked for it first.
func terminalWidth(f *os.File) func() int {
	if os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" || terminal.Width(f) == 0 {
		return nil
	}
	return func() int { return terminal.Width(f) }
}

// mostBars is how many lines are written over. More may not fit on the screen,
// and a line that has left it cannot be.
const mostBars = 16

// A progress shows how far the probes are: on a terminal a bar for each,
// written over until they are done, elsewhere a line for each event.
type progress struct {
	w       io.Writer
	width   func() int // of the terminal; nil: no bars
	timeout time.Duration
	began   time.Time
	quit    chan struct{}
	drawing sync.WaitGroup

	mu    sync.Mutex
	items []item
	drawn bool
}

// An item is one URL's state.
type item struct {
	url   string
	ends  int           // connections that have ended
	took  time.Duration // not zero: it is done
	state string
}

func newProgress(w io.Writer, o options, width func() int) *progress {
	if len(o.urls) > mostBars {
		width = nil
	}
	p := &progress{
		w: w, width: width,
		timeout: cmp.Or(o.probe.Timeout, 2*time.Minute), began: time.Now(), quit: make(chan struct{}),
	}
	for _, u := range o.urls {
		p.items = append(p.items, item{url: redacted(u)})
	}
	if p.width == nil {
		for _, it := range p.items {
			fmt.Fprintf(w, "probing %s, for up to %v\n", it.url, p.timeout)
		}
		return p
	}
	p.drawing.Go(p.draw)
	return p
}

// redacted is the URL without its password.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case (err != nil || u.Host == "") && strings.Contains(raw, "@"):
		return "(an invalid URL)" // with a password somewhere in it, perhaps
	case err != nil || u.Host == "":
		return strconv.Quote(raw)
	}
	return u.Redacted()
}

func (p *progress) ended(i int, c idlewise.ProbeConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items[i].ends++
	if p.width == nil {
		fmt.Fprintf(p.w, "%s: %v\n", p.items[i].url, c)
	}
}

func (p *progress) done(i int, r result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items[i].took = max(time.Since(p.began), 1)
	p.items[i].state = "failed"
	if r.report != nil {
		p.items[i].state = r.report.Finding.String()
	}
}

func (p *progress) stop() {
	close(p.quit)
	p.drawing.Wait()
}

func (p *progress) draw() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		p.drawOnce(time.Since(p.began))
		select {
		case <-ticker.C:
		case <-p.quit:
			p.drawOnce(time.Since(p.began))
			return
		}
	}
}

func (p *progress) drawOnce(elapsed time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	if p.drawn {
		fmt.Fprintf(&b, "\x1b[%dA", len(p.items)) // up to the first
	}
	p.drawn = true
	width := p.width()
	for _, it := range p.items {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", it.line(elapsed, p.timeout, width))
	}
	io.WriteString(p.w, b.String())
}

// line fits in width columns but one, since a line that wraps cannot be written
// over. On a narrow terminal the URL is clipped first, then the bar goes.
func (it item) line(elapsed, timeout time.Duration, width int) string {
	const most, least, barWidth, rest = 30, 12, 16, 34 // rest: the times and the state
	state := it.state
	if it.took > 0 {
		elapsed = it.took
	} else if it.ends > 0 {
		state = fmt.Sprintf("%d ended", it.ends)
	}
	bar := ""
	if width >= least+barWidth+rest {
		full := min(barWidth, int(barWidth*elapsed/timeout))
		if it.took > 0 {
			full = barWidth
		}
		bar = fmt.Sprintf(" [%s%s]", strings.Repeat("#", full), strings.Repeat(".", barWidth-full))
	}
	name := max(least, min(most, width-len(bar)-rest))
	line := fmt.Sprintf("%-*s%s %6.1f of %.0f s %.14s", name, clip(it.url, name), bar, elapsed.Seconds(), timeout.Seconds(), state)
	return line[:max(0, min(len(line), width-1))] // all of it is ASCII
}

// clip shortens a URL to width columns of ASCII.
func clip(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if _, rest, ok := strings.Cut(s, "://"); ok && len(s) > width {
		s = rest
	}
	if len(s) > width {
		s = s[:width-3] + "..."
	}
	return s
}
