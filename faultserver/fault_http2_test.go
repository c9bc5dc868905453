package faultserver_test

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

func with2(t *testing.T, faults ...faultserver.Fault) *faultserver.Server {
	t.Helper()
	return faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Faults: faults})
}

// twoSteps takes part in a graceful GOAWAY up to its second step.
func (c *frameConn) twoSteps(last uint32) {
	c.t.Helper()
	c.wantGoAway(1<<31-1, h2.ErrCodeNo)
	ping := frame[*h2.PingFrame](c)
	require.NoError(c.t, c.fr.WritePing(true, ping.Data))
	c.wantGoAway(last, h2.ErrCodeNo)
}

func TestFramesOverTLSAreServed(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{TLS: true})
	c := dialFrames(t, s)
	status, body := c.get("/a")
	require.Equal(t, 200, status)
	require.Equal(t, "GET /a 0\n", body)
}

func TestGoAwayTakesTwoStepsAndServesTheStreamsBetween(t *testing.T) {
	release := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c),
		Faults:    []faultserver.Fault{{Kind: faultserver.GoAway, Path: "/last"}},
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }),
	})
	c := dialFrames(t, s)
	c.open("GET", "/last", true)
	c.wantGoAway(1<<31-1, h2.ErrCodeNo)
	ping := frame[*h2.PingFrame](c)
	between := c.open("GET", "/between", true) // was on its way
	require.NoError(t, c.fr.WritePing(true, ping.Data))
	c.wantGoAway(between, h2.ErrCodeNo)
	c.open("GET", "/after", true) // is ignored
	require.NoError(t, c.fr.WritePing(false, [8]byte{1}))
	require.True(t, frame[*h2.PingFrame](c).IsAck()) // and has been, by now
	close(release)
	got := map[uint32]bool{}
	for range 2 {
		head := frame[*h2.MetaHeadersFrame](c)
		require.Equal(t, "200", head.PseudoValue("status"))
		got[head.StreamID] = true
	}
	require.Equal(t, map[uint32]bool{1: true, between: true}, got)
	c.wantEnd()
	require.Len(t, s.Journal().Requests(), 2)
	require.Equal(t, faultserver.GoAway, onlyConn(t, s).Fault)
}

func TestGoAwayWithAFixedGapSendsNoPing(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.GoAway, After: time.Millisecond, Times: 1},
		faultserver.Fault{Kind: faultserver.Delay, After: 50 * time.Millisecond})
	c := dialFrames(t, s)
	id := c.open("GET", "/", true)
	c.wantGoAway(1<<31-1, h2.ErrCodeNo)
	c.wantGoAway(id, h2.ErrCodeNo)
	status, _ := c.answer(id)
	require.Equal(t, 200, status)
	c.wantEnd()
}

func TestIdleGoAwayEndsAnIdleConnectionInTwoSteps(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.IdleGoAway, After: time.Millisecond, NthOnConn: 1})
	c := dialFrames(t, s)
	c.get("/")
	c.twoSteps(1)
	c.wantEnd()
	require.Equal(t, faultserver.IdleGoAway, onlyConn(t, s).Fault)
}

func TestGoAwayBelowDisownsTheStreamAndServesOlderOnes(t *testing.T) {
	release := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c),
		Faults:    []faultserver.Fault{{Kind: faultserver.GoAwayBelow, Path: "/disowned"}},
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }),
	})
	c := dialFrames(t, s)
	older := c.open("GET", "/older", true)
	c.open("POST", "/disowned", false)
	c.wantGoAway(older, h2.ErrCodeNo)
	close(release)
	status, _ := c.answer(older)
	require.Equal(t, 200, status)
	c.wantEnd()
	rows := s.Journal().Requests()
	require.Len(t, rows, 2)
	require.Zero(t, rows[1].Executed)
}

func TestGoAwayBelowTheFirstStreamNamesStreamZero(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.GoAwayBelow, Code: uint32(h2.ErrCodeEnhanceYourCalm)})
	c := dialFrames(t, s)
	c.open("GET", "/", true)
	c.wantGoAway(0, h2.ErrCodeEnhanceYourCalm)
	c.wantEnd()
}

func TestGoAwayErrorNamesItsCodeAndCloses(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.GoAwayError, Code: uint32(h2.ErrCodeEnhanceYourCalm), Executed: true})
	c := dialFrames(t, s)
	id := c.open("GET", "/", true)
	c.wantGoAway(id, h2.ErrCodeEnhanceYourCalm)
	c.wantEnd()
	require.Equal(t, 1, onlyRequest(t, s).Executed)
}

