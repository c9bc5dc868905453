package faultserver_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// several are idle connections under TLS.
func several(t *testing.T, s *faultserver.Server, dial func() net.Conn) []*tls.Conn {
	t.Helper()
	conns := make([]*tls.Conn, 3)
	for i := range conns {
		cfg := s.TLSClientConfig()
		cfg.ServerName = "localhost"
		conns[i] = tls.Client(dial(), cfg)
		roundTrip(t, conns[i], "GET", "")
	}
	return conns
}

// endings are the ways of ending all connections that leave time for a
// close_notify.
var endings = map[string]func(*faultserver.Server, context.Context) error{
	"Close":   func(s *faultserver.Server, _ context.Context) error { return s.Close() },
	"Drain":   (*faultserver.Server).Drain,
	"Stop":    (*faultserver.Server).Stop,
	"Restart": func(s *faultserver.Server, _ context.Context) error { s.Restart(); return nil },
}

func TestConnectionsOfAPausedServerEndAtOnceUnderTLS(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := inMemory(t, faultserver.Config{TLS: true})
				conns := several(t, s, dial)
				s.Pause()
				began := time.Now()
				require.NoError(t, end(s, t.Context()))
				for _, c := range conns {
					_, err := c.NetConn().Read(make([]byte, 1))
					require.ErrorIs(t, err, io.EOF, "a FIN, and no close_notify before it")
				}
				require.Zero(t, time.Since(began))
			})
		})
	}
}

// A pausing listener's connections run pause just before a close_notify is
// written: crypto/tls sets a deadline for it.
type pausing struct {
	net.Listener
	pause func()
}

type pausingConn struct {
	net.Conn
	pause func()
}

func (l pausing) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return pausingConn{nc, l.pause}, err
}

func (c pausingConn) SetWriteDeadline(t time.Time) error {
	c.pause()
	return c.Conn.SetWriteDeadline(t)
}

func TestAPauseThatBeginsInAnEndHoldsItUpNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{})
		var s *faultserver.Server
		s = faultserver.Start(t, faultserver.Config{TLS: true, Listen: func(address string) (net.Listener, error) {
			ln, err := network.Listen(address)
			return pausing{ln, func() { s.Pause() }}, err
		}})
		several(t, s, func() net.Conn {
			nc, err := network.DialContext(t.Context(), "tcp", s.Addr().String())
			require.NoError(t, err)
			return nc
		})
		began := time.Now()
		require.NoError(t, s.Drain(t.Context()))
		require.Zero(t, time.Since(began))
		require.Len(t, s.Journal().ServerEvents(), 1, "the pause")
		require.NoError(t, s.Close())
	})
}

func TestUnderALowRateNoEndWaitsForTheOneBefore(t *testing.T) {
	// crypto/tls gives up a close_notify after 5 s.
	for name, most := range map[string]time.Duration{"Close": 0, "Drain": 5 * time.Second, "Stop": 5 * time.Second, "Restart": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := inMemory(t, faultserver.Config{TLS: true})
				several(t, s, dial)
				s.Inject(faultserver.Fault{Kind: faultserver.Bandwidth, Rate: 2})
				began := time.Now()
				require.NoError(t, endings[name](s, t.Context()))
				require.Equal(t, most, time.Since(began))
				require.NoError(t, s.Close())
			})
		})
	}
}

func TestDrainAndStopReturnWithTheirContextUnderALowRate(t *testing.T) {
	for _, name := range []string{"Drain", "Stop"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dial := inMemory(t, faultserver.Config{TLS: true})
				several(t, s, dial)
				s.Inject(faultserver.Fault{Kind: faultserver.Bandwidth, Rate: 2})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				require.ErrorIs(t, endings[name](s, ctx), context.DeadlineExceeded)
				require.Equal(t, time.Second, time.Since(began))
				s.Kill()
				require.NoError(t, s.Close())
				require.Equal(t, time.Second, time.Since(began))
			})
		})
	}
}

func TestACloseNotifyComesAsSlowlyAsTheRateLetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{TLS: true})
		tap := &wiretap{Conn: dial()}
		cfg := s.TLSClientConfig()
		cfg.ServerName = "localhost"
		version12(cfg)
		c := tls.Client(tap, cfg)
		roundTrip(t, c, "GET", "")
		s.Inject(faultserver.Fault{Kind: faultserver.Bandwidth, Rate: 20})
		began := time.Now()
		require.NoError(t, s.Drain(t.Context()))
		require.Equal(t, 30*50*time.Millisecond, time.Since(began), "31 bytes, of which the first does not wait")
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		types, cut := tap.records()
		require.Zero(t, cut)
		require.EqualValues(t, alertRecord, types[len(types)-1])
	})
}

func TestAWriteEndsAtItsDeadlineWhateverItWaitsFor(t *testing.T) {
	for name, hold := range map[string]func(*faultserver.Server){
		"a pause": (*faultserver.Server).Pause,
		"a rate": func(s *faultserver.Server) {
			s.Inject(faultserver.Fault{Kind: faultserver.Bandwidth, Rate: 2})
		},
		"a full line": func(s *faultserver.Server) {
			s.Inject(faultserver.Fault{Kind: faultserver.Latency, After: time.Hour})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hijacked := make(chan net.Conn)
				s, dial := inMemory(t, faultserver.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					nc, _, err := http.NewResponseController(w).Hijack()
					require.NoError(t, err)
					hijacked <- nc
				})})
				_, err := io.WriteString(dial(), "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
				require.NoError(t, err)
				nc := <-hijacked
				hold(s)
				began := time.Now()
				require.NoError(t, nc.SetWriteDeadline(began.Add(time.Minute)))
				for err == nil { // a line holds a megabyte
					_, err = nc.Write(make([]byte, 1<<20))
				}
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.Equal(t, time.Minute, time.Since(began))
				_, err = nc.Write([]byte("x"))
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.NoError(t, s.Close())
			})
		})
	}
}
