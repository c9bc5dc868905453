package idlewise

import (
	"container/list"
	"context"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

// A server that has just come back, or that refuses connections for having too
// many, is not helped by everybody's dialing at once. So dials are paced: by the
// policy's DialRate, and after failures by themselves.

// From the second round of failed dials on, the nth next one waits for a random
// time up to the lesser of dialBackoff·2ⁿ and maxDialBackoff. The first failure
// slows nothing down: a single lost connection is dialed anew at once.
const (
	dialBackoff    = 50 * time.Millisecond
	maxDialBackoff = time.Second
)

// dialPace is what a group keeps for it, and guards.
type dialPace struct {
	failures int       // rounds of failed dials in a row
	failedAt time.Time // when the last one ended

	// What failures was until a dial succeeded, and when that was: it may turn out to
	// have brought nothing, see hungUpLocked.
	forgiven   int
	forgivenAt time.Time

	// Dials that DialRate holds back wait in a queue, and only the first of them
	// waits for a time. None reserves a time to come: x/time/rate takes hardly
	// anything back of a reservation that has later ones after it
	// (Reservation.Cancel says so), so that callers that give up would leave
	// the next ones more and more to wait for.
	limiter *rate.Limiter // nil: no dial asked for one yet, or there is no DialRate
	turns   list.List     // of *turn
	token   time.Time     // when the first in the queue has its token
	due     time.Time     // and when it may begin; zero: it has not asked yet
}

// A turn is the place of a dial in its group's queue.
type turn struct {
	group *group
	place *list.Element
	ask   chan struct{} // has room for one: it is the first now, or the policy is another
}

func (t *turn) askAnew() {
	select {
	case t.ask <- struct{}{}:
	default: // it will
	}
}

// dialedLocked takes note of how d ended. Dials that ran at the same time failed
// for the same reason, and count as one.
func (b *dialPace) dialedLocked(d *dial, failed bool) {
	switch {
	case failed:
		b.failedLocked(d.started)
	case b.failures > 0:
		b.forgiven, b.forgivenAt = b.failures, time.Now()
		b.failures = 0
	}
}

func (b *dialPace) failedLocked(started time.Time) {
	if b.failures == 0 || started.After(b.failedAt) {
		b.failures++
		b.failedAt = time.Now()
	}
}

// hungUpLocked takes note that a dial that began at started, and succeeded, brought a
// connection that was dead before its first request. Such dials are failures, too,
// and end no row of them.
func (b *dialPace) hungUpLocked(started time.Time) {
	if started.Before(b.forgivenAt) {
		b.failures = max(b.failures, b.forgiven)
	}
	b.failedLocked(started)
}

// backoffLocked is how long the next dial waits.
func (b *dialPace) backoffLocked() time.Duration {
	if b.failures < 2 {
		return 0
	}
	limit := maxDialBackoff
	if n := b.failures - 2; n < 10 {
		limit = min(limit, dialBackoff<<n)
	}
	return rand.N(limit)
}

// limitLocked is the limiter that the policy asks for, or nil.
func (b *dialPace) limitLocked(pol *Policy) *rate.Limiter {
	if pol.DialRate <= 0 {
		return nil
	}
	if b.limiter == nil {
		b.limiter = rate.NewLimiter(rate.Limit(pol.DialRate), pol.dialBurst())
	}
	return b.limiter
}

// policyChangedLocked goes on at another rate, also for those that wait.
func (b *dialPace) policyChangedLocked(pol *Policy) {
	switch {
	case b.limiter == nil:
		return
	case pol.DialRate <= 0:
		b.limiter = nil
	case b.limiter.Limit() == rate.Limit(pol.DialRate) && b.limiter.Burst() == pol.dialBurst():
		return
	default:
		b.limiter.SetLimit(rate.Limit(pol.DialRate))
		b.limiter.SetBurst(pol.dialBurst())
	}
	b.nextLocked()
}

// nextLocked lets the first in the queue ask when it may begin.
func (b *dialPace) nextLocked() {
	b.due = time.Time{}
	if first := b.turns.Front(); first != nil {
		first.Value.(*turn).askAnew()
	}
}

// waitLocked is how long the first in the queue still waits.
func (b *dialPace) waitLocked(now time.Time) time.Duration {
	if b.due.IsZero() {
		b.token, b.due = now, now
		if lacking := 1 - b.limiter.TokensAt(now); lacking > 0 {
			b.token = now.Add(b.takes(lacking))
			// Many clients with the same rate are not to come in step.
			b.due = b.token.Add(rand.N(max(b.takes(1), 1)))
		}
	}
	return b.due.Sub(now)
}

// longestPace bounds waits: at the lowest rates they would not fit a Duration.
const longestPace = 50 * 365 * 24 * time.Hour

// takes is how long it takes until there are so many tokens more.
func (b *dialPace) takes(tokens float64) time.Duration {
	return time.Duration(min(tokens/float64(b.limiter.Limit())*float64(time.Second), float64(longestPace)))
}

// dialBurst is DialBurst with its default.
func (p *Policy) dialBurst() int {
	if p.DialBurst > 0 {
		return p.DialBurst
	}
	return int(math.Ceil(min(p.DialRate, math.MaxInt32)))
}

// pace waits until d may begin. Its error is the context's.
func (p *pool) pace(ctx context.Context, d *dial) error {
	p.mu.Lock()
	g := p.u.group()
	g.lock()
	backoff := g.pacing.backoffLocked()
	g.unlock()
	p.mu.Unlock()
	if backoff > 0 {
		p.mu.Lock()
		p.holdLocked(d)
		p.mu.Unlock()
		err := sleep(ctx, backoff, nil)
		p.mu.Lock()
		d.unholdLocked()
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for {
		p.mu.Lock()
		wait, t := p.turnLocked(d)
		p.mu.Unlock()
		if t == nil {
			return nil
		}
		if err := sleep(ctx, wait, t.ask); err != nil {
			p.mu.Lock()
			p.leaveTurnLocked(d)
			d.unholdLocked()
			p.mu.Unlock()
			return err
		}
	}
}

// turnLocked lets d begin, if it is its turn. Otherwise it returns d's place in the
// queue, and for how long the first one waits; the others wait to be asked.
func (p *pool) turnLocked(d *dial) (time.Duration, *turn) {
	g := p.u.group()
	if d.turn != nil && d.turn.group != g {
		p.leaveTurnLocked(d) // the policy has put the upstream into another
	}
	g.lock()
	b := &g.pacing
	if b.limitLocked(g.rulesLocked(p.u.policy())) != nil {
		if d.turn == nil {
			d.turn = &turn{group: g, ask: make(chan struct{}, 1)}
			d.turn.place = b.turns.PushBack(d.turn)
		}
		var wait time.Duration
		first := b.turns.Front() == d.turn.place
		if first {
			wait = b.waitLocked(time.Now())
		}
		if !first || wait > 0 {
			g.unlock()
			p.holdLocked(d)
			return wait, d.turn
		}
		// As of when it was there: what came since is the next one's.
		b.limiter.ReserveN(b.token, 1)
		b.due = time.Time{}
	}
	g.unlock()
	p.leaveTurnLocked(d)
	d.unholdLocked()
	return 0, nil
}

// leaveTurnLocked takes d out of the queue it is in, if it is in one. Who is first
// after that waits no longer than d would have.
func (p *pool) leaveTurnLocked(d *dial) {
	t := d.turn
	if t == nil {
		return
	}
	d.turn = nil
	t.group.lock()
	defer t.group.unlock()
	b := &t.group.pacing
	first := b.turns.Front() == t.place
	b.turns.Remove(t.place)
	if next := b.turns.Front(); next == nil {
		b.due = time.Time{}
	} else if first {
		next.Value.(*turn).askAnew()
	}
}

// holdLocked takes note that d has to wait. Others may rely on it meanwhile, and
// may end it.
func (p *pool) holdLocked(d *dial) {
	if !d.held && d.started.Equal(d.wanted) { // not held before, for another reason
		p.counts.dialWaits++
	}
	d.held = true
}

func (d *dial) unholdLocked() {
	if d.held {
		d.held, d.started = false, time.Now()
	}
}

// sleep waits for a time, if it is positive, or for ask. Its error is the
// context's.
func sleep(ctx context.Context, wait time.Duration, ask <-chan struct{}) error {
	var over <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-ask:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
