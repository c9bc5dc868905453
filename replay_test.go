package idlewise

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// echoing answers the first requests with 503 after it has read them, and then
// with what it reads.
func echoing(failures int) *scripted {
	return &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if n <= failures {
			w.WriteHeader(503)
			return
		}
		w.Write(b)
	}}
}

func TestABodyWithoutGetBodyIsRecordedAndSentAgain(t *testing.T) {
	for name, tls := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: echoing(2), TLS: tls}, client: retrying(Retry{Max: 3, MaxReplayBody: 100})}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				body := &watchedBody{Reader: strings.NewReader("the document")}
				s, err := w.send(request(t, "PUT", w.url("/"), body))
				require.NoError(t, err)
				require.Equal(t, "the document", s)
				synctest.Wait()
				require.EqualValues(t, 1, body.closed.Load())
				require.Zero(t, w.tr.replays.held.Load())
			})
		})
	}
}

func TestABodyInMemoryAndAFileAreRecordedToo(t *testing.T) {
	name := t.TempDir() + "/document"
	require.NoError(t, os.WriteFile(name, []byte("the document"), 0o600))
	file, err := os.Open(name)
	require.NoError(t, err)
	for _, body := range []io.ReadCloser{io.NopCloser(strings.NewReader("the document")), file} {
		inRetryingWorld(t, echoing(2), Retry{Max: 3, MaxReplayBody: 12}, func(t *testing.T, w *world) {
			req := request(t, "PUT", w.url("/"), nil)
			req.Body, req.ContentLength = body, 12
			s, err := w.send(req)
			require.NoError(t, err)
			require.Equal(t, "the document", s)
			synctest.Wait()
			require.Zero(t, w.tr.replays.held.Load())
		})
	}
	require.ErrorIs(t, file.Close(), os.ErrClosed)
}

func TestABodyThatIsTooLongIsSentAndNotRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		limit, all int64
		body       string
	}{
		"for the policy":    {limit: 5, body: "longer"},
		"for the Transport": {limit: 100, all: 5, body: "longer"},
		"for both":          {limit: -1, all: -1, body: "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: echoing(1)}, client: retrying(Retry{Max: 3, MaxReplayBody: c.limit})}
			cfg.client.MaxReplayBytes = c.all
			inWorld(t, cfg, func(t *testing.T, w *world) {
				body := &watchedBody{Reader: strings.NewReader(c.body)}
				resp, err := w.tr.RoundTrip(request(t, "PUT", w.url("/"), body))
				require.NoError(t, err)
				require.Equal(t, 503, resp.StatusCode)
				resp.Body.Close()
				synctest.Wait()
				require.EqualValues(t, 1, body.closed.Load())
				require.Zero(t, w.tr.replays.held.Load())
				require.Zero(t, w.only().Retries)
			})
		})
	}
}

// A body in memory whose length is not announced is no other.
func TestABodyInMemoryThatIsTooLongIsSentAndNotRepeated(t *testing.T) {
	for name, c := range map[string]struct{ limit, all int64 }{
		"for the policy":    {limit: 5},
		"for the Transport": {limit: 100, all: 5},
	} {
		t.Run(name, func(t *testing.T) {
			h := echoing(1)
			cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{Handler: h}, client: retrying(Retry{Max: 3, MaxReplayBody: c.limit})}
			cfg.client.MaxReplayBytes = c.all
			inWorld(t, cfg, func(t *testing.T, w *world) {
				req := request(t, "PUT", w.url("/"), nil)
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader("longer")), -1
				resp, err := w.tr.RoundTrip(req)
				require.NoError(t, err)
				require.Equal(t, 503, resp.StatusCode)
				resp.Body.Close()
				require.EqualValues(t, 1, h.n.Load())
				require.Zero(t, w.tr.replays.held.Load())
			})
		})
	}
}

