package idlewise

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// reuseRungs are tried first, each half of the next.
	reuseRungs = 8
	// maxReuseRounds bounds the narrowing, and so the requests: at most
	// 2·(8 + 6·32).
	maxReuseRounds = 6
	// leastDead is the least time without an answer that counts as death.
	leastDead = time.Second
)

// bisect brackets the idle time after which a connection is dead though
// nothing shows it. Rungs of a ladder are tried at the same time; then the
// bracket is cut into as many parts as there may be connections, until it is
// narrow or the time is over.
func (p *prober) bisect(ctx context.Context) {
	limit := p.opt.Timeout / 2
	var rungs []time.Duration
	for i := range reuseRungs {
		rungs = append(rungs, limit>>(reuseRungs-1-i))
	}
	p.tryRound(ctx, rungs)
	for range maxReuseRounds {
		lo, hi, seen := p.reuseBracket()
		width := p.opt.Resolution
		if width == 0 {
			width = max(hi/50, oneInstant)
		}
		// An end that was seen is exact.
		if hi == 0 || seen || hi-lo <= width || ctx.Err() != nil {
			break
		}
		n := min(time.Duration(p.opt.Connections), (hi-lo+width-1)/width-1)
		points := make([]time.Duration, 0, n)
		for i := range n {
			points = append(points, lo+(hi-lo)*(i+1)/(n+1))
		}
		if len(points) == 0 {
			break
		}
		p.tryRound(ctx, points)
	}
	p.concludeReuse()
}

// errTryPointless is the cause of contexts that end because a shorter idle time
// was found deadly.
var errTryPointless = errors.New("a shorter idle time was deadly")

// tryRound tries idle times, in ascending order, and gives those up that are
// longer than one found deadly.
func (p *prober) tryRound(ctx context.Context, idle []time.Duration) {
	slots := make(chan struct{}, p.opt.Connections)
	cancels := make([]context.CancelCauseFunc, len(idle))
	ctxs := make([]context.Context, len(idle))
	for i := range idle {
		ctxs[i], cancels[i] = context.WithCancelCause(ctx)
		defer cancels[i](nil)
	}
	var wg sync.WaitGroup
	for i, t := range idle {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctxs[i].Err() == nil && p.try(ctxs[i], t) {
				for _, cancel := range cancels[i+1:] {
					cancel(errTryPointless)
				}
			}
		})
	}
	wg.Wait()
}

// try uses a connection again after an idle time, and reports whether it was
// dead. A connection that is seen to end, or cannot be used even once, is
// reported with the watched ones.
func (p *prober) try(ctx context.Context, idle time.Duration) (dead bool) {
	var row ProbeConn
	c := p.open(ctx, &row)
	if c == nil && context.Cause(ctx) == errTryPointless {
		return false // what ended it says nothing of the server
	}
	if c != nil {
		defer c.close()
		until, cancel := context.WithDeadline(ctx, c.idleSince.Add(idle))
		row.End, row.Age = c.watch(until)
		cancel()
		if ctx.Err() != nil {
			return false // given up
		}
	}
	if c == nil || row.End != ProbeEndOpen {
		if c != nil {
			row.note(c)
		}
		row.Ended = time.Since(p.began)
		p.mu.Lock()
		row.N = len(p.report.Conns) + 1
		p.mu.Unlock()
		p.add(row)
		return true
	}
	asleep := c.suspended(time.Now())
	y := ProbeTry{Idle: row.Age, Answered: true}
	_, err := c.ask(ctx, p.method(), min(p.opt.AnswerTimeout, max(leastDead, 10*c.rtt, 5*c.took)))
	if err != nil {
		if ctx.Err() != nil {
			return false
		}
		y.Answered, y.Detail = false, err.Error()
		if y.End, _ = c.state().ended(); y.End == ProbeEndOpen || errors.Is(err, errProbeSlow) {
			y.End = ProbeEndSilent
		}
	}
	if asleep {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report.Reuse == nil {
		p.report.Reuse = &ProbeReuse{}
	}
	u := p.report.Reuse
	u.Tries = append(u.Tries, y)
	row.Ended = time.Since(p.began)
	if u.hint == 0 || row.Hint > 0 && row.Hint < u.hint {
		u.hint, u.rtt = row.Hint, row.RTT
	}
	return !y.Answered
}

// reuseBracket returns the greatest idle time that a connection survived and,
// above it, the least that it did not survive; seen says that this one was
// seen to end.
func (p *prober) reuseBracket() (lo, hi time.Duration, seen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.report.Conns {
		if c := &p.report.Conns[i]; c.End.byServer() {
			return 0, c.Age, true
		}
	}
	if p.report.Reuse == nil {
		return 0, 0, false
	}
	lo, hi = p.report.Reuse.bracket()
	return lo, hi, false
}

func (u *ProbeReuse) bracket() (lo, hi time.Duration) {
	for _, y := range u.Tries {
		if !y.Answered && (hi == 0 || y.Idle < hi) {
			hi = y.Idle
		}
	}
	for _, y := range u.Tries {
		if y.Answered && (hi == 0 || y.Idle < hi) {
			lo = max(lo, y.Idle)
		}
	}
	return lo, hi
}

func (p *prober) concludeReuse() {
	u := p.report.Reuse
	if u == nil {
		return
	}
	slices.SortFunc(u.Tries, func(a, b ProbeTry) int { return cmp.Compare(a.Idle, b.Idle) })
	u.Answered, u.Dead = u.bracket()
	for _, y := range u.Tries {
		if y.Answered && u.Dead > 0 && y.Idle > u.Dead {
			u.Inconsistent = true
		}
	}
	p.report.Announced, p.report.RTT = u.hint, u.rtt
}
