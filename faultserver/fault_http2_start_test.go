package faultserver_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

// withBody is an HTTP/2 server in cleartext that answers "body" when it has read
// the request.
func withBody(t *testing.T, faults ...faultserver.Fault) *faultserver.Server {
	t.Helper()
	return faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Faults: faults, Handler: readAndAnswer})
}

var readAndAnswer = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	answerBody(w, r)
})

// inVirtual gives a test a server in memory and a client that sees frames.
func inVirtual(t *testing.T, test func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing), faults ...faultserver.Fault) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Protocols: protocols(h2c), Faults: faults, Handler: readAndAnswer})
		var all []*seeing
		test(t, s, func(settings ...h2.Setting) *seeing {
			c := seeingOver(t, dial(), settings...)
			all = append(all, c)
			return c
		})
		for _, c := range all {
			c.Close()
		}
		endVirtual(s)
	})
}

func TestLateSettingsHoldBackEverythingAndNothingRunsBefore(t *testing.T) {
	inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
		since := time.Now()
		c := dial()
		c.post("/", "early")
		time.Sleep(59 * time.Second)
		require.Zero(t, onlyRequest(t, s).Executed)
		require.Equal(t, []faultserver.Kind{faultserver.SettingsLate}, onlyConn(t, s).Faults)
		c.begin()
		require.Equal(t, time.Minute+4*virtualLatency, time.Since(since), "the handshake, the preface, SETTINGS back")
		c.want(head, data+" end")
		require.Equal(t, 1, onlyRequest(t, s).Executed)
	}, faultserver.Fault{Kind: faultserver.SettingsLate, After: time.Minute})
}

func TestSettingsThatNeverComeLeaveTheClientInSilence(t *testing.T) {
	inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
		c := dial()
		id := c.post("/", "")
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		require.NoError(t, c.fr.WriteRSTStream(id, h2.ErrCodeCancel))
		c.Close()
		time.Sleep(time.Second)
		require.Zero(t, onlyRequest(t, s).Executed)
		require.False(t, onlyRequest(t, s).Answered)
		require.Equal(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)

		c = dial().begin() // Times: 1
		c.post("/", "")
		c.want(head, data+" end")
	}, faultserver.Fault{Kind: faultserver.SettingsLate, Times: 1})
}

func TestAHeldConnectionStillEndsItsIdleTimeAndItsDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{
			Protocols: protocols(h2c), Faults: []faultserver.Fault{{Kind: faultserver.SettingsLate}}, IdleTimeout: time.Minute,
		})
		c := seeingOver(t, dial())
		c.want("FIN")
		require.Equal(t, faultserver.IdleTimeout, onlyConn(t, s).Reason)
		other := seeingOver(t, dial())
		time.Sleep(time.Second)
		require.NoError(t, s.Drain(t.Context()))
		other.want("FIN")
		endVirtual(s, c, other)
	})
}

func TestMissingSettingsLeaveTheRestAsItIs(t *testing.T) {
	s := withBody(t, faultserver.Fault{Kind: faultserver.SettingsMissing})
	c := dialSeeing(t, s)
	c.want("WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
	c.post("/", "")
	c.want(head, data+" end")
}

func TestTheAcknowledgementOfSettingsIsLateOrNeverComes(t *testing.T) {
	for _, after := range []time.Duration{0, time.Minute} {
		inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
			c := dial()
			since := time.Now()
			c.want("SETTINGS 0 [3=250 4=1048576]", "WINDOW_UPDATE 0 +4128769")
			c.post("/", "")
			c.want(head, data+" end")
			if after == 0 {
				time.Sleep(time.Hour)
				c.wantServing()
				return
			}
			c.want("SETTINGS 0 ack")
			require.Equal(t, after+virtualLatency, time.Since(since)-virtualLatency)
		}, faultserver.Fault{Kind: faultserver.SettingsAckLate, After: after})
	}
}

func TestTheFirstSettingsSayWhatTheFaultWants(t *testing.T) {
	s := withBody(t, faultserver.Fault{
		Kind: faultserver.StartSettings, Nth: 2, Value: "initial-window-size=0x80000000, enable-connect-protocol=1,no-rfc7540-priorities = 1, 0xabc=9",
	})
	dialSeeing(t, s).begin()
	c := dialSeeing(t, s)
	c.want("SETTINGS 0 [3=250 4=2147483648 8=1 9=1 2748=9]", "WINDOW_UPDATE 0 +4128769")
	conns := s.Journal().Conns()
	require.Empty(t, conns[0].Faults)
	require.Equal(t, []faultserver.Kind{faultserver.StartSettings}, conns[1].Faults)
}

