package idlewise

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A lateConn is what a busy machine makes of a connection: between the end of its
// dial and the caller's turn a moment passes, enough to notice a hang-up.
type lateConn struct{ net.Conn }

func (c lateConn) RemoteAddr() net.Addr {
	time.Sleep(time.Millisecond)
	return c.Conn.RemoteAddr()
}

// A resetConn answers every read with a RST.
type resetConn struct{ net.Conn }

func (resetConn) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}

// A hangUp is a server that accepts so many connections and closes them at once.
type hangUp struct {
	times atomic.Int64
	how   func(net.Conn) net.Conn // nil: by a FIN
	log   dialLog
}

func (h *hangUp) on(b *http.Transport) {
	dial := b.DialContext
	b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if h.times.Add(-1) < 0 {
			return dial(ctx, network, addr)
		}
		near, far := net.Pipe()
		far.Close()
		if h.how != nil {
			near = h.how(near)
		}
		return lateConn{near}, nil
	}
	h.log.on(b)
}

func TestAServerThatHangsUpAtOnceIsDialedAFewTimesOnly(t *testing.T) {
	for want, how := range map[error]func(net.Conn) net.Conn{
		io.EOF:             nil,
		syscall.ECONNRESET: func(c net.Conn) net.Conn { return resetConn{c} },
	} {
		t.Run(want.Error(), func(t *testing.T) {
			h := hangUp{how: how}
			h.times.Store(1 << 30)
			inWorld(t, worldConfig{base: h.on}, func(t *testing.T, w *world) {
				began := time.Now()
				_, err := w.do(t.Context(), "GET", "/", "")
				require.ErrorIs(t, err, want)
				require.Equal(t, 1+maxProvenResends, h.log.count())
				require.Less(t, time.Since(began), time.Second)
				require.Zero(t, w.only().Open)
			})
		})
	}
}

func TestAFewHangUpsAreNotTheCallersConcern(t *testing.T) {
	var h hangUp
	h.times.Store(maxProvenResends)
	inWorld(t, worldConfig{base: h.on}, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "pay")
		require.Equal(t, 1+maxProvenResends, h.log.count())
		require.Equal(t, 1, w.executions())
	})
}

func TestHangUpsCountAsDialsThatFailed(t *testing.T) {
	var h hangUp
	h.times.Store(1 << 30)
	inWorld(t, worldConfig{base: h.on}, func(t *testing.T, w *world) {
		began := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				for time.Since(began) < time.Minute {
					w.do(t.Context(), "GET", "/", "")
				}
			})
		}
		wg.Wait()
		// Each after half a second on average, when it has come to that.
		require.Less(t, h.log.count(), 5*2*60*3/2)
		h.times.Store(0)
		w.mustDo("GET", "/", "")
		w.tr.CloseIdleConnections()
		began = time.Now()
		w.mustDo("GET", "/", "")
		require.Zero(t, time.Since(began), "it is well again")
		w.tr.CloseIdleConnections()
		h.times.Store(1)
		began = time.Now()
		w.mustDo("GET", "/", "")
		require.Equal(t, time.Millisecond, time.Since(began), "a single hang-up slows nothing down")
	})
}

// Nothing of it was sent, so that a policy may repeat what must not be done twice.
func TestAPolicyRepeatsAPOSTWhoseServerHungUp(t *testing.T) {
	var h hangUp
	h.times.Store(1 + maxProvenResends)
	inWorld(t, worldConfig{base: h.on, client: Config{Policies: Policies{Default: Policy{Retry: Retry{Max: 1, WaitMin: time.Millisecond, WaitMax: time.Millisecond}}}}}, func(t *testing.T, w *world) {
		w.mustDo("POST", "/", "pay")
		require.Equal(t, 1, w.executions())
		require.Equal(t, 2+maxProvenResends, h.log.count())
	})
}

// Of a program's own TLS connection net/http alone sees what was not asked for, and has
// no error for it but its own.
func TestAServerThatSpeaksBeforeItIsAskedIsDialedAFewTimesOnly(t *testing.T) {
	var log dialLog
	inWorld(t, worldConfig{base: func(b *http.Transport) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				far.Write([]byte("unasked"))
				far.Close()
			}()
			return lateConn{near}, nil
		}
		b.DialContext, b.DialTLSContext = dial, nil
		log.on(b)
		b.DialTLSContext = b.DialContext
	}}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := w.tr.RoundTrip(request(t, "GET", "https://10.0.0.9/", nil).WithContext(ctx))
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.LessOrEqual(t, log.count(), 1+2*maxProvenResends)
	})
}