func TestCloseWithoutGoAwayIsOnlyAFIN(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.CloseWithoutGoAway})
	c := dialFrames(t, s)
	c.open("GET", "/", true)
	c.wantEnd()
	require.Zero(t, onlyRequest(t, s).Executed)
	require.Equal(t, faultserver.ServerFIN, onlyConn(t, s).ClosedBy)
}

func TestIdleCloseOnHTTP2IsOnlyAFIN(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.IdleClose, After: time.Millisecond, NthOnConn: 1})
	c := dialFrames(t, s)
	c.get("/")
	c.wantEnd()
}

func TestSilentCloseOnHTTP2AnswersCompletely(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.SilentClose})
	c := dialFrames(t, s)
	status, _ := c.get("/")
	require.Equal(t, 200, status)
	c.wantEnd()
}

func TestARefusedStreamIsNotExecutedAndTheConnectionLives(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.ResetStream, Code: uint32(h2.ErrCodeRefusedStream), Times: 1})
	c := dialFrames(t, s)
	id := c.open("POST", "/", false)
	c.wantReset(id, h2.ErrCodeRefusedStream)
	require.Zero(t, onlyRequest(t, s).Executed)
	status, _ := c.get("/")
	require.Equal(t, 200, status)
}

func TestResetStreamCanLoseTheAnswerOfAnExecutedRequest(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.ResetStream, Code: uint32(h2.ErrCodeInternal), Executed: true})
	c := dialFrames(t, s)
	c.wantReset(c.open("GET", "/", true), h2.ErrCodeInternal)
	require.Equal(t, 1, onlyRequest(t, s).Executed)
	require.False(t, onlyRequest(t, s).Answered)
}

func TestResetStreamAfterHeadersSendsTheHeadFirst(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.ResetStreamAfterHeaders, Code: uint32(h2.ErrCodeCancel), Bytes: 3})
	c := dialFrames(t, s)
	id := c.open("GET", "/", true)
	head := frame[*h2.MetaHeadersFrame](c)
	require.Equal(t, "200", head.PseudoValue("status"))
	require.Equal(t, "GET", string(frame[*h2.DataFrame](c).Data()))
	c.wantReset(id, h2.ErrCodeCancel)
	require.False(t, onlyRequest(t, s).Answered)
}

func TestCloseInBodyOnHTTP2ClosesAfterThatMuch(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.CloseInBody, Bytes: 3})
	c := dialFrames(t, s)
	c.open("GET", "/", true)
	frame[*h2.MetaHeadersFrame](c)
	d := frame[*h2.DataFrame](c)
	require.Equal(t, "GET", string(d.Data()))
	require.False(t, d.StreamEnded())
	c.wantEnd()
}

func TestFinAfterRequestOnHTTP2WaitsForTheBody(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.FinAfterRequest})
	c := dialFrames(t, s)
	id := c.open("POST", "/", false)
	require.NoError(t, c.fr.WriteData(id, true, []byte("body")))
	c.wantEnd()
	require.EqualValues(t, 4, onlyRequest(t, s).BodyBytes)
}

func TestAPingIsAcknowledgedOrWithheld(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.PingLate, Times: 1})
	c := dialFrames(t, s)
	require.NoError(t, c.fr.WritePing(false, [8]byte{1}))
	require.NoError(t, c.fr.WritePing(false, [8]byte{2}))
	f := frame[*h2.PingFrame](c)
	require.True(t, f.IsAck())
	require.Equal(t, [8]byte{2}, f.Data, "the first stays unanswered")
}

func TestMoreStreamsThanAllowedAreRefused(t *testing.T) {
	release := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c), MaxConcurrentStreams: 1,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }),
	})
	c := dialFrames(t, s)
	first := c.open("GET", "/", true)
	second := c.open("GET", "/", true)
	c.wantReset(second, h2.ErrCodeRefusedStream)
	close(release)
	status, _ := c.answer(first)
	require.Equal(t, 200, status)
	status, _ = c.get("/") // the place is free the moment the answer is here
	require.Equal(t, 200, status)
}

