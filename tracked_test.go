package idlewise

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestALookAtTheSocketSeesWhatHasArrived(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the socket cannot be looked at on Windows")
	}
	look := func(t *testing.T, act func(server net.Conn)) bool {
		client, server := tcpPair(t)
		_, tr := track(client)
		silent := tr.look()
		require.True(t, silent, "nothing has happened yet")
		act(server)
		// On loopback what was sent has arrived when the call returns, but
		// that is the kernel's affair: wait for it to show.
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
			if silent = tr.look(); !silent {
				return false
			}
		}
		return true
	}
	require.False(t, look(t, func(c net.Conn) { c.Close() }), "a FIN")
	require.False(t, look(t, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }), "a RST")
	require.False(t, look(t, func(c net.Conn) { io.WriteString(c, "x") }), "a byte")

	pipe, other := net.Pipe()
	defer pipe.Close()
	other.Close()
	_, tr := track(pipe)
	silent := tr.look()
	require.True(t, silent, "of what is no TCP connection nothing is known")
}

func TestARequestThatComesTooLateIsNotWrittenAndSentElsewhere(t *testing.T) {
	inWorld(t, worldConfig{latency: time.Millisecond, client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		time.Sleep(4700 * time.Millisecond) // the limit is 4750 ms
		var attempts []Attempt
		ctx := WithTrace(context.Background(), &Trace{
			AttemptStart: func(a Attempt) {
				if a.Number == 1 {
					time.Sleep(50 * time.Millisecond) // a machine that is too busy
				}
			},
			AttemptDone: func(a Attempt) { attempts = append(attempts, a) },
		})
		_, err := w.do(ctx, "POST", "/", "pay")
		require.NoError(t, err)
		require.Len(t, attempts, 2)
		require.Equal(t, Unsent, attempts[0].Evidence)
		require.ErrorIs(t, attempts[0].Err, errLate)
		require.Equal(t, 1, w.closed(ClosedIdleDeadline))
		require.Zero(t, w.only().StaleOther, "it was not the server that had closed it")
		require.Equal(t, 2, w.executions(), "the GET and, once, the POST")
	})
}

// net/http gives the connection up before it has flushed the request, and
// crypto/tls says goodbye: a write, but none of the request.
func TestAGoodbyeOverTLSIsNotTakenForTheRequest(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			protocols := new(http.Protocols)
			protocols.SetHTTP1(true)
			cfg := worldConfig{
				latency: time.Millisecond,
				server:  faultserver.Config{TLS: true, Protocols: protocols, IdleTimeout: 100 * time.Millisecond},
			}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				w.tr.base.http.TLSClientConfig.MaxVersion = version
				w.mustDo("GET", "/", "")
				time.Sleep(50 * time.Millisecond)
				late := false
				var attempts []Attempt
				ctx := WithTrace(context.Background(), &Trace{AttemptDone: func(a Attempt) { attempts = append(attempts, a) }})
				ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(string, []string) {
					if !late {
						late = true
						time.Sleep(150 * time.Millisecond) // into the buffer, not onto the wire
					}
				}})
				_, err := w.do(ctx, "POST", "/", "pay")
				require.NoError(t, err)
				require.Equal(t, Unsent, attempts[0].Evidence)
				require.Equal(t, 2, w.executions())
			})
		})
	}
}

func TestAlertRecordsAreToldFromRequests(t *testing.T) {
	record := func(kind byte, length int) []byte {
		return append([]byte{kind, 3, 3, byte(length >> 8), byte(length)}, make([]byte, length)...)
	}
	require.True(t, isAlert(record(21, 2)), "a plain alert")
	require.True(t, isAlert(record(21, 26)), "an encrypted one of TLS 1.2")
	require.True(t, isAlert(record(23, 19)), "one of TLS 1.3")
	require.False(t, isAlert(record(23, 18+1+16)), "the shortest request in TLS 1.3")
	require.False(t, isAlert(record(23, 22)), "a key update")
	require.False(t, isAlert(append(record(21, 2), record(23, 100)...)), "more than an alert")
	require.False(t, isAlert(record(21, 2)[:6]), "a part of a record")
	require.False(t, isAlert(nil))
}

