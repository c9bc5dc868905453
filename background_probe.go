package idlewise

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/idlewise/idlewise/internal/deadline"
)

// Background probes are started by requests, and by nothing else: no timer
// waits for the next one, which would keep a Transport alive that the program
// has dropped.

const (
	// maxProbes is how many upstreams a Transport probes at a time.
	maxProbes = 4

	// maxProbesWaiting is how many more may wait for that. Beyond, an upstream
	// asks again with its next request.
	maxProbesWaiting = 256

	// A probe on fewer connections could not tell a timeout from a restart.
	leastProbeConns = 2

	// retryShare of the interval passes before a probe is tried again that
	// measured nothing.
	retryShare = 10
)

// The causes for which a background probe ends early.
var (
	errProbeUnused  = errors.New("ended early: the upstream was not in use any more")
	errProbeYielded = errors.New("ended early: requests needed its room within MaxConns")
	errProbeClosed  = errors.New("ended early: idle connections were closed")
	errProbeNoRoom  = fmt.Errorf("there was no room within MaxConns for %d connections; raise MaxConns, or give ServerKeepAlive", leastProbeConns)
)

// probeSeats bounds how many probes run at a time. Its lock may be taken with a
// pool's held, not the other way round.
type probeSeats struct {
	mu      sync.Mutex
	taken   int
	waiting []*pool // only while all seats are taken
}

// probing is the state of a pool's background probes; guarded by its mu.
type probing struct {
	pending bool                    // one runs or waits for a seat
	due     time.Time               // of the next
	cancel  context.CancelCauseFunc // of the one that runs, or nil
	unused  *time.Timer             // ends it when the upstream is out of use

	ended   time.Time    // the last attempt
	report  *ProbeReport // of the last that measured something; not changed any more
	problem string       // why the last attempt measured nothing
}

// wantProbeLocked sees to a probe, if one is due. It is asked with every
// request where the policy has Probe.
func (p *pool) wantProbeLocked(now time.Time, pol *Policy) {
	b := p.probe
	if b != nil && (b.pending || now.Before(b.due)) {
		return
	}
	t := p.u.t
	if pol.Learning == Off || t.base.http.DisableKeepAlives || p.u.key.onlyHTTP1 || t.ending.Load() {
		return
	}
	if b == nil {
		b = new(probing)
		p.probe = b
	}
	s := &t.probes
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.taken < maxProbes:
		s.taken++
		b.pending = true
		go s.serve(p)
	case len(s.waiting) < maxProbesWaiting:
		s.waiting = append(s.waiting, p)
		b.pending = true
	}
}

// serve runs p's probe, and then, on the same seat, those that wait.
func (s *probeSeats) serve(p *pool) {
	for p != nil {
		p.runProbe()
		s.mu.Lock()
		p = nil
		if len(s.waiting) > 0 {
			p = s.waiting[0]
			s.waiting[0] = nil
			s.waiting = s.waiting[1:]
		} else {
			s.taken--
			s.waiting = nil
		}
		s.mu.Unlock()
	}
}

// runProbe probes p's server, if that still makes sense, and learns from it.
func (p *pool) runProbe() {
	began := time.Now()
	p.mu.Lock()
	ctx, err := p.admitProbeLocked(began)
	conns := p.probeSlots
	p.mu.Unlock()
	if err != nil {
		return
	}

	var r *ProbeReport
	pol := p.u.policy()
	target, err := p.u.probeURL()
	if err == nil {
		probe := p.u.t.prober(target, p.u.proxy, pol.probeOptions(conns))
		r, err = probe.run(ctx)
		probe.strays.Wait() // they hold their room, like the pool's dials
	}

	now := time.Now()
	p.mu.Lock()
	b := p.probe
	b.unused.Stop()
	b.cancel(nil)
	b.cancel, b.pending, p.probeSlots = nil, false, 0
	b.concludeLocked(r, err, context.Cause(ctx))
	b.scheduleLocked(began, pol)
	b.ended = now
	p.counts.probes++
	if err != nil || !r.Cut && r.Finding == ProbeUnanswered {
		p.counts.probesFailed++
	}
	if n := p.u.t.news; n != nil {
		n.tell(ProbeEnded{p.u.info(now), now.Sub(began), b.problem})
	}
	if r != nil {
		p.learnFromProbeLocked(r, now)
	}
	p.dialWantedLocked()
	p.mu.Unlock()
	p.u.t.noteQuiet()
}