func TestMaxStreamsIsAnnouncedAndHeldToOnceAcknowledged(t *testing.T) {
	for _, over := range []bool{false, true} {
		release := make(chan struct{})
		s := faultserver.Start(t, faultserver.Config{
			TLS: over, Protocols: protocols(map[bool]func(*http.Protocols, bool){true: http2, false: h2c}[over]),
			Faults:  []faultserver.Fault{{Kind: faultserver.StartMaxStreams, Count: 1}},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }),
		})
		c := dialSeeing(t, s)
		c.want("SETTINGS 0 [3=1 4=1048576]", "WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
		c.post("/", "")
		c.post("/before", "")
		require.NoError(t, c.fr.WriteSettingsAck())
		c.post("/after", "")
		c.want("RST_STREAM 5 REFUSED_STREAM")
		close(release)
		got := map[string]bool{c.see(): true, c.see(): true}
		require.Equal(t, map[string]bool{"HEADERS 1 :status=200 end": true, "HEADERS 3 :status=200 end": true}, got)
	}
}

func TestMaxStreamsCanBeZeroLoweredAndRaised(t *testing.T) {
	s := withBody(t,
		faultserver.Fault{Kind: faultserver.StartMaxStreams},
		faultserver.Fault{Kind: faultserver.ChangeMaxStreams, Path: "/lower"},
		faultserver.Fault{Kind: faultserver.ChangeMaxStreams, Path: "/raise", Count: 5})
	c := dialSeeing(t, s)
	c.want("SETTINGS 0 [3=0 4=1048576]", "WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
	c.post("/raise", "") // before it acknowledges, the client may
	c.want("SETTINGS 0 [3=5]", head, data+" end")
	require.NoError(t, c.fr.WriteSettingsAck())
	require.NoError(t, c.fr.WriteSettingsAck())
	c.post("/lower", "")
	c.want("SETTINGS 0 [3=0]", "HEADERS 3 :status=200", `DATA 3 "body" end`)
	require.NoError(t, c.fr.WriteSettingsAck())
	c.post("/", "")
	c.want("RST_STREAM 5 REFUSED_STREAM")
	require.Len(t, s.Journal().Requests(), 2)
}

func TestARaisedLimitOfStreamsHoldsBeforeItIsAcknowledged(t *testing.T) {
	release := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c),
		Faults: []faultserver.Fault{
			{Kind: faultserver.StartMaxStreams, Count: 1}, {Kind: faultserver.ChangeMaxStreams, Count: 2, Times: 1},
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/first" {
				<-release
			}
		}),
	})
	c := dialSeeing(t, s)
	c.want("SETTINGS 0 [3=1 4=1048576]", "WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
	require.NoError(t, c.fr.WriteSettingsAck())
	c.post("/first", "")
	c.want("SETTINGS 0 [3=2]")
	c.post("/second", "")
	c.want("HEADERS 3 :status=200 end")
	close(release)
	c.want("HEADERS 1 :status=200 end")
}

func TestAWithheldConnectionWindowStopsAllBodiesAtItsInitialSize(t *testing.T) {
	inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
		c := dial()
		c.want("SETTINGS 0 [3=250 4=1048576]", "SETTINGS 0 ack")
		require.NoError(t, c.fr.WriteSettingsAck())
		id := c.open("POST", "/", false)
		c.writeBody(id, 65535)
		c.wantServing() // and nothing is granted
		since := time.Now()
		c.want("WINDOW_UPDATE 0 +4194304") // the missing part and what was read
		require.InDelta(t, time.Hour, time.Since(since), float64(time.Second))
		require.NoError(t, c.fr.WriteData(id, true, make([]byte, 1000)))
		c.want(head, data+" end")
		require.EqualValues(t, 66535, onlyRequest(t, s).BodyBytes)
	}, faultserver.Fault{Kind: faultserver.ConnWindowWithheld, After: time.Hour})
}

func TestAClientThatOverrunsTheConnectionsWindowIsToldSo(t *testing.T) {
	s := withBody(t, faultserver.Fault{Kind: faultserver.ConnWindowWithheld})
	c := dialSeeing(t, s)
	c.want("SETTINGS 0 [3=250 4=1048576]", "SETTINGS 0 ack")
	c.writeBody(c.open("POST", "/", false), 65536)
	c.want("GOAWAY 0 1 FLOW_CONTROL_ERROR", "FIN")
	require.Equal(t, faultserver.ProtocolError, onlyConn(t, s).Reason)
}

