package idlewise

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// A countingConn counts the system calls that a TCP connection would take.
type countingConn struct {
	*memnet.Conn
	calls *calls
}

type calls struct{ reads, writes, deadlines, peeks, infos, errors atomic.Int64 }

func (c countingConn) Read(p []byte) (int, error) {
	c.calls.reads.Add(1)
	return c.Conn.Read(p)
}

func (c countingConn) Write(p []byte) (int, error) {
	c.calls.writes.Add(1)
	return c.Conn.Write(p)
}

func (c countingConn) SetDeadline(t time.Time) error {
	c.calls.deadlines.Add(1)
	return c.Conn.SetDeadline(t)
}

func (c countingConn) Peek() (int, error, bool) {
	c.calls.peeks.Add(1)
	return c.Conn.Peek()
}

func (c countingConn) TCPInfo() (tcpinfo.Info, bool) {
	c.calls.infos.Add(1)
	return c.Conn.TCPInfo()
}

func (c countingConn) TakeError() (error, bool) {
	c.calls.errors.Add(1)
	return c.Conn.TakeError()
}

// taken returns what was counted since the last call.
func (c *calls) taken() [6]int64 {
	return [6]int64{c.reads.Swap(0), c.writes.Swap(0), c.deadlines.Swap(0), c.peeks.Swap(0), c.infos.Swap(0), c.errors.Swap(0)}
}

func TestARequestWithNothingWrongTakesNoSystemCallMore(t *testing.T) {
	var c calls
	network := worldConfig{
		latency: time.Millisecond,
		client:  Config{Policies: Policies{Default: Policy{ServerKeepAlive: time.Minute}}},
		base: func(b *http.Transport) {
			dial := b.DialContext
			b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return countingConn{nc.(*accountedConn).Conn, &c}, nil
			}
		},
		books: true,
	}
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, network, func(t *testing.T, w *world) {
				defer w.open.Store(0)    // nobody counts these connections out
				w.mustDo("GET", "/", "") // on a new connection
				for _, step := range []struct {
					idle         time.Duration
					peeks, infos int64
				}{
					{idle: 0},
					{idle: 999 * time.Millisecond}, // LivenessCheckAfter is a second
					{idle: time.Second, peeks: 1},
					{idle: 29 * time.Second, peeks: 1},
					{idle: 31 * time.Second, peeks: 1, infos: 1}, // in the second half of the deadline
				} {
					time.Sleep(step.idle)
					c.taken()
					w.mustDo(method, "/", map[string]string{"POST": "body"}[method])
					synctest.Wait()
					require.Equal(t, [6]int64{1, 1, 0, step.peeks, step.infos, 0}, c.taken(), "after %v", step.idle)
				}
			})
		})
	}
}
