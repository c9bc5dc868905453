package faultserver_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

func TestGoAwayTwiceDisownsWhatItNamedFirst(t *testing.T) {
	for _, after := range []time.Duration{0, time.Minute} {
		inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
			c := dial().begin()
			c.post("/", "")
			c.want(head, data+" end")
			c.post("/disowned", "")
			since := time.Now()
			c.want("GOAWAY 0 3 ENHANCE_YOUR_CALM twice")
			c.post("/refused", "") // above both
			c.want("GOAWAY 0 1 ENHANCE_YOUR_CALM twice", "FIN")
			require.Equal(t, after+2*virtualLatency, time.Since(since))
			rows := s.Journal().Requests()
			require.Len(t, rows, 2)
			require.Zero(t, rows[1].Executed)
			require.False(t, rows[1].Answered)
			require.Equal(t, faultserver.GoAwayTwice, onlyConn(t, s).Fault)
			require.Equal(t, faultserver.ServerFIN, onlyConn(t, s).ClosedBy)
		}, faultserver.Fault{Kind: faultserver.GoAwayTwice, Path: "/disowned", After: after, Code: 11, Value: "twice"})
	}
}

func TestGoAwayTwiceServesOlderStreams(t *testing.T) {
	release := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c), Faults: []faultserver.Fault{{Kind: faultserver.GoAwayTwice, Path: "/disowned"}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }),
	})
	c := dialSeeing(t, s).begin()
	c.post("/older", "")
	c.post("/disowned", "")
	c.want("GOAWAY 0 3 NO_ERROR", "GOAWAY 0 1 NO_ERROR")
	close(release)
	c.want("HEADERS 1 :status=200 end", "FIN")
}

// What it does not cover a client may send again.
func TestGoAwayErrorCoversStreamsThatCameMeanwhile(t *testing.T) {
	later := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c), Faults: []faultserver.Fault{{Kind: faultserver.GoAwayError, Code: 11, Executed: true, Path: "/calm"}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/calm" {
				<-later
				return
			}
			close(later)
			<-r.Context().Done()
		}),
	})
	c := dialSeeing(t, s).begin()
	c.post("/calm", "")
	c.post("/later", "")
	c.want("GOAWAY 0 3 ENHANCE_YOUR_CALM", "FIN")
}

func TestGoAwayAheadServesStreamsThatCrossIt(t *testing.T) {
	release := make(chan struct{})
	s := faultserver.Start(t, faultserver.Config{
		Protocols: protocols(h2c), Faults: []faultserver.Fault{{Kind: faultserver.GoAwayAhead, Count: 1, Times: 1}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }),
	})
	c := dialSeeing(t, s).begin()
	c.post("/", "")
	c.want("GOAWAY 0 3 NO_ERROR")
	c.post("/crossed", "")
	c.post("/above", "")
	c.wantServing()
	close(release)
	got := map[string]bool{c.see(): true, c.see(): true}
	require.Equal(t, map[string]bool{"HEADERS 1 :status=200 end": true, "HEADERS 3 :status=200 end": true}, got)
	c.want("FIN")
	require.Len(t, s.Journal().Requests(), 2)
}

func TestGoAwayStayLeavesTheConnectionOpenForItsTime(t *testing.T) {
	inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
		c := dial().begin()
		c.post("/", "")
		since := time.Now()
		c.want("GOAWAY 0 1 NO_ERROR", head, data+" end")
		c.post("/ignored", "")
		c.wantServing()
		c.want("FIN")
		require.Equal(t, time.Hour+2*virtualLatency, time.Since(since))
		require.Equal(t, faultserver.GoAwayStay, onlyConn(t, s).Fault)
		require.Len(t, s.Journal().Requests(), 1)
	}, faultserver.Fault{Kind: faultserver.GoAwayStay, After: time.Hour})
}

func TestAConnectionThatStaysAfterGoAwayCanBeDrained(t *testing.T) {
	inVirtual(t, func(t *testing.T, s *faultserver.Server, dial func(...h2.Setting) *seeing) {
		c := dial().begin()
		c.post("/", "")
		c.want("GOAWAY 0 1 NO_ERROR", head, data+" end")
		since := time.Now()
		require.NoError(t, s.Drain(t.Context()))
		require.Less(t, time.Since(since), time.Second)
		c.want("FIN")
		require.Equal(t, faultserver.Draining, onlyConn(t, s).Reason)
	}, faultserver.Fault{Kind: faultserver.GoAwayStay})
}

func TestTooManyPingsEndTheConnectionAsGRPCServersDo(t *testing.T) {
	s := withBody(t, faultserver.Fault{Kind: faultserver.TooManyPings, Count: 2})
	for n := range 2 {
		c := dialSeeing(t, s).begin()
		c.wantServing()
		c.wantServing()
		require.NoError(t, c.fr.WritePing(false, [8]byte{}))
		c.want("GOAWAY 0 0 ENHANCE_YOUR_CALM too_many_pings", "FIN")
		conn := s.Journal().Conns()[n]
		require.Equal(t, faultserver.ServerFIN, conn.ClosedBy)
		require.Equal(t, faultserver.TooManyPings, conn.Fault)
	}
}

