package idlewise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// crossing is a world in which a request that is sent 5 s after the last one
// crosses the server's FIN.
func crossing(protocols *http.Protocols, pol Policy) worldConfig {
	pol.Learning, pol.LivenessCheckAfter = Off, -1
	return worldConfig{
		latency: 10 * time.Millisecond,
		books:   true,
		server:  faultserver.Config{IdleTimeout: 5 * time.Second, Protocols: protocols},
		client:  Config{Policies: Policies{Default: pol}},
		base:    func(b *http.Transport) { b.Protocols = protocols },
	}
}

// cross sends a request so that it crosses the FIN.
func (w *world) cross(ctx context.Context, method string) (attempts []Attempt, took time.Duration, err error) {
	w.mustDo("GET", "/warm", "")
	time.Sleep(5*time.Second - 15*time.Millisecond)
	ctx = WithTrace(ctx, &Trace{AttemptDone: func(a Attempt) { attempts = append(attempts, a) }})
	began := time.Now()
	_, err = w.do(ctx, method, "/", "body")
	return attempts, time.Since(began), err
}

func protocols(h2 bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	return p
}

func TestAPOSTThatCrossesAFINIsSentAgain(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(protoName(h2), func(t *testing.T) {
			cfg := crossing(protocols(h2), Policy{})
			if h2 { // without the GOAWAY that would tell
				cfg.server.IdleTimeout = 0
				cfg.server.Faults = []faultserver.Fault{{Kind: faultserver.IdleClose, After: 5 * time.Second}}
			}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				attempts, took, err := w.cross(t.Context(), "POST")
				require.NoError(t, err)
				require.Less(t, took, 65*time.Millisecond, "a round trip for the proof, two for a new connection's answer")
				require.Len(t, attempts, 2)
				require.Equal(t, Undelivered, attempts[0].Evidence)
				require.True(t, attempts[0].Resent)
				require.Equal(t, 2, w.executions())
				w.server.Journal().AssertNoneExecutedTwice(t)
				require.EqualValues(t, 1, w.only().Failed[Undelivered])
				require.EqualValues(t, 1, w.only().Resent[Undelivered])
				require.EqualValues(t, 1, w.only().StaleOther)
				require.Equal(t, 1, w.closed(ClosedStaleOnUse))
			})
		})
	}
}

func TestWithEvidenceOffOnlyTheMethodCounts(t *testing.T) {
	inWorld(t, crossing(protocols(false), Policy{Evidence: Off}), func(t *testing.T, w *world) {
		attempts, took, err := w.cross(t.Context(), "POST")
		require.ErrorContains(t, err, "delivery unknown, not repeated")
		require.Len(t, attempts, 1)
		require.Equal(t, 15*time.Millisecond, took, "when the FIN comes, not when the RST does")
	})
}

func TestRequestsThatNeedNoProofDoNotWaitForOne(t *testing.T) {
	for name, c := range map[string]struct {
		method   string
		ctx      func(context.Context) context.Context
		evidence Evidence
	}{
		"PUT":             {"PUT", func(ctx context.Context) context.Context { return ctx }, Unknown},
		"idempotent POST": {"POST", WithIdempotent, Unknown},
		"without retry":   {"POST", WithoutRetry, Unknown},
		"vouched against": {"PUT", WithNotIdempotent, Undelivered},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, crossing(protocols(false), Policy{}), func(t *testing.T, w *world) {
				attempts, _, _ := w.cross(c.ctx(t.Context()), c.method)
				require.Equal(t, c.evidence, attempts[0].Evidence)
			})
		})
	}
}

