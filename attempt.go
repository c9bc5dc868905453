package idlewise

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"time"
)

// An outcome is what an attempt brought.
type outcome struct {
	resp     *http.Response
	err      error    // as http.Transport would give it
	evidence Evidence // if the connection failed, or the 408 counts as that
	over     bool     // nothing of the request is being written any more
	late     bool     // it was this side that found it too late to write the request
	alive    bool     // HTTP/2: only the stream failed, the connection did not
	invalid  bool     // it was the request's or its body's fault
}

// sendOn makes one attempt on a leased connection.
func (c *call) sendOn(l *lease, out *outcome) {
	c.u.sent.count(l)
	if l.c.h2 {
		l.sendHTTP2(out, c.req, &c.body, &c.mark)
	} else {
		l.sendHTTP1(out, c.req, &c.body, &c.mark)
	}
}

// A marking is what an attempt's header has beside the request's.
type marking struct {
	elicit bool   // Connection: keep-alive, on HTTP/1
	header string // its name, or ""; its value is number
	number int
}

// mark returns what an attempt has as its Header.
func (m *marking) mark(h http.Header, http1 bool) http.Header {
	elicit := m.elicit && http1 && h["Connection"] == nil
	if !elicit && m.header == "" {
		return h
	}
	h = h.Clone()
	if elicit {
		h.Set("Connection", "keep-alive")
	}
	if m.header != "" {
		h.Set(m.header, strconv.Itoa(m.number))
	}
	return h
}

func (l *lease) sendHTTP1(out *outcome, req *http.Request, b *payload, m *marking) {
	c := l.c
	round := c.round.Load()
	l.begin(req)
	if err := canceledOnConn(req); err != nil {
		out.err, out.over = err, true
		l.unsent()
		return
	}
	if c.tcp != nil && !l.arm(out, b, round) {
		return
	}
	var held holding
	if l.provable {
		held = c.tcp.keep()
		defer held.release()
	}
	resp, err := c.cc.RoundTrip(c.prepare(req, b, m))
	if err != nil {
		l.failHTTP1(out, req, b, round, held, err)
	} else {
		l.answeredHTTP1(out, req, resp)
	}
}

func (l *lease) begin(req *http.Request) {
	c := l.c
	c.ctx, c.attempt, c.ending, c.sentAt, c.unseen = req.Context(), nil, reasonNone, l.at, false
}

// abandon gives a connection back that is not going to be used.
func (l *lease) abandon(req *http.Request) {
	if l.c.h2 {
		l.c.streamFailed(false)
		return
	}
	l.begin(req)
	l.unsent()
}

// arm lets the tracked connection watch for the request. It reports false if the
// connection turns out to be of no use.
func (l *lease) arm(out *outcome, b *payload, round uint32) bool {
	c := l.c
	// Trap: bytes that arrive after a request was announced but before
	// it was written become its response.
	c.tcp.awaitQuiet()
	if err := c.closedErr(); err != nil {
		if !l.kept() {
			c.pool.hungUp(c)
		}
		c.pool.bury(c, round, c.deathReason(true))
		*out = outcome{err: plainCause(err), evidence: Unsent, over: true}
		return false
	}
	if !c.tcp.arm(l.at, l.until, l.doubt) {
		c.pool.bury(c, round, ClosedUnexpectedData)
		*out = outcome{err: errUnsolicited, evidence: Unsent, over: true}
		return false
	}
	if v := b.bitByBit(); v != c.tcp.bitByBit.Load() {
		c.tcp.bitByBit.Store(v)
	}
	return true
}

func (l *lease) answeredHTTP1(out *outcome, req *http.Request, resp *http.Response) {
	c := l.c
	resp.Request = req // not the copy that was sent
	c.headerAt = time.Now()
	out.resp = resp
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		// Trap: the connection is the caller's now and must not be closed.
		if c.attempt.settle() {
			c.upgraded(optionsOf(req.Context()).trace)
			break
		}
		resp.Body.Close()
		c.ending, out.resp, out.err = ClosedCanceled, nil, canceledOnConn(req)
	case l.kept() && resp.StatusCode == http.StatusRequestTimeout && resp.Close:
		// The server's idle timeout and the request have crossed.
		c.ending, out.evidence = ClosedStaleOnUse, Unknown
	case resp.Close || req.Close:
		c.ending = ClosedConnectionClose
	default:
		// A response that announces nothing takes nothing back. Whether it is
		// believed says the policy in force when it matters.
		if h := hintOf(resp); h != (hint{}) {
			c.hint = h
		}
		if c.hint.last && c.pool.u.policy().Hint != Off {
			c.ending = ClosedMaxRequests
		}
	}
	if a := c.attempt; a.cancelable() && out.resp != nil && resp.Body != http.NoBody && resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &cutBody{ReadCloser: resp.Body, c: c, round: a.round}
	}
	l.settle()
}

// settle ends the caller's part, and gives the connection back if nothing is left of
// its request.
func (l *lease) settle() {
	c := l.c
	attempt, at := c.attempt, c.headerAt
	if !c.returned() {
		// The Transport was closed meanwhile, and so was the connection.
		attempt.giveUp()
		return
	}
	c.settle(at)
}

// unsent gives a connection back that has not seen its request.
func (l *lease) unsent() {
	l.c.unseen, l.c.headerAt = true, time.Now()
	l.settle()
}

// prepare returns the request to send: req itself, if nothing about it needs
// to differ and nothing could leak.
func (c *conn) prepare(req *http.Request, b *payload, m *marking) *http.Request {
	body, other := b.forAttempt()
	if req.Context().Done() == nil && cancelOf(req) == nil && !other && !m.elicit && m.header == "" {
		return req
	}
	c.attempt = c.beginAttempt(req)
	copied := c.attempt.req
	copied.Body = body
	copied.Header = m.mark(req.Header, true)
	return copied
}

