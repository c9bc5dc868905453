package idlewise

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A lingering context takes its time to tell of hooks once it has ended, so that what
// hangs on it has ended too when net/http goes on.
type lingering struct{ context.Context }

func (c lingering) Value(key any) any {
	if c.Err() != nil && strings.HasPrefix(reflect.TypeOf(key).String(), "httptrace.") {
		time.Sleep(time.Millisecond)
	}
	return c.Context.Value(key)
}

// Trap: ClientConn.RoundTrip, where nothing was reserved, looks at random whether
// the context has ended or the connection is free, and then returns the context's
// error without its cause. So it gets no context that ends, and none that has ended
// gets that far.
func TestARequestThatIsCanceledAsItGetsItsConnectionFailsWithTheCause(t *testing.T) {
	enough := errors.New("enough")
	inWorld(t, worldConfig{latency: time.Millisecond}, func(t *testing.T, w *world) {
		for range 50 {
			w.mustDo("GET", "/", "")
			ctx, cancel := context.WithCancelCause(context.Background())
			ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { cancel(enough) }})
			req, err := http.NewRequestWithContext(lingering{ctx}, "POST", w.url("/"), strings.NewReader("x"))
			require.NoError(t, err)
			_, err = w.tr.RoundTrip(req)
			require.Equal(t, enough, err, "as http.Transport has it")
		}
		require.EqualValues(t, 1, w.dials.Load(), "the connection has seen nothing of it")
	})
}

// The server's clock goes on while a request that is never sent has the connection.
func TestAnInvalidRequestMakesNoConnectionYounger(t *testing.T) {
	cfg := worldConfig{latency: time.Millisecond, client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(4 * time.Second)
		req := request(t, "GET", w.url("/"), nil)
		req.Header["Bad"] = []string{"line\nfeed"}
		_, err := w.tr.RoundTrip(req)
		require.ErrorContains(t, err, "invalid header")
		require.Equal(t, 1, w.only().Idle)
		time.Sleep(2 * time.Second)
		w.mustDo("GET", "/", "")
		require.EqualValues(t, 2, w.dials.Load(), "the first connection is 6 s old to its server")
		require.Equal(t, 1, w.closed(ClosedIdleDeadline))
	})
}
