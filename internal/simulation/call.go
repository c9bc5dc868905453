package simulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/idlewise/idlewise"
)

const pathPrefix = "/r/"

// A callRecord is what a call came to, for the judgement at the end.
type callRecord struct {
	id     string
	call   Call
	server *server
	began  time.Time

	mu       sync.Mutex
	attempts []idlewise.Attempt // that have ended, if the call had a Trace
	starts   int
	status   int
	err      error
	answered bool // the whole body was read, and was right

	repeatable bool // a policy during the call, or the call itself, permits to execute it twice
}

// client sends the calls of one client.
func (w *world) client(n int, c Client) {
	if !w.sleep(c.Start.std()) {
		return
	}
	for i, call := range c.Calls {
		for repeat := 0; ; repeat++ {
			if !w.sleep(call.Gap.std()) {
				return
			}
			w.call(fmt.Sprintf("%d.%d.%d", n, i, repeat), call)
			if call.Until == 0 || time.Since(w.began) >= call.Until.std() {
				break
			}
		}
	}
}

// callClosed makes a call on a Transport that has ended.
func (w *world) callClosed(id string, c Call) {
	req, body := w.request(context.Background(), id, c, w.server(c.Server))
	resp, err := w.tr.RoundTrip(req)
	if resp != nil || !errors.Is(err, idlewise.ErrClosed) {
		w.violate("P4", "a call after %s brought %v and %v", w.plan.End, resp, err)
	}
	body.check(w)
}

func (w *world) call(id string, c Call) {
	rec := &callRecord{id: id, call: c, server: w.server(c.Server), began: time.Now()}
	w.calls.Store(id, rec)
	ctx, cancel := w.context(rec)
	defer cancel()
	if rec.call.Linger {
		ctx = newLingering(ctx)
	}
	req, _ := w.request(ctx, id, c, rec.server)
	before := snapshotOf(req)
	rec.server.mu.Lock()
	rec.server.sent++
	rec.server.mu.Unlock()

	w.running.Add(1)
	w.noteUse(rec.server, 1)
	resp, err := w.tr.RoundTrip(req)
	w.running.Add(-1)
	rec.server.calls.Add(-1)
	rec.repeatable = rec.call.repeatable(w.inForce(rec.began))
	w.checkReturn(rec, ctx, resp, err)
	if changed := before.changed(req); changed != "" {
		w.violate("P4", "%s: the request's %s was changed", id, changed)
	}
	if err != nil {
		rec.err = err
		w.count(func(r *Report) { r.Calls++; r.Failed++ })
		return
	}
	rec.status = resp.StatusCode
	w.read(rec, ctx, resp)
	w.count(func(r *Report) {
		r.Calls++
		r.Answered++
	})
}

// context is the call's context, with all that a program may put into it.
func (w *world) context(rec *callRecord) (context.Context, context.CancelFunc) {
	ctx := context.Background()
	switch rec.call.Option {
	case Idempotent:
		ctx = idlewise.WithIdempotent(ctx)
	case NotIdempotent:
		ctx = idlewise.WithNotIdempotent(ctx)
	case WithoutRetry:
		ctx = idlewise.WithoutRetry(ctx)
	case FreshConn:
		ctx = idlewise.WithFreshConn(ctx)
	}
	if !rec.call.Silent {
		ctx = idlewise.WithTrace(ctx, &idlewise.Trace{
			AttemptStart: func(idlewise.Attempt) {
				rec.mu.Lock()
				rec.starts++
				rec.mu.Unlock()
			},
			AttemptDone: func(a idlewise.Attempt) {
				rec.mu.Lock()
				rec.attempts = append(rec.attempts, a)
				rec.mu.Unlock()
			},
		})
	}
	cancel := context.CancelFunc(func() {})
	if d := rec.call.Timeout.std(); d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	if d := rec.call.Cancel.std(); d > 0 {
		inner, stop := context.WithCancel(ctx)
		outer := cancel
		timer := time.AfterFunc(d, stop)
		return inner, func() { timer.Stop(); stop(); outer() }
	}
	return ctx, cancel
}