// admitProbeLocked makes room for a probe and returns its context, or an error
// if there is to be none now.
func (p *pool) admitProbeLocked(now time.Time) (context.Context, error) {
	b, pol := p.probe, p.u.policy()
	left := pol.inUseFor() - elapsed(p.lastUse, now)
	err := error(nil)
	switch room := p.probeRoomLocked(pol); {
	case p.closed || p.closeFreed || p.u.t.ending.Load():
		err = errProbeClosed
	case left <= 0:
		err = errProbeUnused // due with the next request
	case room < leastProbeConns:
		err = errProbeNoRoom
		b.problem, b.ended = err.Error(), now
		b.scheduleLocked(now, pol)
	default:
		p.probeSlots = room
	}
	if err != nil {
		b.pending = false
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	b.cancel = cancel
	b.unused = time.AfterFunc(left, func() { p.endUnusedProbe(ctx) })
	return ctx, nil
}

// probeRoomLocked is how many connections a probe may open now.
func (p *pool) probeRoomLocked(pol *Policy) int {
	if pol.MaxConns <= 0 {
		return defaultProbeConns
	}
	// The request that wants it needs one, and may not be dialing yet.
	return min(defaultProbeConns, pol.MaxConns-max(p.countedLocked(), 1))
}

// endUnusedProbe ends the probe with the context ctx if the upstream is out of
// use, and else looks again when it may be.
func (p *pool) endUnusedProbe(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	left := p.u.policy().inUseFor() - elapsed(p.lastUse, time.Now())
	if left > 0 {
		p.probe.unused.Reset(left)
		return
	}
	p.endProbeLocked(errProbeUnused)
}

// endProbeLocked ends the probe that runs, if one does. Its room is free when
// its sockets are closed.
func (p *pool) endProbeLocked(why error) {
	if p.probe != nil && p.probe.cancel != nil {
		p.probe.cancel(why)
	}
}

// concludeLocked takes note of how a probe ended: of what it measured, or of
// the reason why it did not.
func (b *probing) concludeLocked(r *ProbeReport, err, cause error) {
	switch {
	case err != nil:
		b.problem = strings.TrimPrefix(err.Error(), "idlewise: ")
	case r.Cut && r.Measured == 0:
		b.problem = cause.Error()
	case r.Finding == ProbeUnanswered, r.Finding == ProbeInconclusive:
		b.problem = r.Summary()
	default:
		b.problem = ""
	}
	if b.problem == "" || r != nil && r.Finding == ProbeOutlasted && b.report == nil {
		b.report = r
	}
}

// scheduleLocked says when the next probe is due, after one that began then.
func (b *probing) scheduleLocked(began time.Time, pol *Policy) {
	wait := pol.Probe.Every
	if b.problem != "" {
		wait /= retryShare
	}
	b.due = began.Add(jittered(wait))
}

// learnFromProbeLocked learns what a probe's connections came to.
func (p *pool) learnFromProbeLocked(r *ProbeReport, now time.Time) {
	if p.u.policy().Learning == Off {
		return
	}
	conns := slices.Clone(r.Conns)
	g := p.u.group()
	g.lock()
	slices.SortStableFunc(conns, func(a, b ProbeConn) int { return cmp.Compare(a.Ended, b.Ended) })
	for i := range conns {
		c := &conns[i]
		closed := c.End.byServer()
		if c.MassClose || c.Suspended || c.Age <= 0 || !closed && c.End != ProbeEndOpen {
			continue
		}
		if g.learned == nil {
			if !closed {
				continue // of nothing
			}
			g.learned = new(experience)
		}
		learners := []*deadline.Learner{&g.learned.name}
		if own := g.learned.at(c.Remote); own != nil && c.Remote != "" {
			learners = append(learners, own)
		}
		for _, l := range learners {
			if closed {
				l.Closed(r.Began.Add(c.Ended), c.Age)
			} else {
				l.Survived(c.Age)
			}
		}
	}
	g.taught.Add(1)
	g.unlock()
	p.relimitLocked(now)
}

// A BackgroundProbe says what Policy.Probe has come to for an upstream.
type BackgroundProbe struct {
	Running bool `json:"running"`

	// Ended is when the last probe ended, or was given up before it began;
	// zero if there was none yet. Next is the earliest time of the next, which
	// begins with a request; zero while one runs or waits its turn.
	Ended time.Time `json:"ended,omitzero"`
	Next  time.Time `json:"next,omitzero"`

	// Report is that of the last probe that measured something, or nil.
	Report *ProbeReport `json:"report,omitempty"`

	// Problem says why the last probe measured nothing, and is empty if it
	// did.
	Problem string `json:"problem,omitempty"`
}

// export copies b for the program. b may be nil.
func (b *probing) export() *BackgroundProbe {
	if b == nil {
		return nil
	}
	out := &BackgroundProbe{Running: b.cancel != nil, Ended: b.ended, Problem: b.problem}
	if !b.pending {
		out.Next = b.due
	}
	if b.report != nil {
		r := *b.report
		r.Conns = slices.Clone(r.Conns)
		out.Report = &r
	}
	return out
}

func (b *BackgroundProbe) print(to *strings.Builder) {
	if b == nil {
		return
	}
	if b.Running {
		fmt.Fprint(to, "  probe: one is running\n")
	}
	if b.Report != nil {
		fmt.Fprintf(to, "  probe: %s (measured %v)\n", b.Report.Summary(), b.Report.Began.Round(0).Format(time.DateTime))
	}
	if b.Problem != "" {
		fmt.Fprintf(to, "  probe: the last one measured nothing: %s\n", b.Problem)
	}
}
