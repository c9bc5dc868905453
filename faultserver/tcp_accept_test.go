package faultserver_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// glance is how long a raw client waits for what must not come.
const glance = 100 * time.Millisecond

// wantSilence proves that nothing comes, neither data nor an end.
func (c *rawConn) wantSilence() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(glance)))
	_, err := c.br.ReadByte()
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded)
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(patience)))
}

// dialAt dials with that much patience.
func dialAt(t *testing.T, address string, limit time.Duration) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err == nil {
		t.Cleanup(func() { nc.Close() })
	}
	return nc, err
}

func wantRefused(t *testing.T, address string) {
	t.Helper()
	_, err := dialAt(t, address, patience)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func wantUnanswered(t *testing.T, address string) {
	t.Helper()
	_, err := dialAt(t, address, glance)
	var failed net.Error
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Timeout(), "%v", err)
}

// awaitEvent waits until the journal has it.
func awaitEvent(t *testing.T, s *faultserver.Server, what faultserver.ServerEventKind) {
	t.Helper()
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		for _, e := range s.Journal().ServerEvents() {
			if e.What == what {
				return true
			}
		}
		return false
	}))
}

func TestAcceptResetResetsOnlyTheConnectionThatItCounts(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.AcceptReset, Nth: 2}}})
	dialRaw(t, s).wantAlive()
	nc, err := dialAt(t, s.Addr().String(), patience)
	if err == nil { // else the RST was faster than connect(2)
		_, err = nc.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
	dialRaw(t, s).wantAlive()
	struck := s.Journal().Conns()[1]
	require.Equal(t, faultserver.ServerRST, struck.ClosedBy)
	require.Equal(t, faultserver.AcceptReset, struck.Fault)
	require.Equal(t, []faultserver.Kind{faultserver.AcceptReset}, struck.Faults)
}

func TestALateAcceptKeepsTheOthersWaitingThoughTheyAreConnected(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	s.Inject(faultserver.Fault{Kind: faultserver.AcceptLate, After: time.Hour, Times: 1})
	first, second := dialRaw(t, s), dialRaw(t, s)
	second.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	second.wantSilence()
	first.wantSilence()
	require.Len(t, s.Journal().Conns(), 1)
}

// inMemory starts a server in virtual time and dials it.
func inMemory(t *testing.T, cfg faultserver.Config) (*faultserver.Server, func() net.Conn) {
	network := memnet.New(memnet.Options{})
	cfg.Listen, cfg.Addresses = network.Listen, []string{"10.0.0.1"}
	s := faultserver.Start(t, cfg)
	return s, func() net.Conn {
		nc, err := network.DialContext(t.Context(), "tcp", s.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { nc.Close() })
		return nc
	}
}

// collected answers with the request's body, when it has it all.
var collected = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Write(b)
})

// roundTrip sends a request over a plain connection and times its answer.
func roundTrip(t *testing.T, nc net.Conn, method, body string) (took time.Duration, answer string) {
	t.Helper()
	began := time.Now()
	r, err := http.NewRequest(method, "http://test/", strings.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, r.Write(nc))
	resp, err := http.ReadResponse(newReader(nc), r)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return time.Since(began), string(b)
}

func TestLatencyDelaysEitherDirectionOnceHoweverMuchIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{Handler: collected})
		s.Inject(faultserver.Fault{Kind: faultserver.Latency, After: 50 * time.Millisecond})
		nc := dial()
		big := strings.Repeat("x", 300_000)
		took, answer := roundTrip(t, nc, "POST", big)
		require.Equal(t, 100*time.Millisecond, took)
		require.True(t, answer == big)
	})
}

func TestLatencyComesToAndGoesFromOpenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{})
		nc := dial()
		took, _ := roundTrip(t, nc, "GET", "")
		require.Zero(t, took)
		remove := s.Inject(faultserver.Fault{Kind: faultserver.Latency, After: time.Second})
		for range 2 {
			took, _ = roundTrip(t, nc, "GET", "")
			require.Equal(t, 2*time.Second, took)
		}
		remove()
		took, _ = roundTrip(t, nc, "GET", "")
		require.Zero(t, took)
		require.Equal(t, []faultserver.Kind{faultserver.Latency}, onlyConn(t, s).Faults)
	})
}

func TestTheFINIsAsLateAsTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := inMemory(t, faultserver.Config{Faults: []faultserver.Fault{
			{Kind: faultserver.Latency, After: 50 * time.Millisecond}, {Kind: faultserver.SilentClose},
		}})
		nc := dial()
		began := time.Now()
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		all, err := io.ReadAll(nc)
		require.NoError(t, err)
		require.Contains(t, string(all), "200 OK")
		require.Equal(t, 100*time.Millisecond, time.Since(began))
	})
}

func TestLingeringDoesNotCutOffWhatIsStillUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle, latency = 100 * time.Millisecond, 5 * time.Second // longer than the server lingers
		_, dial := inMemory(t, faultserver.Config{
			Personality: "apache", // lingers when it closes
			IdleTimeout: idle,
			Faults:      []faultserver.Fault{{Kind: faultserver.Latency, After: latency}},
		})
		nc := dial()
		began := time.Now()
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		all, err := io.ReadAll(nc)
		require.NoError(t, err)
		require.Contains(t, string(all), "200 OK")
		require.Equal(t, 2*latency+idle, time.Since(began))
	})
}

func TestARequestThatCrossesALateFINIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{IdleTimeout: time.Second, Faults: []faultserver.Fault{
			{Kind: faultserver.Latency, After: 50 * time.Millisecond},
		}})
		nc := dial()
		roundTrip(t, nc, "GET", "")
		// The answer took 50 ms: the server closes 950 ms from here.
		time.Sleep(975 * time.Millisecond)
		require.Equal(t, faultserver.IdleTimeout, onlyConn(t, s).Reason)
		io.WriteString(nc, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the FIN that was under way")
		time.Sleep(time.Second)
		_, err = nc.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE, "the RST behind it")
		require.Len(t, s.Journal().Requests(), 1)
	})
}

func TestBandwidthLimitsEitherDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := inMemory(t, faultserver.Config{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				if n == 0 {
					w.Write(bytes.Repeat([]byte("y"), 100_000))
				}
			}),
			Faults: []faultserver.Fault{{Kind: faultserver.Bandwidth, Rate: 10_000}, {Kind: faultserver.Bandwidth, Rate: 1 << 40}},
		})
		down, _ := roundTrip(t, dial(), "GET", "")
		require.InDelta(t, 10, down.Seconds(), 0.1)
		up, _ := roundTrip(t, dial(), "POST", strings.Repeat("x", 100_000))
		require.InDelta(t, 10, up.Seconds(), 0.1)
	})
}

func TestSlowCloseSendsTheFINLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{Faults: []faultserver.Fault{
			{Kind: faultserver.SlowClose, After: 3 * time.Second}, {Kind: faultserver.SilentClose},
		}})
		nc := dial()
		began := time.Now()
		roundTrip(t, nc, "GET", "")
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Equal(t, began, onlyConn(t, s).Closed, "when it was decided")
	})
}

func TestAShapedConnectionCarriesEveryByteOnRealSockets(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		cfg.Faults = []faultserver.Fault{
			{Kind: faultserver.Latency, After: time.Millisecond, Jitter: 5 * time.Millisecond},
			{Kind: faultserver.Bandwidth, Rate: 200 << 20}, {Kind: faultserver.SlowClose, After: time.Millisecond},
		}
		cfg.Handler = collected
		s := faultserver.Start(t, cfg)
		big := strings.Repeat("0123456789abcdef", 5<<14) // more than a line holds
		for range 2 {
			resp, body := do(t, s, "POST", "/", strings.NewReader(big))
			require.Equal(t, 200, resp.StatusCode)
			require.True(t, body == big)
		}
	})
}

func TestClosingAServerDoesNotWaitForLateEnds(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{
		{Kind: faultserver.SlowClose, After: time.Hour}, {Kind: faultserver.AnnounceClose},
	}})
	c := dialRaw(t, s)
	c.get("/")
	c.wantSilence()
	require.NoError(t, s.Close())
	c.rest()
}

func TestACrashDoesNotWaitForASlowClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := inMemory(t, faultserver.Config{Faults: []faultserver.Fault{
			{Kind: faultserver.SlowClose, After: time.Hour}, {Kind: faultserver.SilentClose},
		}})
		nc := dial()
		began := time.Now()
		roundTrip(t, nc, "GET", "")
		synctest.Wait()
		require.Equal(t, faultserver.FaultStruck, onlyConn(t, s).Reason)
		require.NoError(t, s.Crash())
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, time.Since(began))
	})
}
