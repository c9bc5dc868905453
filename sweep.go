package idlewise

import "time"

// Each pool has one timer for this. It runs only while a connection is idle that will
// have to be retired, and fires when the first of them is due, or earlier if
// that one was used meanwhile.
//
// The sweep may be late by sweepSlack: it only tidies up, since checkout asks
// every connection's age itself.

const sweepSlack = 2 * time.Millisecond

// The bounds of how often idle HTTP/2 connections are asked for a GOAWAY.
const (
	minLookEvery = time.Second
	maxLookEvery = 10 * time.Second
)

// lookEvery is how often idle HTTP/2 connections are looked at.
func lookEvery(pol *Policy) time.Duration {
	if pol.MaxIdleTime <= 0 {
		return maxLookEvery
	}
	return min(max(pol.MaxIdleTime/10, minLookEvery), maxLookEvery)
}

// scheduleLocked makes sure that the sweep runs when c is due.
func (p *pool) scheduleLocked(c *conn, now time.Time) {
	pol := p.u.policy()
	at := p.nextLocked(c, now, pol)
	if c.h2 {
		at = earlier(at, now.Add(lookEvery(pol)))
	}
	p.wakeAtLocked(at, now)
}

// nextLocked is when the idle connection c must be seen to: when its successor
// is to be dialed, or it is to be retired.
func (p *pool) nextLocked(c *conn, now time.Time, pol *Policy) time.Time {
	if pol.MinIdleConns > 0 {
		if at := p.successionLocked(c); now.Before(at) {
			return earlier(at, c.due)
		}
	}
	return c.due
}

func (p *pool) wakeAtLocked(at, now time.Time) {
	if at.IsZero() || !p.timerAt.IsZero() && !at.Before(p.timerAt) {
		return
	}
	p.timerAt = at
	wait := max(at.Sub(now), 0)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.sweep)
	} else {
		p.timer.Reset(wait)
	}
}

// sweep retires the idle connections that are due.
func (p *pool) sweep() {
	now := time.Now()
	var doomed doomedList
	var look []*conn
	p.mu.Lock()
	pol := p.u.policy()
	p.timerAt = time.Time{}
	var next time.Time
	for c := p.oldest; c != nil; {
		newer := c.prev
		if why := c.expiredLocked(now, pol); why != reasonNone {
			p.expireLocked(c, why, now, &doomed)
		} else {
			next = earlier(next, p.nextLocked(c, now, pol))
			if c.h2 {
				look = append(look, c)
			}
		}
		c = newer
	}
	if len(look) > 0 {
		next = earlier(next, now.Add(lookEvery(pol)))
	}
	canary := p.canary
	if canary != nil {
		next = earlier(next, p.canaryDueLocked(now))
	}
	if !next.IsZero() {
		p.wakeAtLocked(later(next, now.Add(sweepSlack)), now)
	}
	p.replenishLocked(now, pol)
	p.mu.Unlock()
	doomed.shut()
	for _, c := range look {
		c.reviewShared()
	}
	if canary != nil {
		p.lookAtCanary(canary)
	}
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