func TestTheWaitForAProofIsBounded(t *testing.T) {
	// The server shuts down its writing side and does nothing any more: no RST
	// will ever come, and its kernel's acknowledgements are lost.
	halfClosing := func(t *testing.T, w *world, ctx context.Context) (time.Duration, error) {
		ln, err := w.net.Listen("10.0.0.2:80")
		require.NoError(t, err)
		defer ln.Close()
		done := make(chan struct{})
		go func() {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			buf := make([]byte, 1000)
			nc.Read(buf)
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			require.NoError(t, w.net.SetLink("10.0.0.2", "", memnet.Link{Latency: 10 * time.Millisecond, LoseAcks: true}))
			time.Sleep(15 * time.Millisecond) // the next request is on its way
			nc.(socket).CloseWrite()
			<-done
		}()
		defer close(done)
		for range 2 {
			req, err := http.NewRequestWithContext(ctx, "POST", "http://10.0.0.2:80/", strings.NewReader("x"))
			require.NoError(t, err)
			began := time.Now()
			resp, err := w.tr.RoundTrip(req)
			if err != nil {
				return time.Since(began), err
			}
			resp.Body.Close()
			synctest.Wait()
		}
		return 0, nil
	}
	t.Run("by time", func(t *testing.T) {
		inWorld(t, crossing(protocols(false), Policy{}), func(t *testing.T, w *world) {
			took, err := halfClosing(t, w, t.Context())
			require.ErrorContains(t, err, "delivery unknown")
			require.GreaterOrEqual(t, took, minProofWait)
			require.LessOrEqual(t, took, 20*time.Millisecond+minProofWait+maxProofLook)
		})
	})
	t.Run("by the round trip, and not by what its dial took", func(t *testing.T) {
		cfg := crossing(protocols(false), Policy{})
		cfg.base = func(b *http.Transport) {
			b.Protocols = protocols(false)
			dial := b.DialContext
			b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				trace := httptrace.ContextClientTrace(ctx)
				trace.ConnectStart(network, addr)
				time.Sleep(2 * time.Second) // a SYN was lost, and then another
				c, err := dial(ctx, network, addr)
				trace.ConnectDone(network, addr, err)
				return c, err
			}
		}
		inWorld(t, cfg, func(t *testing.T, w *world) {
			took, err := halfClosing(t, w, t.Context())
			require.ErrorContains(t, err, "delivery unknown")
			require.LessOrEqual(t, took, 20*time.Millisecond+minProofWait+maxProofLook)
		})
	})
	t.Run("by Close", func(t *testing.T) {
		inWorld(t, crossing(protocols(false), Policy{}), func(t *testing.T, w *world) {
			time.AfterFunc(150*time.Millisecond, func() { w.tr.Close() })
			took, err := halfClosing(t, w, t.Context())
			require.ErrorIs(t, err, ErrClosed)
			require.Less(t, took, 150*time.Millisecond+maxProofLook)
		})
	})
	t.Run("by the context", func(t *testing.T) {
		inWorld(t, crossing(protocols(false), Policy{}), func(t *testing.T, w *world) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			took, err := halfClosing(t, w, ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.LessOrEqual(t, took, 100*time.Millisecond)
		})
	})
}

func TestWhileAProofIsSoughtTheSocketCountsAsOpen(t *testing.T) {
	cfg := crossing(protocols(false), Policy{MaxConns: 1})
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/warm", "")
		time.Sleep(5*time.Second - 15*time.Millisecond)
		done := make(chan error)
		go func() {
			_, err := w.do(t.Context(), "POST", "/", "body")
			done <- err
		}()
		time.Sleep(12 * time.Millisecond) // the FIN has come, the RST has not
		require.EqualValues(t, 1, w.open.Load())
		require.Equal(t, 1, w.only().Open)
		require.NoError(t, <-done)
		require.EqualValues(t, 1, w.most.Load())
	})
}

func TestCloseEndsASearchForProof(t *testing.T) {
	inWorld(t, crossing(protocols(false), Policy{}), func(t *testing.T, w *world) {
		w.mustDo("GET", "/warm", "")
		time.Sleep(5*time.Second - 15*time.Millisecond)
		done := make(chan error)
		go func() {
			_, err := w.do(t.Context(), "POST", "/", "body")
			done <- err
		}()
		time.Sleep(12 * time.Millisecond)
		require.NoError(t, w.tr.Close())
		require.ErrorIs(t, <-done, ErrClosed)
		synctest.Wait()
		require.Zero(t, w.open.Load())
	})
}

// A lyingConn embeds a TCP connection and is none.
type lyingConn struct{ *net.TCPConn }

func (lyingConn) SyscallConn() (syscall.RawConn, error) { panic("asked for what it has not") }

func TestConnectionsThatLieGiveNoEvidence(t *testing.T) {
	client, server := tcpPair(t)
	server.Close()
	_, tr := track(lyingConn{client.(*net.TCPConn)})
	require.False(t, tr.isTCP)
	require.True(t, tr.look(), "nothing is known")
	_, ok := tr.latch()
	require.False(t, ok)

	client, server = tcpPair(t)
	server.Close()
	_, tr = track(client)
	h := tr.keep()
	client.Close() // behind the tracked connection's back
	_, ok = tr.latch()
	require.False(t, ok, "the descriptor is closed")
	require.NoError(t, tr.Close(), "parked")
	proven, err := h.prove(0, func(time.Duration) error { return errors.New("nothing to wait for") })
	require.False(t, proven)
	require.NoError(t, err)
	h.release()
	h.t.Close()
}

func TestACallWhoseConnectionIsParkedFailsAsIfItWereClosed(t *testing.T) {
	client, _ := tcpPair(t)
	_, tr := track(client)
	h := tr.keep()
	reading := make(chan error)
	go func() {
		_, err := tr.Read(make([]byte, 1))
		reading <- err
	}()
	for !tr.inRead.Load() {
	}
	require.NoError(t, tr.Close())
	err := <-reading
	require.ErrorIs(t, err, net.ErrClosed)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Contains(t, op.Error(), "use of closed network connection")
	_, err = tr.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	h.release()
	require.ErrorIs(t, client.Close(), net.ErrClosed, "released, and so closed")
}

func TestTheErrorSaysWhatWasProven(t *testing.T) {
	a := Attempt{Number: 1, Reused: true, Evidence: Undelivered, Err: io.EOF}
	require.EqualError(t, judged([]Attempt{a}, nil, io.EOF, Undelivered, notReplayable),
		"idlewise: stale connection, request not delivered, not repeated (set Request.GetBody so that the body can be sent again): EOF")
	require.Equal(t, "undelivered", fmt.Sprint(Undelivered))
}
