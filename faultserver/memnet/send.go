package memnet

import (
	"syscall"
	"time"
)

// Linux's bounds (TCP_TIMEOUT_INIT, TCP_RTO_MIN, TCP_RTO_MAX).
const (
	initialTimeout = time.Second
	leastDeviation = 200 * time.Millisecond
	longestTimeout = 120 * time.Second
)

// timing says when something that was not acknowledged is sent again, or a
// closed window probed.
type timing struct {
	timer       event
	smoothed    time.Duration // round trip; 0: not measured
	deviation   time.Duration
	backoff     uint
	retransmits uint32    // since something was acknowledged
	probes      uint32    // since anything was heard
	since       time.Time // from then on nothing was acknowledged
}

// measured takes in a round trip (RFC 6298 §2).
func (t *timing) measured(trip time.Duration) {
	trip = max(trip, 1) // so that none at all is a measurement
	if t.smoothed == 0 {
		t.smoothed, t.deviation = trip, trip/2
		return
	}
	t.deviation += ((trip - t.smoothed).Abs() - t.deviation) / 4
	t.smoothed += (trip - t.smoothed) / 8
}

func (t *timing) timeout() time.Duration {
	timeout := initialTimeout
	if t.smoothed > 0 {
		timeout = t.smoothed + max(4*t.deviation, leastDeviation)
	}
	// The shift stays small: a timeout beyond the longest is not doubled.
	for range t.backoff {
		if timeout >= longestTimeout {
			break
		}
		timeout *= 2
	}
	return min(timeout, longestTimeout)
}

// queueLocked takes data, or a FIN, to be sent as soon as the window allows.
func (c *Conn) queueLocked(o *outgoing) {
	o.seq = c.written
	c.written = o.end()
	c.unsent = append(c.unsent, o)
	c.transmitLocked()
}

// transmitLocked sends what the window has room for. Each step leaves the state
// as it is to be when the answer comes, which may be at once.
func (c *Conn) transmitLocked() {
	for len(c.unsent) > 0 && c.unsent[0].seq < c.edge {
		o := c.unsent[0]
		if o.end() > c.edge {
			room := c.edge - o.seq
			o, c.unsent[0] = &outgoing{seq: o.seq, data: o.data[:room]}, &outgoing{seq: o.seq + room, data: o.data[room:]}
		} else {
			c.unsent[0] = nil
			c.unsent = c.unsent[1:]
		}
		if len(c.flying) == 0 {
			c.timing.since = time.Now()
			c.timing.backoff = 0
			c.network.cancelLocked(&c.timing.timer)
		}
		o.sentAt = time.Now()
		c.sent = o.end()
		c.flying = append(c.flying, o)
		c.sendOutgoingLocked(o)
	}
	if !c.gone && c.timing.timer.index == 0 {
		c.setRetryLocked()
	}
}

func (c *Conn) sendOutgoingLocked(o *outgoing) {
	kind := payload
	if o.fin {
		kind = fin
	}
	c.sendSegmentLocked(segment{kind: kind, seq: o.seq, data: o.data})
}

// setRetryLocked starts the timer anew if there is anything to wait for.
func (c *Conn) setRetryLocked() {
	t := &c.timing
	if len(c.flying) == 0 && len(c.unsent) == 0 {
		c.network.cancelLocked(&t.timer)
		return
	}
	now := time.Now()
	from := now
	if len(c.flying) == 0 && t.timer.index == 0 && t.probes == 0 && t.backoff == 0 {
		t.since = now // the window has just closed
	}
	// What still waits to leave is not lost (Linux asks the same,
	// skb_still_in_host_queue).
	if free := c.out.wireFree; len(c.flying) > 0 && free.After(from) {
		from = free
	}
	at := from.Add(t.timeout())
	if end := t.since.Add(c.network.giveUpAfter); at.After(end) && end.After(now) {
		at = end
	}
	c.network.planLocked(&t.timer, at)
	c.network.deliverLocked()
}

// retry is what the timer does.
func (c *Conn) retry() {
	t := &c.timing
	if c.handshake != nil {
		c.repeatHandshakeLocked()
		return
	}
	if time.Since(t.since) >= c.network.giveUpAfter {
		c.failLocked(syscall.ETIMEDOUT)
		return
	}
	t.backoff++
	if len(c.flying) == 0 {
		t.probes++
		c.setRetryLocked()
		c.sendSegmentLocked(segment{kind: probe, seq: c.acked - 1})
		return
	}
	t.retransmits++
	c.recover = c.sent
	c.setRetryLocked()
	c.sendAgainLocked()
}

func (c *Conn) sendAgainLocked() {
	c.flying[0].again = true
	c.sendOutgoingLocked(c.flying[0])
}

// acknowledgedLocked takes in what every packet says: how far everything has
// arrived, and how far the window goes.
func (c *Conn) acknowledgedLocked(ack, edge int64) {
	t := &c.timing
	t.probes = 0
	if len(c.flying) == 0 {
		t.since = time.Now() // a closed window that is confirmed is no silence
	}
	c.edge = max(c.edge, edge)
	advanced := ack > c.acked
	if advanced {
		c.advanceLocked(ack)
	}
	c.transmitLocked()
	if !advanced || c.gone {
		return
	}
	c.setRetryLocked()
	c.writable.Broadcast()
	if len(c.flying) > 0 && c.flying[0].seq < c.recover {
		c.sendAgainLocked()
	}
}

func (c *Conn) advanceLocked(ack int64) {
	t := &c.timing
	c.acked = ack
	t.retransmits, t.backoff = 0, 0
	t.since = time.Now()
	done, clean := 0, true
	for done < len(c.flying) && c.flying[done].end() <= ack {
		clean = clean && !c.flying[done].again // else it is not known what was answered (Karn)
		done++
	}
	if clean && done > 0 {
		t.measured(time.Since(c.flying[done-1].sentAt))
	}
	clear(c.flying[:done])
	c.flying = c.flying[done:]
}
