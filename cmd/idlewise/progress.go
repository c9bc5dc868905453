package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/idlewise/idlewise"
)

// isTerminal reports whether lines written to f can be written over. Consoles
// of Windows need to be asked for that first, and are not.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && runtime.GOOS != "windows" &&
		os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
}

// mostBars is how many lines are written over. More may not fit on the screen,
// and a line that has left it cannot be.
const mostBars = 16

// A progress shows how far the probes are: on a terminal a bar for each,
// written over until they are done, elsewhere a line for each event.
type progress struct {
	w       io.Writer
	bars    bool
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

func newProgress(w io.Writer, o options, terminal bool) *progress {
	p := &progress{
		w: w, bars: terminal && len(o.urls) <= mostBars,
		timeout: cmp.Or(o.probe.Timeout, 2*time.Minute), began: time.Now(), quit: make(chan struct{}),
	}
	for _, u := range o.urls {
		p.items = append(p.items, item{url: redacted(u)})
	}
	if !p.bars {
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
	if err != nil {
		return "(an invalid URL)"
	}
	return u.Redacted()
}

func (p *progress) ended(i int, c idlewise.ProbeConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items[i].ends++
	if !p.bars {
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
	for _, it := range p.items {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", it.line(elapsed, p.timeout))
	}
	io.WriteString(p.w, b.String())
}

// line fits in 79 columns, since a line that wraps cannot be written over.
func (it item) line(elapsed, timeout time.Duration) string {
	const nameWidth, barWidth = 30, 16
	state := it.state
	if it.took > 0 {
		elapsed = it.took
	} else if it.ends > 0 {
		state = fmt.Sprintf("%d ended", it.ends)
	}
	full := min(barWidth, int(barWidth*elapsed/timeout))
	if it.took > 0 {
		full = barWidth
	}
	return fmt.Sprintf("%-*s [%s%s] %6.1f of %.0f s %.14s", nameWidth, clip(it.url, nameWidth),
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), elapsed.Seconds(), timeout.Seconds(), state)
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