func TestTrackingKeepsWhatAConnectionCanDo(t *testing.T) {
	client, _ := tcpPair(t)
	wrapped, _ := track(client)
	require.Implements(t, (*io.ReaderFrom)(nil), wrapped, "sendfile")
	require.Implements(t, (*halfCloser)(nil), wrapped)
	pipe, _ := net.Pipe()
	wrapped, _ = track(pipe)
	_, half := wrapped.(halfCloser)
	require.False(t, half, "a pipe has no half")
}

func TestAMachineThatWasSuspendedTrustsNoOldConnection(t *testing.T) {
	inWorld(t, worldConfig{client: Config{Policies: Policies{Default: Policy{ServerKeepAlive: 5 * time.Second}}}}, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		p := &w.tr.registry.all()[0].pool
		p.mu.Lock()
		// The monotonic clock stood still for an hour; only the wall clock
		// has gone on.
		p.newest.idleSince = time.Unix(0, time.Now().Add(-time.Hour).UnixNano())
		p.mu.Unlock()
		w.mustDo("POST", "/", strings.Repeat("x", 10))
		synctest.Wait()
		require.EqualValues(t, 2, w.dials.Load())
		require.Equal(t, 1, w.closed(ClosedIdleDeadline))
	})
}

func TestARequestWaitsUntilTheReadLoopHasSeenAllOfTheLastResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		wrapped, tr := track(ours)
		tr.reused.Store(true) // before, nothing can be left
		quiet := make(chan struct{})
		go func() { tr.awaitQuiet(); close(quiet) }()
		synctest.Wait()
		select {
		case <-quiet:
			t.Fatal("the read loop is not back in Read; what it has read may be more than the response")
		default:
		}
		go wrapped.Read(make([]byte, 1))
		<-quiet
		wrapped.Close()
		theirs.Close()

		_, tr = track(ours)
		tr.reused.Store(true)
		go tr.Close()
		tr.awaitQuiet() // or until the connection is closed
	})
}

// net/http makes a connection available before it looks whether it has read
// more than the response. PutIdleConn is called in between: it holds that
// moment long enough for another request to come.
func TestARequestIsNotAnnouncedWhileSurplusOfTheLastResponseIsUnseen(t *testing.T) {
	const forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
	cfg := faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.SurplusBytes, Value: forged, Times: 1}}}
	inWorld(t, worldConfig{server: cfg}, func(t *testing.T, w *world) {
		held := make(chan struct{})
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{PutIdleConn: func(error) {
			close(held)
			time.Sleep(time.Second)
		}})
		done := make(chan error)
		go func() {
			_, err := w.do(ctx, "GET", "/first", "")
			done <- err
		}()
		<-held
		s, err := w.do(context.Background(), "POST", "/second", "x")
		require.NoError(t, err)
		require.Contains(t, s, "/second")
		require.NoError(t, <-done)
		require.Equal(t, 1, w.closed(ClosedUnexpectedData), "%v", w.only().Closed)
		require.EqualValues(t, 2, w.dials.Load())
	})
}

// Whoever is second, the reader that found data or the caller that arms the
// connection, must see what the first did.
func TestDataAndAnnouncementCannotMissEachOther(t *testing.T) {
	for name, plain := range map[string]bool{"plain": true, "TLS, reused": false} {
		t.Run(name, func(t *testing.T) {
			fresh := func() (*tracked, net.Conn) {
				ours, theirs := tcpPair(t)
				_, tr := track(ours)
				tr.plain = plain
				tr.rest()
				return tr, theirs
			}
			tr, theirs := fresh()
			io.WriteString(theirs, "x")
			n, err := tr.Read(make([]byte, 1))
			require.Equal(t, 1, n, "net/http may see it, and close the connection")
			require.NoError(t, err)
			require.False(t, tr.arm(time.Now(), time.Time{}, false), "data came first")

			tr, theirs = fresh()
			require.True(t, tr.arm(time.Now(), time.Time{}, false))
			io.WriteString(theirs, "x")
			n, err = tr.Read(make([]byte, 1))
			require.Zero(t, n, "the announcement came first")
			require.ErrorIs(t, err, errUnsolicited)
			require.True(t, tr.unsent())
		})
	}
}

