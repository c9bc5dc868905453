package idlewise

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"slices"
	"time"
)

const (
	// maxProvenResends bounds the resends of a request that is proven not
	// to have been processed. Each is on a connection opened after the
	// previous attempt failed, so that a second one is already unlikely.
	maxProvenResends = 3

	// maxUnknownResends: an automatic retry should not itself be retried
	// (RFC 9110 §9.2.2).
	maxUnknownResends = 1

	// restartWindow is for how long after the server has closed a connection
	// it is taken to be going down; see endingServer.
	restartWindow = time.Second

	// Connections that break within sameMoment of each other broke for the
	// same reason, and within newsWait of the first the others are noticed.
	sameMoment = 50 * time.Millisecond
	newsWait   = 10 * time.Millisecond

	// maxRefusals bounds the resends of a request that the server refused
	// unprocessed; see refusalWait.
	maxRefusals = 8
	refusedWait = 20 * time.Millisecond

	// The wait before a resend's dial is tried again: full jitter up to
	// redialWait·2ⁿ.
	redialWait = 50 * time.Millisecond
)

// A call is one request's way through its attempts.
type call struct {
	u     *upstream
	given *http.Request // by the caller
	req   *http.Request // what is sent
	opt   options
	body  payload
	mark  marking

	number    int       // of the attempt, from 1 on
	notBefore time.Time // when a connection must have begun to be good enough
	past      []Attempt // those that failed, since the policy's last retry
	unknown   int       // of these, those whose evidence was unknown
	refusals  int       // of these, those that the server refused
	resends   int       // in all
	last      failure   // how the last attempt failed, if it did
	evidence  Evidence  // of the last attempt
	over      bool      // nothing of its request is being written any more, for certain
	answered  bool      // it brought a response, whatever becomes of that

	// What is to be told if the request is lost: the attempts whose connections
	// failed, and what stood in the way of a resend, if that is to be said.
	failed     []Attempt
	obstructed string
	on         *conn // what it was made on; nil if nothing was got
	ended      bool
}

// A failure is what a policy's retry must know about the error of an attempt.
type failure uint8

const (
	// failedOtherwise: the server may have processed the request.
	failedOtherwise failure = iota
	// failedToConnect: no connection was got.
	failedToConnect
	// failedUnsent: nothing of the request reached the server on a new connection.
	failedUnsent
	// failedRefused: the server said that it had not processed the request.
	failedRefused
	// failedByRace: a connection that had been in use failed. If nothing is proven,
	// the server may have processed the request all the same.
	failedByRace
	// failedForGood: no other attempt would fare better, or none is to be made.
	failedForGood
)

// roundTrip sends a request as the policy says.
func (u *upstream) roundTrip(req *http.Request) (*http.Response, error) {
	r := u.ruling.Load()
	if limit := r.policy.BodyIdleTimeout; limit > 0 && len(req.Header["Upgrade"]) == 0 {
		return u.roundTripWatched(req, r, limit)
	}
	return u.send(req, r, nil)
}

// send sends req, again and again if the policy wants that. life is that of req's
// context, if it was made for it; else nil.
func (u *upstream) send(req *http.Request, r *ruling, life *lifetime) (*http.Response, error) {
	if u.t.ending.Load() {
		closeBody(req)
		return nil, ErrClosed
	}
	now := time.Now()
	var c call // a literal would be made beside it first
	c.u, c.given, c.req, c.opt = u, req, req, optionsOf(req.Context())
	c.body.begin(req)
	c.body.lives[0] = life
	c.mark.elicit = r.policy.ElicitHint == On && !req.Close && !u.t.base.http.DisableKeepAlives
	if c.opt.fresh {
		c.notBefore = now
	}
	defer c.cleanUp()
	r.group.budget.noteRequest(now)
	if r.retries {
		return c.sendByPolicy(&r.policy)
	}
	resp, err := c.attempts(now)
	return c.end(resp, err)
}

// attempts sends the request, and sends it again when its connection turns out to
// have been closed and that is safe. The body is left as it is.
func (c *call) attempts(now time.Time) (*http.Response, error) {
	hooks := traced{httptrace.ContextClientTrace(c.req.Context()), c.opt.trace}
	c.failed, c.obstructed = nil, ""
	for {
		var l lease
		c.last, c.on, c.evidence, c.answered = failedToConnect, nil, NoEvidence, false
		if err := c.connect(&l, hooks.ht, now); err != nil {
			if c.u.t.validator.check(c.req) != nil {
				c.last = failedForGood
			}
			c.failed = c.past
			return nil, err
		}
		c.on = l.c
		c.number++
		c.mark.number = c.number
		hooks.start(&l, c.number, c.req)
		l.provable = c.wantsProof(&l)
		var out outcome
		c.sendOn(&l, &out)
		c.last, c.evidence, c.over = out.failure(&l), out.evidence, out.over && out.evidence != NoEvidence
		c.answered = out.resp != nil
		if out.evidence == NoEvidence {
			hooks.done(&l, c.number, &out, false)
			if out.err == nil {
				c.noteAnswered()
			}
			return out.resp, out.err
		}
		resend, err := c.judge(&l, &out, hooks)
		if resend.IsZero() {
			return out.resp, err
		}
		now = resend
	}
}