func TestAPingIsAcknowledgedWithOtherBytes(t *testing.T) {
	s := withBody(t, faultserver.Fault{Kind: faultserver.PingWrong, Nth: 2})
	c := dialSeeing(t, s).begin()
	c.wantServing()
	require.NoError(t, c.fr.WritePing(false, [8]byte{1}))
	c.want("PING 0 fe00000000000000 ack")
	c.wantServing()
	require.Equal(t, []faultserver.Kind{faultserver.PingWrong}, onlyConn(t, s).Faults)
}

func TestAGoAwayBelowCarriesDebugData(t *testing.T) {
	s := withBody(t, faultserver.Fault{Kind: faultserver.GoAwayBelow, Value: "try elsewhere"})
	c := dialSeeing(t, s).begin()
	c.post("/", "")
	c.want("GOAWAY 0 0 NO_ERROR try elsewhere", "FIN")
}

func TestAConnectionCanBeEndedAfterEveryNRequestsWithGoAway(t *testing.T) {
	s := withBody(t, faultserver.Fault{Kind: faultserver.CloseAfterRequests, Requests: 2, Announced: true})
	for range 2 {
		c := dialSeeing(t, s).begin()
		c.post("/", "")
		c.want(head, data+" end")
		c.post("/", "")
		c.want("HEADERS 3 :status=200", `DATA 3 "body" end`, "GOAWAY 0 2147483647 NO_ERROR", "PING 0 676f206177617921")
		require.NoError(t, c.fr.WritePing(true, [8]byte([]byte("go away!"))))
		c.want("GOAWAY 0 3 NO_ERROR", "FIN")
	}
}

func TestAMisdirectedRequestIsAStatus(t *testing.T) {
	s := withBody(t, faultserver.Fault{Kind: faultserver.Status, Code: http.StatusMisdirectedRequest, Times: 1})
	c := dialSeeing(t, s).begin()
	c.post("/", "")
	require.Equal(t, "HEADERS 1 :status=421 x-content-type-options=nosniff", c.see())
	require.Zero(t, onlyRequest(t, s).Executed)
}

func TestAnEarlyAnswerMayBeFollowedByAnyReset(t *testing.T) {
	for code, want := range map[uint32]string{0: "RST_STREAM 1 NO_ERROR", 8: "RST_STREAM 1 CANCEL"} {
		s := withBody(t, faultserver.Fault{Kind: faultserver.ResetStreamAfterAnswer, Code: code},
			faultserver.Fault{Kind: faultserver.Status, Code: 413})
		c := dialSeeing(t, s).begin()
		id := c.open("POST", "/", false)
		require.Equal(t, "HEADERS 1 :status=413 x-content-type-options=nosniff", c.see())
		c.want(`DATA 1 "Request Entity Too Large\n" end`, want)
		require.NoError(t, c.fr.WriteData(id, true, []byte("too late")))
		c.wantServing()
		require.True(t, onlyRequest(t, s).Answered)
		require.Zero(t, onlyRequest(t, s).Executed)
	}
}

func TestEveryMistakeInAnHTTP2FaultIsNamed(t *testing.T) {
	tooMany := int64(1) << 32
	for want, f := range map[string]faultserver.Fault{
		"not of the form":           {Kind: faultserver.ChangeSettings, Value: " "},
		"Value: start-settings":     {Kind: faultserver.StartSettings},
		"initial-window-size":       {Kind: faultserver.StartSettings, Value: "initial-windowsize=1"},
		"32 bits":                   {Kind: faultserver.StartSettings, Value: "3=0x100000000"},
		"2001 settings":             {Kind: faultserver.StartSettings, Value: strings.Repeat("1=1,", 2000) + "1=1"},
		"none of stream":            {Kind: faultserver.ZeroWindowUpdate, Value: "both"},
		"missing-status":            {Kind: faultserver.BadHeaders, Value: "bad"},
		"NthOnConn":                 {Kind: faultserver.StartMaxStreams, NthOnConn: 1},
		"ReusedOnly":                {Kind: faultserver.SettingsLate, ReusedOnly: true},
		"IdleAtLeast":               {Kind: faultserver.SettingsLate, IdleAtLeast: 1},
		"Path":                      {Kind: faultserver.SettingsMissing, Path: "/"},
		"Count: ping-flood":         {Kind: faultserver.PingFlood},
		"Count: 100001":             {Kind: faultserver.SettingsFlood, Count: 100_001},
		"Count: -1":                 {Kind: faultserver.PingFlood, Count: -1},
		"Count: 5000 frames":        {Kind: faultserver.ContinuationFlood, Count: 5000, Bytes: 16_000},
		"Bytes: 16001":              {Kind: faultserver.UnknownFrame, Bytes: 16_001},
		"Code: 256":                 {Kind: faultserver.UnknownFrame, Code: 256},
		"Code: 9":                   {Kind: faultserver.UnknownFrame, Code: 9},
		"Count: 4294967296":         {Kind: faultserver.StartMaxStreams, Count: int(tooMany)},
		"Count: 1073741824":         {Kind: faultserver.GoAwayAhead, Count: 1 << 30},
		"Count: goaway does not":    {Kind: faultserver.GoAway, Count: 1},
		"Value: goaway does not":    {Kind: faultserver.GoAway, Value: "x"},
		"After: settings-missing d": {Kind: faultserver.SettingsMissing, After: 1},
	} {
		require.ErrorContains(t, f.Validate(), want, "%+v", f)
	}
}