// A server without room for another client answers before it has read.
func TestAnAnswerOnANewConnectionWaitsForItsRequest(t *testing.T) {
	ours, theirs := tcpPair(t)
	_, tr := track(ours)
	tr.setUp(true)
	io.WriteString(theirs, "HTTP/1.1 503 No Room\r\n\r\n")
	read := make(chan error, 1)
	go func() {
		_, err := tr.Read(make([]byte, 100))
		read <- err
	}()
	for tr.holding.Load() == nil {
		runtime.Gosched()
	}
	require.True(t, tr.arm(time.Now(), time.Time{}, false))
	_, err := tr.Write([]byte("POST"))
	require.NoError(t, err)
	require.NoError(t, <-read)
	require.False(t, tr.unsent())

	ours, theirs = tcpPair(t)
	_, tr = track(ours)
	tr.setUp(true)
	require.True(t, tr.arm(time.Now(), time.Time{}, false))
	io.WriteString(theirs, "HTTP/1.1 503 No Room\r\n\r\n")
	go func() {
		for tr.holding.Load() == nil {
			runtime.Gosched()
		}
		tr.Close()
	}()
	_, err = tr.Read(make([]byte, 100))
	require.Error(t, err, "never written, never answered")
}

func TestWhatWasHeldForARequestThatIsNotSentEndsTheConnection(t *testing.T) {
	ours, theirs := tcpPair(t)
	_, tr := track(ours)
	tr.plain = true
	tr.stage.Store(int32(stageQuiet))
	require.True(t, tr.arm(time.Now(), time.Time{}, false))
	io.WriteString(theirs, "early")
	read := make(chan error, 1)
	go func() {
		_, err := tr.Read(make([]byte, 100))
		read <- err
	}()
	for tr.holding.Load() == nil {
		runtime.Gosched()
	}
	tr.rest() // the request turned out to be invalid
	require.ErrorIs(t, <-read, errUnsolicited)
}

// A server without room for another client does not wait for its request.
func TestAServerThatAnswersBeforeItReadsIsHeard(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			certified := httptest.NewTLSServer(nil)
			defer certified.Close()
			if scheme == "https" {
				ln = tls.NewListener(ln, &tls.Config{Certificates: certified.TLS.Certificates})
			}
			var served sync.WaitGroup
			served.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					served.Go(func() {
						defer c.Close()
						io.WriteString(c, "HTTP/1.1 503 No Room\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull")
						http.ReadRequest(bufio.NewReader(c))
					})
				}
			})
			defer served.Wait()
			defer ln.Close()

			base := &http.Transport{TLSClientConfig: certified.Client().Transport.(*http.Transport).TLSClientConfig}
			tr, err := New(Config{Base: base})
			require.NoError(t, err)
			defer tr.Close()
			for range 200 {
				req, err := http.NewRequest("POST", scheme+"://"+ln.Addr().String(), nil)
				require.NoError(t, err)
				resp, err := tr.RoundTrip(req)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "full", string(body))
				resp.Body.Close()
			}
			require.Empty(t, tr.Stats().Upstreams[0].Resent)
		})
	}
}

// Behind SOCKS5 and https proxies net/http reads, and perhaps refuses what it
// reads with an alert, before the dial learns that it is set up.
func TestAnAlertMayBeWrittenWhileAConnectionIsSetUp(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	defer here.Close()
	go io.Copy(io.Discard, there)
	wrapped, tr := track(here)
	var done sync.WaitGroup
	done.Go(func() { tr.setUp(false) })
	_, err := wrapped.Write([]byte{21, 3, 3, 0, 2, 2, 10})
	require.NoError(t, err)
	done.Wait()
}