// judge decides what to do after the attempt on l, whose connection failed under
// it. It returns the time at which the request is to be sent again, or zero and
// with out.resp what the caller gets.
func (c *call) judge(l *lease, out *outcome, hooks traced) (time.Time, error) {
	now := time.Now()
	why := c.obstacle(l, *out)
	// What a server refuses in a burst is not its outage, and net/http would go
	// on, too.
	if why == "" && c.resends > 0 && !out.alive && !c.u.group().budget.withdraw(now) {
		why = notInBudget
		c.u.pool.count(func(n *counts) { n.budgetEmpty++ })
	}
	hooks.done(l, c.number, out, why == "")
	c.learn(l, c.number, *out, now, why == "")
	if !out.alive {
		c.notBefore = l.c.endedAt(now)
	}
	if why != "" {
		return time.Time{}, c.giveUp(l, *out, why)
	}
	if out.resp != nil {
		out.resp.Body.Close()
		out.resp = nil
	}
	c.past = append(c.past, l.record(c.number, *out, true))
	c.resends++
	if out.evidence == Unknown {
		c.unknown++
	}
	if err := c.body.rewind(out.over); err != nil {
		c.last, c.failed, c.obstructed = failedForGood, c.past, notRewound
		return time.Time{}, judged(c.past, c.past, err, out.evidence, notRewound)
	}
	if out.evidence != Refused {
		return now, nil
	}
	// The server only has too much to do, or is about to end.
	c.refusals++
	wait := refusalWait(c.refusals, out.alive)
	if wait <= 0 {
		return now, nil
	}
	if err := c.u.t.sleep(c.req, wait); err != nil {
		c.failed = c.past
		return time.Time{}, err
	}
	return time.Now(), nil
}

// refusalWait is how long to wait after the nth refusal, of a stream only if the
// connection is alive. Then a resend that follows at once, and one a moment later, are
// often all that is needed; after that the server is given as much time as by
// http.Transport, whose 7 resends take 63 s (net/http, h2_bundle.go, RoundTripOpt).
// After GOAWAY, which costs a dial each time, http.Transport does not wait at all.
func refusalWait(n int, alive bool) time.Duration {
	switch {
	case !alive && n <= maxProvenResends, n <= 1:
		return 0
	case !alive:
		return rand.N(refusedWait << (n - maxProvenResends))
	case n == 2:
		return rand.N(refusedWait)
	}
	wait := time.Second << (n - 3)
	return wait + rand.N(wait/10)
}

// proven is how many attempts failed of which it was found out here that the server
// had not got them.
func (c *call) proven() int { return len(c.past) - c.refusals }

// failure says how an attempt on l failed.
func (o outcome) failure(l *lease) failure {
	switch {
	case o.invalid:
		return failedForGood
	case o.evidence == Refused:
		return failedRefused
	case l.kept() && (o.evidence == Unsent || o.evidence == Undelivered || o.evidence == Unknown):
		return failedByRace
	case o.evidence == Unsent:
		return failedUnsent
	}
	return failedOtherwise
}

// endedAt is when c was found to be of no use: what is opened later can be
// expected to be better. All of its streams get the same answer, so that they
// share the next connection.
func (c *conn) endedAt(now time.Time) time.Time {
	if c.tcp != nil && c.tcp.closedAt.Load() != nil {
		return c.tcp.endedAt(now)
	}
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.failedAt.IsZero() {
		c.failedAt = now
	}
	return c.failedAt
}

// connect gets a connection. A first attempt's error is as net/http gives it;
// a resend's dial is tried again within the resend's own limits.
func (c *call) connect(l *lease, ht *httptrace.ClientTrace, now time.Time) error {
	if len(c.past) > 0 {
		return c.reconnect(l, ht, now)
	}
	traceGetConn(ht, c.u.dialTo)
	return c.u.pool.acquire(l, c.req, now, c.notBefore)
}

