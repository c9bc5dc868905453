package faultserver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestInVirtualTimeTheIdleTimeoutIsExact(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		synctest.Test(t, func(t *testing.T) {
			const latency = 10 * time.Millisecond
			network := memnet.New(memnet.Options{Latency: latency})
			ln, err := network.Listen("server:80")
			require.NoError(t, err)
			cfg := cfg
			cfg.Listener, cfg.DialContext, cfg.Personality = ln, network.DialContext, "uvicorn"
			s := faultserver.Start(t, cfg)
			for range 3 {
				resp, err := s.Client().Get(s.URL)
				require.NoError(t, err)
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				time.Sleep(4 * time.Second)
			}
			time.Sleep(10 * time.Second)
			row := onlyConn(t, s)
			require.Equal(t, faultserver.IdleTimeout, row.Reason)
			require.Equal(t, 5*time.Second, row.IdleAge)
			require.Equal(t, 3, row.Requests)
			require.NoError(t, s.Close())
			time.Sleep(10 * time.Second)
		})
	})
}

func TestInVirtualTimeKillAndDrainWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{Latency: time.Millisecond})
		ln, err := network.Listen("server:80")
		require.NoError(t, err)
		s := faultserver.Start(t, faultserver.Config{Listener: ln, DialContext: network.DialContext,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute) })})
		get := func() error {
			resp, err := s.Client().Get(s.URL)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		failed := make(chan error)
		go func() { failed <- get() }()
		time.Sleep(time.Second)
		s.Kill()
		require.Error(t, <-failed)

		go func() { failed <- get() }()
		time.Sleep(time.Second)
		since := time.Now()
		require.NoError(t, s.Drain(t.Context()))
		require.Equal(t, time.Minute, time.Since(since).Round(time.Second)+time.Second)
		require.NoError(t, <-failed)
		require.NoError(t, s.Close())
		time.Sleep(time.Second)
	})
}

// virtual starts a server in a network in memory; the test runs in a bubble.
func virtual(t *testing.T, cfg faultserver.Config) (s *faultserver.Server, dial func() net.Conn) {
	t.Helper()
	network := memnet.New(memnet.Options{Latency: virtualLatency})
	ln, err := network.Listen("server:80")
	require.NoError(t, err)
	cfg.Listener, cfg.DialContext = ln, network.DialContext
	return faultserver.Start(t, cfg), func() net.Conn {
		nc, err := network.DialContext(t.Context(), "tcp", "server:80")
		require.NoError(t, err)
		return nc
	}
}

const virtualLatency = 10 * time.Millisecond

// endVirtual lets what was sent last arrive before the bubble ends.
func endVirtual(s *faultserver.Server, conns ...net.Conn) {
	for _, c := range conns {
		c.Close()
	}
	s.Close()
	time.Sleep(5 * time.Second)
}

func exchangeRaw(t *testing.T, nc net.Conn) {
	t.Helper()
	_, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
}

func TestInjectingAnIdleFaultReachesAConnectionAlreadyIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		c := dial()
		exchangeRaw(t, c)
		idleFrom := time.Now().Add(-virtualLatency)
		time.Sleep(time.Minute)
		s.Inject(faultserver.Fault{Kind: faultserver.IdleClose, After: 2 * time.Minute})
		_, err := c.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.Equal(t, 2*time.Minute+virtualLatency, time.Since(idleFrom), "the time before counts")
		endVirtual(s, c)
	})
}

func TestACrossingRequestDrawsARSTUnlessTheServerLingers(t *testing.T) {
	for server, reset := range map[string]bool{"uvicorn": true, "apache": false} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{Personality: server})
			c := dial()
			exchangeRaw(t, c)
			time.Sleep(5*time.Second - virtualLatency) // the FIN is on its way
			_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
			require.NoError(t, err)
			time.Sleep(4 * virtualLatency)
			_, err = io.WriteString(c, "more")
			require.Equal(t, reset, err != nil, "%s: %v", server, err)
			require.Len(t, s.Journal().Requests(), 1)
			endVirtual(s, c)
		})
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := false
		s, dial := virtual(t, faultserver.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			time.Sleep(time.Second)
			done = true
		})})
		c := dial()
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.NoError(t, s.Close())
		require.True(t, done)
		endVirtual(s, c)
	})
}

func TestDrainGivesAFreshConnectionASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		c := dial()
		time.Sleep(time.Minute)
		since := time.Now()
		require.NoError(t, s.Drain(t.Context()))
		require.Equal(t, time.Second, time.Since(since))
		endVirtual(s, c)
	})
}

func TestAGracefulGoAwayDoesNotWaitForeverForItsPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Protocols: protocols(h2c)})
		c := dial()
		io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		time.Sleep(time.Minute)
		since := time.Now()
		require.NoError(t, s.Drain(t.Context()))
		require.Equal(t, time.Second, time.Since(since))
		endVirtual(s, c)
	})
}
