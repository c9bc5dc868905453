package faultserver_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

// gated is a handler that reports each request and waits to be released.
func gated() (h http.Handler, arrived <-chan string, release chan struct{}) {
	a, release := make(chan string, 100), make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a <- r.URL.Path
		if r.URL.Path == "/wait" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		io.WriteString(w, "done")
	}), a, release
}

func TestDrainClosesIdleConnectionsAndLetsBusyOnesAnswer(t *testing.T) {
	handler, arrived, release := gated()
	s := faultserver.Start(t, faultserver.Config{Handler: handler})
	idle, busy := dialRaw(t, s), dialRaw(t, s)
	idle.get("/")
	<-arrived
	busy.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived

	drained := make(chan error)
	go func() { drained <- s.Drain(t.Context()) }()
	idle.wantFIN()
	select {
	case err := <-drained:
		t.Fatalf("Drain returned %v with a request running", err)
	default:
	}
	close(release)
	resp, body := busy.response("GET")
	require.True(t, resp.Close)
	require.Equal(t, "done", body)
	busy.wantFIN()
	require.NoError(t, <-drained)
	for _, c := range s.Journal().Conns() {
		require.Equal(t, faultserver.Draining, c.Reason)
	}
	dialRaw(t, s).get("/") // the listener is open
}

func TestDrainReportsWhatIsLeftWhenTheContextEnds(t *testing.T) {
	handler, arrived, release := gated()
	defer close(release)
	s := faultserver.Start(t, faultserver.Config{Handler: handler})
	dialRaw(t, s).send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Drain(ctx), context.Canceled)
}

func TestDrainServesTheFirstRequestOfAFreshConnection(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return len(s.Journal().Conns()) == 1 }))
	drained := make(chan error)
	go func() { drained <- s.Drain(t.Context()) }()
	resp, _ := c.get("/")
	require.Equal(t, 200, resp.StatusCode)
	c.wantFIN()
	require.NoError(t, <-drained)
}

func TestDrainSendsHTTP2AGoAwayInTwoSteps(t *testing.T) {
	s := with2(t)
	c := dialFrames(t, s)
	c.get("/")
	drained := make(chan error)
	go func() { drained <- s.Drain(t.Context()) }()
	c.twoSteps(1)
	c.wantEnd()
	require.NoError(t, <-drained)
}

func TestRestartServesNewConnectionsWhileOldOnesDrain(t *testing.T) {
	handler, arrived, release := gated()
	s := faultserver.Start(t, faultserver.Config{Handler: handler})
	old := dialRaw(t, s)
	old.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived
	s.Restart()
	young := dialRaw(t, s)
	resp, _ := young.get("/")
	require.False(t, resp.Close)
	close(release)
	resp, _ = old.response("GET")
	require.True(t, resp.Close)
	old.wantFIN()
	young.get("/")
	conns := s.Journal().Conns()
	require.Equal(t, 1, conns[0].Generation)
	require.Equal(t, 2, conns[1].Generation)
	require.Equal(t, faultserver.StillOpen, conns[1].ClosedBy)
}

func TestNetHTTPSeesNoErrorThroughRestarts(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		s := faultserver.Start(t, cfg)
		for n := range 50 {
			if n%5 == 4 {
				s.Restart()
			}
			resp, _ := do(t, s, "GET", "/", nil)
			require.Equal(t, 200, resp.StatusCode)
		}
	})
}

func TestKillResetsEveryConnectionAndKeepsListening(t *testing.T) {
	handler, arrived, release := gated()
	defer close(release)
	s := faultserver.Start(t, faultserver.Config{Handler: handler})
	idle, busy := dialRaw(t, s), dialRaw(t, s)
	idle.get("/")
	<-arrived
	busy.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived
	s.Kill()
	idle.wantRST()
	busy.wantRST()
	for _, c := range s.Journal().Conns() {
		require.Equal(t, faultserver.Killed, c.ClosedBy)
	}
	dialRaw(t, s).get("/")
}

func TestKillResetsConnectionsUnderTLSToo(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{TLS: true})
	c := dialFrames(t, s)
	c.get("/")
	s.Kill()
	for {
		if _, err := c.fr.ReadFrame(); err != nil {
			require.NotErrorIs(t, err, io.EOF, "no close_notify")
			return
		}
	}
}

func TestCloseEndsRunningHandlersAndMayBeRepeated(t *testing.T) {
	handler, arrived, release := gated()
	defer close(release)
	s, err := faultserver.New(faultserver.Config{Handler: handler})
	require.NoError(t, err)
	c := dialRaw(t, s)
	c.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
	<-arrived
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = http.Get(s.URL)
	require.Error(t, err)
	require.Equal(t, faultserver.ServerClosed, onlyConn(t, s).Reason)
}

func TestAClientThatClosesIsInTheJournal(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		s := faultserver.Start(t, cfg)
		do(t, s, "GET", "/", nil)
		s.Client().CloseIdleConnections()
		require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
			return onlyConn(t, s).ClosedBy == faultserver.ByClient
		}))
	})
}

func TestAGracefulGoAwayIsSentOnce(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.GoAway})
	c := dialFrames(t, s)
	id := c.open("GET", "/", true)
	c.wantGoAway(1<<31-1, h2.ErrCodeNo)
	s.Restart()
	frame[*h2.PingFrame](c)
	head := frame[*h2.MetaHeadersFrame](c)
	require.Equal(t, id, head.StreamID)
}