func (c *call) reconnect(l *lease, ht *httptrace.ClientTrace, now time.Time) error {
	for dials := 0; ; dials++ {
		if err := canceled(c.req); err != nil {
			return err
		}
		traceGetConn(ht, c.u.dialTo)
		err := c.u.pool.acquire(l, c.req, now, c.notBefore)
		switch {
		case err == nil, err == ErrClosed, canceled(c.req) != nil:
			return err
		case dials+1 >= maxProvenResends:
			last := c.past[len(c.past)-1]
			return judged(c.past, c.past, err, last.Evidence, notDialed)
		}
		if err := c.u.t.sleep(c.req, rand.N(redialWait<<dials)); err != nil {
			return err
		}
		now = time.Now()
	}
}

// sleep waits, or ends early: with the request's cancellation, or when the
// Transport is closed.
func (t *Transport) sleep(req *http.Request, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-req.Context().Done():
	case <-cancelOf(req):
	case <-t.cutNow:
		if canceled(req) == nil {
			return ErrClosed
		}
	}
	return canceled(req)
}

// wantsProof reports whether the socket is to be kept should the connection
// fail, since only a proof that the request was not delivered permits a resend.
//
// Other connections than TCP's are left to net/http: their Close may be what
// ends their Write.
func (c *call) wantsProof(l *lease) bool {
	return l.c.tcp != nil && l.c.tcp.isTCP && !c.opt.noRetry && c.proven() < maxProvenResends &&
		!isIdempotent(c.req, c.opt) && c.u.policy().Evidence == On
}

// noteAnswered counts that the resend, if it was one, brought a response.
func (c *call) noteAnswered() {
	if len(c.past) > 0 {
		kind := c.past[len(c.past)-1].Evidence
		c.u.pool.count(func(n *counts) { n.answered[kind]++ })
	}
}

// giveUp returns the error of the last attempt; none if there is a response that
// says as much.
func (c *call) giveUp(l *lease, out outcome, why string) error {
	switch {
	case out.resp != nil:
		c.noteAnswered() // though it says 408
		c.failed, c.obstructed = append(c.past, l.record(c.number, out, false)), why
		return nil
	case why == notJudged:
		// Also of a resend: programs such as Kubernetes' compare with io.EOF.
		c.failed = append(c.past, l.record(c.number, out, false))
		return out.err
	}
	c.failed, c.obstructed = append(c.past, l.record(c.number, out, false)), why
	return judged(c.failed, c.past, out.err, out.evidence, why)
}

// lost tells that the request is lost, if it is: if its connection failed under it
// and the caller still waits for it. err is what the caller gets, if no response.
func (c *call) lost(err error) {
	if len(c.failed) == 0 || canceled(c.req) != nil {
		return
	}
	why := c.obstructed
	if judged := (*Error)(nil); why == "" && errors.As(err, &judged) {
		why = judged.verdict
	}
	kind := c.failed[len(c.failed)-1].Evidence
	c.u.pool.count(func(n *counts) { n.lost[kind]++ })
	c.u.t.note(RequestLost{c.u.info(time.Now()), c.method(), isIdempotent(c.req, c.opt), slices.Clone(c.failed), err, why})
}

func (c *call) method() string { return cmp.Or(c.req.Method, http.MethodGet) }