// ends is when the call's context ends by itself; zero: never.
func (r *callRecord) ends() time.Time {
	var at time.Time
	for _, d := range []Duration{r.call.Timeout, r.call.Cancel} {
		if end := r.began.Add(d.std()); d > 0 && (at.IsZero() || end.Before(at)) {
			at = end
		}
	}
	return at
}

// request makes the request of a call. What its body came to is for the end.
func (w *world) request(ctx context.Context, id string, c Call, s *server) (*http.Request, *body) {
	req, err := http.NewRequestWithContext(ctx, c.Method, s.URL+pathPrefix+id, nil)
	if err != nil {
		panic(err)
	}
	if c.Key {
		req.Header.Set("Idempotency-Key", id)
	}
	req.Header.Set("X-Want", strconv.Itoa(c.Want))
	req.Header.Set("X-Think", c.Think.String())
	return req, w.bodies.put(req, id, c)
}

// A snapshot is a request as it was given to RoundTrip.
type snapshot struct {
	given  http.Request
	header http.Header
	url    string
}

func snapshotOf(req *http.Request) snapshot {
	return snapshot{*req, req.Header.Clone(), req.URL.String()}
}

// changed names what of the request was changed.
func (s snapshot) changed(req *http.Request) string {
	switch {
	case !maps.EqualFunc(req.Header, s.header, func(a, b []string) bool { return reflect.DeepEqual(a, b) }):
		return "Header"
	case req.URL.String() != s.url:
		return "URL"
	case req.Body != s.given.Body:
		return "Body"
	case (req.GetBody == nil) != (s.given.GetBody == nil):
		return "GetBody"
	case req.Method != s.given.Method, req.Host != s.given.Host, req.ContentLength != s.given.ContentLength, req.Close != s.given.Close,
		len(req.TransferEncoding) != len(s.given.TransferEncoding), len(req.Trailer) != len(s.given.Trailer):
		return "Method, Host, length, Close, encoding or trailer"
	}
	return ""
}

// checkReturn judges what RoundTrip returned, and when.
func (w *world) checkReturn(rec *callRecord, ctx context.Context, resp *http.Response, err error) {
	now := time.Now()
	if (resp == nil) == (err == nil) {
		w.violate("P4", "%s: RoundTrip returned %v and %v", rec.id, resp, err)
		return
	}
	if end := rec.ends(); !end.IsZero() && now.Sub(end) > w.goodbye()+rec.call.pause() {
		w.violate("P4", "%s: its context ended %v before RoundTrip returned %v", rec.id, now.Sub(end), err)
	}
	if err != nil {
		w.checkError(rec, ctx, err)
	}
}