func (l *lease) failHTTP1(out *outcome, req *http.Request, b *payload, round uint32, held holding, err error) {
	c := l.c
	attempt := c.attempt
	out.err, out.over = plainCause(err), true
	switch cut := c.wasCut.Load(); {
	case cut != nil:
		out.err = cut.why
		c.pool.bury(c, round, ClosedCanceled)
	case c.cc.Err() == nil:
		out.invalid = true // the connection has not seen it
		l.unsent()
		return
	case req.Context().Err() != nil, requestCanceled(req):
		c.pool.bury(c, round, ClosedCanceled)
	default:
		if out.invalid = b.failed() || isInvalid(err); !out.invalid {
			out.evidence = judgeHTTP1(c.tcp, err)
		} else if why := b.misstated(); why != nil && errors.Is(err, net.ErrClosed) {
			out.err = why // net/http had closed the connection for it, and found that first
		}
		if errors.Is(err, errLate) {
			out.late = true
			c.pool.bury(c, round, ClosedIdleDeadline)
		}
		c.pool.bury(c, round, failedReason(l.kept(), out.evidence, c.tcp))
	}
	attempt.giveUp()
	l.prove(req, b, held, out)
}

func failedReason(kept bool, ev Evidence, tcp *tracked) CloseReason {
	switch {
	case tcp != nil && tcp.tainted.Load():
		return ClosedUnexpectedData
	case tcp != nil && tcp.vanished.Load():
		return ClosedVanished
	case kept && (ev == Unsent || ev == Unknown):
		return ClosedStaleOnUse
	}
	return ClosedFailed
}

// prove finds out whether a request of unknown delivery was not delivered, if
// it makes a difference. The connection has left the pool.
func (l *lease) prove(req *http.Request, b *payload, held holding, out *outcome) {
	if out.evidence != Unknown || held.t == nil || !b.replayable(out.over) || isSilence(out.err) {
		return // from a peer that has vanished there comes no RST
	}
	if l.kept() && !l.c.h2 {
		// Not after the wait: others would meet those connections meanwhile.
		l.c.pool.evictSiblings(l.c, l.idleAge, time.Now())
	}
	proven, err := held.prove(l.c.rtt, func(d time.Duration) error {
		return l.c.pool.u.t.sleep(req, d) // once it is closed nothing will be sent any more
	})
	switch {
	case err != nil:
		out.err, out.evidence = err, NoEvidence // the caller has gone
	case proven:
		out.evidence = Undelivered
	}
}

func (l *lease) sendHTTP2(out *outcome, req *http.Request, b *payload, m *marking) {
	c := l.c
	sent := req
	body, other := b.forAttemptHTTP2()
	if other || m.header != "" {
		sent = req.WithContext(req.Context())
		sent.Body = body
		sent.Header = m.mark(req.Header, false)
	}
	before := int64(-1)
	if c.tcp != nil {
		before = c.tcp.written.Load()
	}
	var held holding
	if l.provable {
		held = c.tcp.keep()
		defer held.release()
	}
	resp, err := c.cc.RoundTrip(sent)
	if err == nil {
		resp.Request = req
		c.wrapShared(resp)
		out.resp = resp
		return
	}
	out.err, out.over = legacyCause(req, plainCause(err)), true
	out.invalid = b.failed() || isInvalid(err)
	if req.Context().Err() == nil && !requestCanceled(req) && !out.invalid {
		written := c.tcp == nil || !c.tcp.isTCP || c.tcp.written.Load() != before
		gone := c.cc.Err() != nil
		out.evidence = judgeHTTP2(err, written, gone)
		out.alive = !gone && isStreamError(err)
	}
	c.streamFailed(out.alive || out.evidence == Refused)
	if out.evidence == Refused && !out.alive {
		c.reviewShared() // a GOAWAY that nothing else tells of, if other streams last
	}
	l.prove(req, b, held, out)
}

// traced calls the hooks around an attempt.
type traced struct {
	ht    *httptrace.ClientTrace
	trace *Trace
}

func (t traced) start(l *lease, number int, req *http.Request) {
	if t.ht != nil || t.trace != nil {
		t.started(l, number, req)
	}
}

func (t traced) done(l *lease, number int, out *outcome, resent bool) {
	if t.trace != nil && t.trace.AttemptDone != nil {
		t.trace.ended(l, number, out, resent)
	}
}

// Functions of their own for the stack's sake; see pool.acquire. What they hold is let
// go if a hook panics.

//go:noinline
func (t traced) started(l *lease, number int, req *http.Request) {
	panics := true
	defer func() {
		if panics {
			l.abandon(req)
		}
	}()
	if t.ht != nil {
		traceGotConn(t.ht, l)
	}
	if t.trace != nil && t.trace.AttemptStart != nil {
		t.trace.AttemptStart(l.describe(number))
	}
	panics = false
}

//go:noinline
func (t *Trace) ended(l *lease, number int, out *outcome, resent bool) {
	panics := true
	defer func() {
		if panics && out.resp != nil {
			out.resp.Body.Close()
		}
	}()
	t.AttemptDone(l.record(number, *out, resent))
	panics = false
}

// record returns the attempt as it ended.
func (l *lease) record(number int, out outcome, resent bool) Attempt {
	a := l.describe(number)
	a.Evidence, a.Err, a.Resent = out.evidence, out.err, resent
	if out.resp != nil {
		a.Status = out.resp.StatusCode
	}
	return a
}