func TestTheClientsWindowIsRespected(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 100_000))
		}),
	})
	c := dialFrames(t, s)
	id := c.open("GET", "/", true)
	frame[*h2.MetaHeadersFrame](c)
	got := 0
	for got < 65535 {
		got += len(frame[*h2.DataFrame](c).Data())
	}
	require.Equal(t, 65535, got)
	// Nothing more comes, or the PING's answer would not be next.
	require.NoError(t, c.fr.WritePing(false, [8]byte{1}))
	require.True(t, frame[*h2.PingFrame](c).IsAck())
	require.NoError(t, c.fr.WriteWindowUpdate(0, 100_000))
	require.NoError(t, c.fr.WriteWindowUpdate(id, 100_000))
	for ended := false; !ended; {
		d := frame[*h2.DataFrame](c)
		got += len(d.Data())
		ended = d.StreamEnded()
	}
	require.Equal(t, 100_000, got)
}

func TestAnIdleHTTP2ConnectionIsToldGoAway(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), IdleTimeout: 20 * time.Millisecond})
	c := dialFrames(t, s)
	c.get("/")
	c.wantGoAway(1, h2.ErrCodeNo)
	c.wantEnd()
	require.Equal(t, faultserver.IdleTimeout, onlyConn(t, s).Reason)
}

func TestAProtocolViolationEndsTheConnectionWithItsCode(t *testing.T) {
	s := with2(t)
	c := dialFrames(t, s)
	require.NoError(t, c.fr.WriteData(7, true, nil)) // an idle stream
	c.wantGoAway(0, h2.ErrCodeProtocol)
	c.wantEnd()
}

func TestNetHTTPSurvivesARefusedStreamAndAGoAway(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{TLS: true, Faults: []faultserver.Fault{
		{Kind: faultserver.ResetStream, Code: uint32(h2.ErrCodeRefusedStream), Nth: 2},
		{Kind: faultserver.GoAwayBelow, Nth: 4},
	}})
	for range 5 {
		resp, err := s.Client().Get(s.URL)
		require.NoError(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	conns := s.Journal().Conns() // net/http may dial one more than it needs
	conns = slices.DeleteFunc(conns, func(c faultserver.ConnRecord) bool { return c.Requests == 0 })
	require.Len(t, conns, 2)
}

func TestNeverAnswerOnHTTP2EndsWithTheClientsReset(t *testing.T) {
	s := with2(t, faultserver.Fault{Kind: faultserver.NeverAnswer, Times: 1})
	c := dialFrames(t, s)
	id := c.open("GET", "/", true)
	require.NoError(t, c.fr.WriteRSTStream(id, h2.ErrCodeCancel))
	status, _ := c.get("/")
	require.Equal(t, 200, status)
	require.False(t, s.Journal().Requests()[0].Answered)
}

func TestALatePingAcknowledgementComesLate(t *testing.T) {
	const after = 20 * time.Millisecond
	s := with2(t, faultserver.Fault{Kind: faultserver.PingLate, After: after})
	c := dialFrames(t, s)
	since := time.Now()
	require.NoError(t, c.fr.WritePing(false, [8]byte{1}))
	require.True(t, frame[*h2.PingFrame](c).IsAck())
	require.GreaterOrEqual(t, time.Since(since), after)
}

func TestAPanicOnHTTP2ResetsOnlyItsStream(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("boom")
			}
			w.WriteHeader(http.StatusEarlyHints)
		})})
	c := dialFrames(t, s)
	c.wantReset(c.open("GET", "/panic", true), h2.ErrCodeInternal)
	id := c.open("GET", "/", true)
	require.Equal(t, "103", frame[*h2.MetaHeadersFrame](c).PseudoValue("status"))
	status, _ := c.answer(id)
	require.Equal(t, 200, status)
}

func TestAnUnfinishedRequestIsToldToStopAfterItsAnswer(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "enough") })})
	c := dialFrames(t, s)
	id := c.open("POST", "/", false)
	status, body := c.answer(id)
	require.Equal(t, 200, status)
	require.Equal(t, "enough", body)
	c.wantReset(id, h2.ErrCodeNo)
	require.NoError(t, c.fr.WriteData(id, true, []byte("too late")))
	status, _ = c.get("/")
	require.Equal(t, 200, status)
}

func TestAHandlerMayReturnWhileItsBodyIsStillBeingRead(t *testing.T) {
	read := make(chan error, 1)
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			go func() {
				_, err := io.ReadAll(r.Body)
				read <- err
			}()
		})})
	c := dialFrames(t, s)
	id := c.open("POST", "/", false)
	status, _ := c.answer(id)
	require.Equal(t, 200, status)
	c.wantReset(id, h2.ErrCodeNo)
	require.ErrorIs(t, <-read, http.ErrBodyReadAfterClose)
}
