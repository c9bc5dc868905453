package idlewise

import (
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
	limiter  *rate.Limiter
}

// dialedLocked takes note of how d ended. Dials that ran at the same time failed
// for the same reason, and count as one.
func (b *dialPace) dialedLocked(d *dial, failed bool) {
	switch {
	case !failed:
		b.failures = 0
	case b.failures == 0 || d.started.After(b.failedAt):
		b.failures++
		b.failedAt = time.Now()
	}
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

// policyChangedLocked goes on at another rate.
func (b *dialPace) policyChangedLocked(pol *Policy) {
	switch {
	case pol.DialRate <= 0:
		b.limiter = nil
	case b.limiter != nil:
		b.limiter.SetLimit(rate.Limit(pol.DialRate))
		b.limiter.SetBurst(pol.dialBurst())
	}
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
	limiter := g.pacing.limitLocked(g.rulesLocked(p.u.policy()))
	g.unlock()
	p.mu.Unlock()
	if err := p.hold(ctx, d, backoff); err != nil || limiter == nil {
		return err
	}
	turn := limiter.Reserve()
	wait := turn.Delay()
	if wait > 0 {
		// Many clients with the same rate are not to come in step.
		wait += rand.N(max(time.Duration(float64(time.Second)/float64(limiter.Limit())), 1))
	}
	err := p.hold(ctx, d, wait)
	if err != nil {
		turn.Cancel()
	}
	return err
}

// hold keeps d back for a time. Others may rely on it meanwhile, and may end it.
func (p *pool) hold(ctx context.Context, d *dial, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	p.mu.Lock()
	p.counts.dialWaits++
	d.held = true
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	d.held, d.started = false, time.Now()
	p.mu.Unlock()
	return err
}