func TestAFrameLongerThanTheServerAllowsEndsTheConnection(t *testing.T) {
	for _, test := range []struct {
		faults []faultserver.Fault
		most   int
	}{
		{nil, 16384},
		{[]faultserver.Fault{{Kind: faultserver.StartSettings, Value: "max-frame-size=20000"}}, 20000},
	} {
		s := withBody(t, test.faults...)
		c := dialSeeing(t, s)
		for c.see() != "SETTINGS 0 ack" {
		}
		id := c.open("POST", "/", false)
		require.NoError(t, c.fr.WriteData(id, false, make([]byte, test.most)))
		c.wantServing()
		require.NoError(t, c.fr.WriteData(id, false, make([]byte, test.most+1)))
		c.want("GOAWAY 0 1 FRAME_SIZE_ERROR")
		require.Equal(t, faultserver.ProtocolError, closedConn(t, s).Reason)
	}
}

// writeBody sends n bytes of DATA, without an end.
func (c *seeing) writeBody(id uint32, n int) {
	c.t.Helper()
	p := bytes.Repeat([]byte("x"), 16384)
	for ; n > 0; n -= len(p) {
		p = p[:min(n, len(p))]
		require.NoError(c.t, c.fr.WriteData(id, false, p))
	}
}

func TestAWithheldStreamWindowStopsThatBodyOnly(t *testing.T) {
	inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
		c := dial()
		c.want("SETTINGS 0 [3=250 4=1000]", "WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
		require.NoError(t, c.fr.WriteSettingsAck())
		id := c.open("POST", "/slow", false)
		c.writeBody(id, 1000)
		other := c.open("POST", "/", false)
		c.writeBody(other, 1000)
		c.want("WINDOW_UPDATE 3 +1000")
		require.NoError(t, c.fr.WriteData(other, true, nil))
		c.want("HEADERS 3 :status=200", `DATA 3 "body" end`)
		since := time.Now()
		c.want("WINDOW_UPDATE 1 +1000")
		require.InDelta(t, time.Hour, time.Since(since), float64(time.Second))
		require.NoError(t, c.fr.WriteData(id, true, nil))
		c.want(head, data+" end")
	}, faultserver.Fault{Kind: faultserver.StartSettings, Value: "initial-window-size=1000"},
		faultserver.Fault{Kind: faultserver.StreamWindowWithheld, Path: "/slow", After: time.Hour})
}

func TestALoweredInitialWindowIsNegativeUntilItIsFilled(t *testing.T) {
	lower := faultserver.Fault{Kind: faultserver.ChangeSettings, Path: "/lower", Value: "initial-window-size=10"}
	withhold := faultserver.Fault{Kind: faultserver.StreamWindowWithheld, Path: "/upload"}
	for _, faults := range [][]faultserver.Fault{{lower}, {lower, withhold}} {
		inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
			c := dial().begin()
			upload := c.open("POST", "/upload", false)
			c.writeBody(upload, 100_000) // less than what is granted again at once
			c.post("/lower", "")
			c.want("SETTINGS 0 [4=10]", "HEADERS 3 :status=200", `DATA 3 "body" end`)
			c.writeBody(upload, 100_000) // was on its way
			time.Sleep(time.Second)      // and is read
			require.NoError(t, c.fr.WriteSettingsAck())
			if len(faults) == 2 { // the window is 10-200,000
				c.writeBody(upload, 1)
				c.want("GOAWAY 0 3 FLOW_CONTROL_ERROR", "FIN")
				return
			}
			c.want("WINDOW_UPDATE 1 +200000")
			c.writeBody(upload, 10)
			c.want("WINDOW_UPDATE 1 +10")
			require.NoError(t, c.fr.WriteData(upload, true, nil))
			c.want(head, data+" end")
		}, faults...)
	}
}

func TestAnInitialWindowOfZeroStopsBodiesUntilItIsRaised(t *testing.T) {
	inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
		c := dial()
		c.want("SETTINGS 0 [3=250 4=0]", "WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
		require.NoError(t, c.fr.WriteSettingsAck())
		id := c.open("POST", "/", false)
		time.Sleep(time.Hour)
		c.wantServing()
		c.post("/raise", "")
		c.want("SETTINGS 0 [4=4]", "HEADERS 3 :status=200", `DATA 3 "body" end`)
		require.NoError(t, c.fr.WriteSettingsAck())
		require.NoError(t, c.fr.WriteData(id, true, []byte("four")))
		c.want(head, data+" end")
	}, faultserver.Fault{Kind: faultserver.StartSettings, Value: "initial-window-size=0"},
		faultserver.Fault{Kind: faultserver.ChangeSettings, Path: "/raise", Value: "initial-window-size=4"})
}