func (w *world) checkError(rec *callRecord, ctx context.Context, err error) {
	wrong := func(format string, args ...any) {
		w.violate("P4", "%s: %s: %v", rec.id, fmt.Sprintf(format, args...), err)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		wrong("canceled, though its context has not ended")
	}
	if errors.Is(err, idlewise.ErrClosed) && w.stopped.Load() == nil {
		wrong("closed, though the Transport is not")
	}
	var broken, retried, timed bool
	for _, p := range w.inForce(rec.began) {
		broken, retried, timed = broken || p.Breaker > 0, retried || p.Retry.Max > 0, timed || p.Retry.PerTry > 0
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !timed {
		wrong("timed out, though its context has not ended")
	}
	if errors.Is(err, idlewise.ErrCircuitOpen) && !broken {
		wrong("there is no breaker")
	}
	var e *idlewise.Error
	if !errors.As(err, &e) {
		return
	}
	switch {
	case len(e.Attempts) == 0:
		wrong("no attempts")
	case e.Err == nil:
		wrong("no cause")
	case e.Evidence != e.Attempts[len(e.Attempts)-1].Evidence:
		wrong("evidence %v, last attempt %v", e.Evidence, e.Attempts[len(e.Attempts)-1])
	case e.Evidence == idlewise.NoEvidence || e.Evidence == idlewise.Answered:
		wrong("judged although its evidence is %v", e.Evidence)
	case !strings.Contains(err.Error(), "idlewise: "):
		wrong("it does not say whose judgement it is")
	}
}

// How a slow reader reads.
const (
	slowRead  = 80 * time.Millisecond
	slowReads = 4
)

// read takes a response as its call does, and judges it.
func (w *world) read(rec *callRecord, ctx context.Context, resp *http.Response) {
	sock, records := w.socketOf(rec), 0
	if sock != nil {
		records = sock.records()
		sock.announced(resp.Close, hintOf(resp))
	}
	touch := func() {
		if sock != nil {
			sock.touched()
		}
	}
	defer func() {
		touch()
		resp.Body.Close()
	}()
	if resp.Header.Get("X-Forged") != "" {
		if sock != nil && !sock.mayBeTaken() {
			w.violate("P3", "%s got what had come before it was sent", rec.id)
		}
		return
	}
	if id := resp.Header.Get("X-Id"); id != rec.id && (id != "" || resp.StatusCode == http.StatusOK) {
		if !rec.server.outOfStep(sock) {
			w.violate("P3", "%s got status %d of %q", rec.id, resp.StatusCode, id)
		}
		return
	}
	switch rec.call.Read {
	case ReadNone:
		return
	case ReadPart:
		touch()
		resp.Body.Read(make([]byte, 10))
		return
	}
	var got strings.Builder
	buf := make([]byte, 4096)
	for i := 0; ; i++ {
		if rec.call.Read == ReadSlowly && i < slowReads {
			time.Sleep(slowRead)
		}
		asked := time.Now()
		touch()
		n, err := resp.Body.Read(buf)
		got.Write(buf[:n])
		if end := rec.ends(); !end.IsZero() {
			if late := time.Since(later(end, asked)); late > w.goodbye()+rec.call.pause() {
				w.violate("P4", "%s: its context ended %v before a Read of the body returned %v", rec.id, late, err)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			rec.err = err
			return
		}
	}
	if sock != nil && resp.Body != http.NoBody { // else it was free, and perhaps used again, before records were counted
		sock.readToTheEnd(records)
	}
	w.checkAnswer(rec, resp, got.String())
}

func (w *world) checkAnswer(rec *callRecord, resp *http.Response, got string) {
	if resp.StatusCode != http.StatusOK {
		return
	}
	if rec.call.Method != http.MethodHead {
		want := rec.call.answer(rec.id)
		if resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && strings.HasPrefix(want, got) {
			return // it ends where the connection does, and that may have been too soon
		}
		if got != want {
			w.violate("P3", "%s got a wrong body of %d bytes, %.60q, not of %d, %.60q", rec.id, len(got), got, len(want), want)
			return
		}
	}
	rec.answered = true
}

// socketOf is the connection that brought the call's response, if its Trace told.
func (w *world) socketOf(rec *callRecord) *socket {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.attempts) == 0 {
		return nil
	}
	return w.socketAt(rec.attempts[len(rec.attempts)-1].Local.String())
}

func (w *world) socketAt(local string) *socket {
	s, _ := w.sockets.Load(local)
	sock, _ := s.(*socket)
	return sock
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// hintOf is the timeout in a Keep-Alive header.
func hintOf(resp *http.Response) time.Duration {
	for part := range strings.SplitSeq(resp.Header.Get("Keep-Alive"), ",") {
		if n, ok := strings.CutPrefix(strings.TrimSpace(part), "timeout="); ok {
			if seconds, err := strconv.Atoi(n); err == nil {
				return time.Duration(seconds) * time.Second
			}
		}
	}
	return 0
}