// end ends the call with what it brought. An error says so if Close was what
// ended it.
func (c *call) end(resp *http.Response, err error) (*http.Response, error) {
	c.ended = true
	c.body.freeKept()
	if err == nil {
		c.lost(nil)
		c.body.leave()
		return timed(resp, c.req), nil
	}
	c.endBody()
	awaitCancel(c.req)
	if c.u.t.cut.Load() && !errors.Is(err, ErrClosed) && canceled(c.req) == nil {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.lost(err)
	return nil, err
}

// endBody closes the body of a request whose caller gets no response.
func (c *call) endBody() {
	if c.answered && c.body.offered {
		c.body.leave() // there is one
	} else {
		c.body.close()
	}
}

// cleanUp is for hooks of the program's that panic, in programs that recover as
// net/http's servers do: nothing is to be held for a request that nobody waits for.
func (c *call) cleanUp() {
	if c.ended {
		return
	}
	c.body.freeKept()
	c.endBody()
	for _, l := range c.body.lives {
		if l != nil {
			l.end()
		}
	}
}

// notJudged is the obstacle of failures that idlewise has nothing to say
// about: the connection was new, or part of a response came.
const notJudged = "-"

// obstacle says why the request must not be sent again, or "".
//
// This is where promise P1 is kept: a request that is not idempotent passes
// only if no server application can have processed it.
func (c *call) obstacle(l *lease, out outcome) string {
	if canceled(c.req) != nil {
		return notJudged
	}
	switch out.evidence {
	case Unsent, Undelivered:
		if c.proven() >= maxProvenResends {
			return notAgain
		}
	case Refused:
		if c.refusals >= maxRefusals {
			return notAgain
		}
	case Unknown:
		switch {
		case c.unknown >= maxUnknownResends:
			return notJudged
		case !l.kept() && !c.pathBroke(out) && !c.streamBroke(out) && !c.endingServer(l):
			return notJudged
		case !isIdempotent(c.req, c.opt):
			return notIdempotent
		case c.opt.noRetry:
			return notAllowed
		}
	default:
		return notJudged
	}
	if out.evidence == Refused && c.opt.noRetry {
		return notAllowed // it was on the wire once
	}
	if !c.body.replayable(out.over) {
		return notReplayable
	}
	return ""
}

// pathBroke reports whether an attempt failed since nothing was heard of the
// peer, so that it was not for the request even where the connection was new.
//
// A lost PING is net/http's own finding, and its error stays net/http's for those
// whom a resend is not open to.
func (c *call) pathBroke(out outcome) bool {
	return isTimedOut(out.err) || isSilence(out.err) && isIdempotent(c.req, c.opt)
}

// streamBroke reports whether a stream that may be repeated ended with PROTOCOL_ERROR.
func (c *call) streamBroke(out outcome) bool {
	return isStreamError(out.err) && isIdempotent(c.req, c.opt) && c.body.replayable(out.over)
}

// endingServer reports whether the server seems to be going down: it has ended
// a connection a moment ago on which it had answered before, or another one that
// was open together with l's broke just when that did.
//
// A request on a new connection is normally not resent when it gets no answer,
// since the server has no reason to hang up on it but the request itself. One
// that goes down has: Go's, for one, closes connections on which the first
// request arrives after Shutdown was called (net/http, conn.serve), and a
// process that dies takes all with it. Which of them is noticed first is
// chance, so that one that may be resent waits a moment for the others.
func (c *call) endingServer(l *lease) bool {
	p := &c.u.pool
	ending, alone := p.isEnding(l.c)
	if ending || alone || !isIdempotent(c.req, c.opt) || c.opt.noRetry {
		return ending // known, or nothing will be heard, or nothing comes of it
	}
	if c.u.t.sleep(c.req, newsWait) != nil {
		return false
	}
	ending, _ = p.isEnding(l.c)
	return ending
}

// isEnding reports what the other connections say about c's server, and whether there
// is none left that could say anything. Both as of the same moment: the last ones may
// be breaking just now.
func (p *pool) isEnding(c *conn) (ending, alone bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.serverEnded.IsZero() && elapsed(p.serverEnded, now) < restartWindow {
		ending = true
	}
	for _, b := range p.broke {
		if b.id != 0 && b.id != c.id && b.at.After(c.born) && elapsed(b.at, now) < sameMoment {
			ending = true
		}
	}
	return ending, p.nConns == 0 || p.nConns == 1 && p.first == c
}

// learn counts a stale hit and draws the conclusions for other connections.
func (c *call) learn(l *lease, number int, out outcome, now time.Time, resent bool) {
	p := &c.u.pool
	p.mu.Lock()
	p.counts.evidence[out.evidence]++
	if resent {
		p.counts.resent[out.evidence]++
	}
	stale := l.kept() && (out.evidence == Unsent || out.evidence == Undelivered || out.evidence == Unknown) && !out.late
	if stale {
		if isIdempotent(c.req, c.opt) {
			p.counts.staleIdempotent++
		} else {
			p.counts.staleOther++
		}
		if l.wasIdle {
			p.counts.idleAtStaleHit.observe(l.idleAge)
			p.historyLocked().addIdle(IdleClose{now, l.idleAge, ClosedStaleOnUse.String()})
		}
		if l.wasIdle && out.evidence != Unsent && !isSilence(out.err) {
			p.missedLocked(l.c, now)
		}
	}
	p.mu.Unlock()
	c.u.t.note(AttemptFailed{c.u.info(now), l.record(number, out, resent), c.method(), isIdempotent(c.req, c.opt), stale})
	if isSilence(out.err) {
		p.evictUnheard(l.c, l.at)
		return
	}
	if stale && l.wasIdle {
		p.noteClosed(l.c, l.c.endedAt(now))
	}
	if stale && !l.c.h2 {
		p.evictSiblings(l.c, l.idleAge, now)
	}
}

// isIdempotent reports whether executing req twice does no harm: by the
// caller's word, by a key by which the server recognizes it, or by its method
// (RFC 9110 §9.2.2, and QUERY by RFC 10008).
//
// As in net/http, a key header without values counts and is not sent.
func isIdempotent(req *http.Request, o options) bool {
	switch o.idempotency {
	case vouchIdempotent:
		return true
	case vouchNotIdempotent:
		return false
	}
	switch req.Method {
	case "", "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY":
		return true
	}
	return hasKey(req.Header)
}

func hasKey(h http.Header) bool {
	_, key := h["Idempotency-Key"]
	_, xKey := h["X-Idempotency-Key"]
	return key || xKey
}