// While the program's Read has not returned, nobody else can read the body.
func TestABodyThatIsBeingReadIsNotRepeated(t *testing.T) {
	h := &scripted{f: func(_ int, w http.ResponseWriter, _ *http.Request) {
		http.NewResponseController(w).EnableFullDuplex() // do not read on before answering
		w.WriteHeader(503)
		w.(http.Flusher).Flush()
	}}
	inRetryingWorld(t, h, Retry{Max: 1, MaxReplayBody: 100}, func(t *testing.T, w *world) {
		body := &watchedBody{Reader: io.MultiReader(strings.NewReader("first"), &slowReader{wait: 10 * time.Second, r: strings.NewReader(" second")})}
		resp, err := w.tr.RoundTrip(request(t, "PUT", w.url("/"), body))
		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		resp.Body.Close()
		require.EqualValues(t, 1, h.n.Load())
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, body.closed.Load())
		require.Zero(t, w.tr.replays.held.Load())
	})
}

func TestARecordingGoesOnWhereItEnded(t *testing.T) {
	store := &byteStore{limit: 100}
	body := &watchedBody{Reader: strings.NewReader("first second")}
	var b payload
	b.begin(request(t, "PUT", "http://a/", body))
	b.record(store, 100)
	first, _ := b.forAttempt()
	_, err := io.ReadFull(first, make([]byte, 5))
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.Zero(t, body.closed.Load(), "the rest is still needed")
	require.True(t, b.replayable(false))
	require.NoError(t, b.rewind(false))
	_, err = first.Read(make([]byte, 5))
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
	second, _ := b.forAttempt()
	whole, err := io.ReadAll(second)
	require.NoError(t, err)
	require.Equal(t, "first second", string(whole))
	require.EqualValues(t, 12, store.held.Load())
	require.NoError(t, b.rewind(false))
	third, _ := b.forAttempt()
	whole, err = io.ReadAll(third)
	require.NoError(t, err)
	require.Equal(t, "first second", string(whole))
	b.close()
	require.EqualValues(t, 1, body.closed.Load())
	require.Zero(t, store.held.Load())
}

func TestWhatWasRecordedOfABodyThatFailsIsNotKept(t *testing.T) {
	store := &byteStore{limit: 100}
	body := &watchedBody{Reader: io.MultiReader(strings.NewReader("first"), failingReader{errBroken})}
	var b payload
	b.begin(request(t, "PUT", "http://a/", body))
	b.record(store, 100)
	first, _ := b.forAttempt()
	_, err := io.ReadAll(first)
	require.Equal(t, errBroken, err)
	require.Zero(t, store.held.Load())
	require.False(t, b.replayable(true))
	require.NoError(t, first.Close())
	require.EqualValues(t, 1, body.closed.Load(), "nobody else will want it")
}

// A body is closed when its Read returns, if net/http has closed it meanwhile and
// it turns out to be too long to be sent again; and once, whoever comes first.
func TestABodyThatIsTooLongIsClosedWhenItsReadReturns(t *testing.T) {
	for name, leftFirst := range map[string]bool{"before it is left": false, "after it was left": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &watchedBody{Reader: &slowReader{wait: time.Second, r: strings.NewReader("longer")}}
				var b payload
				b.begin(request(t, "PUT", "http://a/", body))
				b.record(&byteStore{limit: 100}, 5)
				first, _ := b.forAttempt()
				go first.Read(make([]byte, 100))
				synctest.Wait()
				require.NoError(t, first.Close())
				require.Zero(t, body.closed.Load(), "it is being read")
				if leftFirst {
					b.leave()
				}
				time.Sleep(2 * time.Second)
				require.EqualValues(t, 1, body.closed.Load())
				b.leave()
				require.EqualValues(t, 1, body.closed.Load())
			})
		})
	}
}

// A slowReader waits before its first Read.
type slowReader struct {
	wait time.Duration
	r    io.Reader
}

func (s *slowReader) Read(p []byte) (int, error) {
	time.Sleep(s.wait)
	s.wait = 0
	return s.r.Read(p)
}

// A stale connection's resend has the recorded body as well.
func TestAResendHasTheRecordedBody(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, server: onReuse(faultserver.FinAfterRequest), client: retrying(Retry{MaxReplayBody: 100})}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		body := &watchedBody{Reader: strings.NewReader("the document")}
		_, err := w.send(request(t, "PUT", w.url("/"), body))
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, 1, body.closed.Load())
		require.EqualValues(t, 1, w.only().Resent[Unknown])
	})
}

