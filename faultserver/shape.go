package faultserver

import (
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// shape is what the faults Latency, Bandwidth, SlowClose and Loss on one
// connection amount to. It does not change; another takes its place.
type shape struct {
	latency, jitter time.Duration
	slowClose       time.Duration
	up, down        *rate.Limiter // client to server and back; nil: no limit
	lost            float64       // share of packets
}

// maxBurst bounds how much passes a Bandwidth at once.
const maxBurst = 16 << 10

// newShape adds up the rules: latencies and lateness add, the lowest rate
// counts, and what one loss leaves the next diminishes.
func newShape(rules []*rule) *shape {
	sh := &shape{}
	var lowest int64
	kept := 1.0
	for _, r := range rules {
		switch f := &r.fault; f.Kind {
		case Latency:
			sh.latency += f.After
			sh.jitter += f.Jitter
		case Bandwidth:
			if lowest == 0 || f.Rate < lowest {
				lowest = f.Rate
			}
		case SlowClose:
			sh.slowClose += f.After
		case Loss:
			share, _ := parseShare(f.Value)
			kept *= 1 - share
		}
	}
	sh.lost = 1 - kept
	if lowest > 0 {
		// A twentieth of a second's worth at a time, so that it flows.
		burst := int(min(max(lowest/20, 1), maxBurst))
		sh.up = rate.NewLimiter(rate.Limit(lowest), burst)
		sh.down = rate.NewLimiter(rate.Limit(lowest), burst)
	}
	return sh
}

// parseShare reads "2.5%".
func parseShare(s string) (share float64, ok bool) {
	number, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(number, 64)
	return v / 100, percent && err == nil && v > 0 && v < 100
}

// reshape replaces the rules that shape the connection.
func (s *socket) reshape(change func([]*rule) []*rule) {
	s.mu.Lock()
	before := len(s.rules)
	s.rules = change(s.rules)
	if len(s.rules) == before && s.shape.Load() == nil {
		s.mu.Unlock()
		return
	}
	sh := newShape(s.rules)
	old := s.shape.Swap(sh)
	gone := s.ended
	s.mu.Unlock()
	if !gone && (sh.lost > 0 || old != nil && old.lost > 0) {
		lose(s, sh.lost) // asked before the fault was injected; a loss that ends with the socket is no loss
	}
}

func (s *socket) shapedBy(r *rule) {
	s.reshape(func(rules []*rule) []*rule { return append(rules, r) })
}

func (s *socket) noLongerShapedBy(r *rule) {
	s.reshape(func(rules []*rule) []*rule {
		return slices.DeleteFunc(slices.Clone(rules), func(other *rule) bool { return other == r })
	})
}

// dueAfter is when something sent now arrives.
func (s *socket) dueAfter() time.Time {
	sh := s.shape.Load()
	return time.Now().Add(sh.latency + s.srv.rules.draw(sh.jitter))
}

// lineIn returns the line from the client, nil without latency. It is made by
// the reader itself, so that two never read from the socket in turns.
func (s *socket) lineIn() *line {
	sh := s.shape.Load()
	if sh == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == nil && !s.ended && sh.latency+sh.jitter > 0 {
		s.in = newLine()
		s.Conn.SetReadDeadline(time.Time{})
		in := s.in
		s.srv.wg.Go(func() { s.pumpIn(in) })
	}
	return s.in
}

func (s *socket) lineOut() *line {
	sh := s.shape.Load()
	if sh == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == nil && !s.ended && sh.latency+sh.jitter > 0 {
		s.out, s.outDone = newLine(), make(chan struct{})
		s.Conn.SetWriteDeadline(time.Time{})
		out := s.out
		s.srv.wg.Go(func() { s.pumpOut(out) })
	}
	return s.out
}

// pumpIn moves what the client sends into the line until the socket ends.
func (s *socket) pumpIn(in *line) {
	buf := make([]byte, maxBurst)
	for s.srv.gate.pass(s.ctx.Done()) {
		n, err := s.readPaced(buf)
		if n > 0 && in.put(buf[:n], s.dueAfter(), s.ctx.Done(), nil) != nil {
			return
		}
		if err != nil {
			in.end(err, s.dueAfter())
			return
		}
	}
}

// pumpOut moves what comes out of the line to the client.
func (s *socket) pumpOut(out *line) {
	defer close(s.outDone)
	buf := make([]byte, maxBurst)
	for {
		n, err := out.take(buf, s.gone.Done(), nil)
		if n > 0 {
			if !s.srv.gate.pass(s.gone.Done()) {
				return
			}
			if _, werr := s.writePaced(buf[:n], nil); werr != nil {
				out.end(werr, time.Time{})
				return
			}
			continue
		}
		if err == io.EOF {
			if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
		}
		return
	}
}

// readShaped reads without a line. A latency that came while it waited is paid
// here.
func (s *socket) readShaped(p []byte) (int, error) {
	n, err := s.readPaced(p)
	if sh := s.shape.Load(); sh != nil && n > 0 && sh.latency+sh.jitter > 0 {
		sleep(time.Until(s.dueAfter()), s.ctx.Done())
	}
	return n, err
}

// readPaced takes from the kernel no more than the rate allows, so that the
// client's window fills.
func (s *socket) readPaced(p []byte) (int, error) {
	if sh := s.shape.Load(); sh != nil && sh.up != nil {
		p = p[:min(len(p), sh.up.Burst())]
	}
	n, err := s.Conn.Read(p)
	sh := s.shape.Load() // it may be another than before
	if sh == nil || sh.up == nil {
		return n, err
	}
	for left := n; left > 0; {
		part := min(left, sh.up.Burst())
		if sh.up.WaitN(s.ctx, part) != nil {
			return 0, s.closedError("read")
		}
		left -= part
	}
	return n, err
}

// writePaced gives the kernel no more than the rate allows, until expired.
func (s *socket) writePaced(p []byte, expired <-chan struct{}) (written int, err error) {
	for len(p) > 0 {
		part := p
		if sh := s.shape.Load(); sh != nil && sh.down != nil {
			part = p[:min(len(p), sh.down.Burst())]
			if !s.awaitRate(sh.down, len(part), expired) {
				return written, s.writeError(expired)
			}
		}
		n, err := s.Conn.Write(part)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// awaitRate waits for n bytes' turn, at most a burst. It is false if the end of
// the socket or expired, which may be nil, came first.
func (s *socket) awaitRate(l *rate.Limiter, n int, expired <-chan struct{}) bool {
	turn := l.ReserveN(time.Now(), n)
	wait := turn.Delay()
	if wait <= 0 {
		return s.gone.Err() == nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.gone.Done():
	case <-expired:
	}
	turn.Cancel()
	return false
}

// flushPatience is how long the end of a connection with latency waits for a
// client that does not read.
const flushPatience = 10 * time.Second

// closeLate ends the socket when the line has run dry and a SlowClose is over.
// A request that crosses the FIN is answered with a RST behind it, as if it had
// arrived after close(2).
func (s *socket) closeLate(late time.Duration) {
	defer s.srv.leftovers.remove(s)
	due := s.dueAfter().Add(late)
	s.mu.Lock()
	in, out, outDone := s.in, s.out, s.outDone
	s.mu.Unlock()
	if out != nil {
		out.end(net.ErrClosed, time.Time{})
		stuck := time.NewTimer(flushPatience + late)
		defer stuck.Stop()
		select {
		case <-outDone:
		case <-stuck.C:
		case <-s.gone.Done():
		}
	}
	if !sleep(time.Until(due), s.gone.Done()) || s.gone.Err() != nil {
		return // somebody else has ended it
	}
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	if in != nil && in.holdsData() {
		s.reset()
		return
	}
	s.goAway()
	s.Conn.Close()
}

// sleep waits, or until stop.
func sleep(d time.Duration, stop <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
		return false
	}
}