// Of a file nobody can tell how much of it net/http has read, but for one that it
// has not seen yet.
func TestAFileIsSentWhereTheFirstTryGotNoConnection(t *testing.T) {
	name := t.TempDir() + "/document"
	require.NoError(t, os.WriteFile(name, []byte("the document"), 0o600))
	inRetryingWorld(t, echoing(0), Retry{Max: 1}, func(t *testing.T, w *world) {
		file, err := os.Open(name)
		require.NoError(t, err)
		w.refuse.Store(1)
		s, err := w.send(request(t, "POST", w.url("/"), file))
		require.NoError(t, err)
		require.Equal(t, "the document", s)
		require.ErrorIs(t, file.Close(), os.ErrClosed)
	})
}

// A patientBody says whether it was closed while it was being read.
type patientBody struct {
	watchedBody
	reading, disturbed atomic.Bool
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.reading.Store(true)
	defer b.reading.Store(false)
	return b.watchedBody.Read(p)
}

func (b *patientBody) Close() error {
	b.disturbed.CompareAndSwap(false, b.reading.Load())
	return b.watchedBody.Close()
}

// As with net/http, whose HTTP/1 closes a body in the goroutine that reads it.
func TestABodyIsNotClosedWhileItIsRead(t *testing.T) {
	early := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex() // do not read on before answering
		if n == 1 {
			w.WriteHeader(503)
		}
		w.(http.Flusher).Flush()
	}}
	for name, check := range map[string]func(context.Context, *http.Response, error) (bool, error){
		"when another is sent":           nil,
		"when the response is not given": func(context.Context, *http.Response, error) (bool, error) { return false, errBroken },
	} {
		t.Run(name, func(t *testing.T) {
			early.n.Store(0)
			inRetryingWorld(t, early, Retry{Max: 1, CheckRetry: check}, func(t *testing.T, w *world) {
				var bodies []*patientBody
				next := func() (io.ReadCloser, error) {
					slow := &slowReader{wait: 10 * time.Second, r: strings.NewReader("document")}
					bodies = append(bodies, &patientBody{watchedBody: watchedBody{Reader: slow}})
					return bodies[len(bodies)-1], nil
				}
				req := request(t, "PUT", w.url("/"), nil)
				req.Body, _ = next()
				req.GetBody = next
				w.send(req)
				require.EqualValues(t, len(bodies), early.n.Load())
				time.Sleep(time.Minute)
				for i, b := range bodies {
					require.False(t, b.disturbed.Load(), i)
					require.EqualValues(t, 1, b.closed.Load(), i)
				}
			})
		})
	}
}

// Trap: where a try's context ends before net/http's write loop has taken the request
// up, HTTP/1's RoundTrip returns and nobody closes the body.
func TestABodyThatNetHTTPNeverTookUpIsClosedBeforeTheNextIsUsed(t *testing.T) {
	first, second := newWatchedBody("body"), newWatchedBody("body")
	req := request(t, "PUT", "http://example.com/", first)
	req.GetBody = func() (io.ReadCloser, error) { return second, nil }
	var b payload
	b.begin(req)
	given, _ := b.forAttempt()
	require.NoError(t, b.rewind(false))
	require.EqualValues(t, 1, first.closed.Load())
	n, err := given.Read(make([]byte, 1))
	require.Zero(t, n, "net/http is late")
	require.Error(t, err)
	given.Close()
	require.EqualValues(t, 1, first.closed.Load())
	b.close()
	require.EqualValues(t, 1, second.closed.Load())
}

func TestABodyThatNetHTTPIsReadingIsItsToClose(t *testing.T) {
	first, second := newWatchedBody("body"), newWatchedBody("body")
	req := request(t, "PUT", "http://example.com/", first)
	req.GetBody = func() (io.ReadCloser, error) { return second, nil }
	var b payload
	b.begin(req)
	given, _ := b.forAttempt()
	given.Read(make([]byte, 1))
	require.NoError(t, b.rewind(false))
	require.Zero(t, first.closed.Load())
	given.Close()
	require.EqualValues(t, 1, first.closed.Load())
}
