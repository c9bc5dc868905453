package faultserver_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

const (
	head = "HEADERS 1 :status=200"
	data = `DATA 1 "body"`
)

// sent is what a fault sends around the answer "body" to the first request.
var sent = []struct {
	fault    faultserver.Fault
	frames   []string
	answered bool
}{
	{faultserver.Fault{Kind: faultserver.SettingsFlood, Count: 2},
		[]string{"SETTINGS 0 []", "SETTINGS 0 []", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.PingFlood, Count: 2},
		[]string{"PING 0 0000000000000001", "PING 0 0000000000000002", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.ChangeSettings, Value: "enable-push=2, 0xff=7"},
		[]string{"SETTINGS 0 [2=2 255=7]", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.ChangeMaxStreams},
		[]string{"SETTINGS 0 [3=0]", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.ZeroWindowUpdate},
		[]string{"WINDOW_UPDATE 1 +0", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.ZeroWindowUpdate, Value: "connection"},
		[]string{"WINDOW_UPDATE 0 +0", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.WindowOverflow},
		[]string{"WINDOW_UPDATE 1 +2147483647", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.WindowOverflow, Value: "connection"},
		[]string{"WINDOW_UPDATE 0 +2147483647", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.UnknownFrame},
		[]string{"UNKNOWN_FRAME_TYPE_42 1 0 bytes", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.UnknownFrame, Count: 2, Code: 0xcc, Bytes: 5},
		[]string{"UNKNOWN_FRAME_TYPE_204 1 5 bytes", "UNKNOWN_FRAME_TYPE_204 1 5 bytes", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.DataOnIdleStream},
		[]string{`DATA 2147483647 "for nobody"`, head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.PushPromise},
		[]string{"PUSH_PROMISE 1 2 :method=GET :scheme=http :authority=test :path=/pushed", "RST_STREAM 2 CANCEL", head, data + " end"}, true},
	{wrong("data"), []string{`DATA 0 "for nobody"`, head, data + " end"}, true},
	{wrong("headers"), []string{"HEADERS 0 :status=200", head, data + " end"}, true},
	{wrong("priority"), []string{"PRIORITY 0 5 bytes", head, data + " end"}, true},
	{wrong("rst-stream"), []string{"RST_STREAM 0 CANCEL", head, data + " end"}, true},
	{wrong("push-promise"), []string{"PUSH_PROMISE 0 2", head, data + " end"}, true},
	{wrong("continuation"), []string{"CONTINUATION 0", head, data + " end"}, true},
	{wrong("settings"), []string{"SETTINGS 1 []", head, data + " end"}, true},
	{wrong("ping"), []string{"PING 1 0000000000000000", head, data + " end"}, true},
	{wrong("goaway"), []string{"GOAWAY 1 0 NO_ERROR", head, data + " end"}, true},

	{faultserver.Fault{Kind: faultserver.BadHPACK}, []string{"HEADERS 1 undecodable end"}, false},
	{badHead("missing-status"), []string{"HEADERS 1 end"}, false},
	{badHead("double-status"), []string{"HEADERS 1 :status=200 :status=200 end"}, false},
	{badHead("junk-status"), []string{"HEADERS 1 :status=abc end"}, false},
	{badHead("late-status"), []string{"HEADERS 1 late :status=200 end"}, false},
	{badHead("unknown-pseudo"), []string{"HEADERS 1 :status=200 :fault=1 end"}, false},
	{badHead("request-pseudo"), []string{"HEADERS 1 :status=200 :path=/ end"}, false},
	{badHead("uppercase-name"), []string{"HEADERS 1 :status=200 X-Fault=1 end"}, false},
	{badHead("connection-header"), []string{"HEADERS 1 :status=200 connection=keep-alive transfer-encoding=chunked end"}, false},
	{faultserver.Fault{Kind: faultserver.HeadersInterrupted}, []string{head + " open", "PING 0 0000000000000000"}, false},
	{faultserver.Fault{Kind: faultserver.HeadersInterrupted, Value: "data"},
		[]string{head + " open", `DATA 1 "between"`}, false},
	{faultserver.Fault{Kind: faultserver.HeadersInterrupted, Value: "settings"},
		[]string{head + " open", "SETTINGS 0 []"}, false},
	{faultserver.Fault{Kind: faultserver.ContinuationFlood, Count: 2},
		[]string{head + " open", "CONTINUATION 1 open", "CONTINUATION 1 open", "CONTINUATION 1", data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.ContinuationFlood, Count: 1, Bytes: 16000},
		[]string{head + " open", "CONTINUATION 1 x-flood=16000 bytes open", "CONTINUATION 1", data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.OversizeFrame}, []string{head, "DATA 1 16385 bytes end"}, false},
	{faultserver.Fault{Kind: faultserver.CloseInFrame, Bytes: 4}, []string{"4 bytes FIN"}, false},
	{faultserver.Fault{Kind: faultserver.CloseInFrame, Bytes: 11, Value: "data"},
		[]string{head, "DATA 1, 2 of 4 bytes FIN"}, false},
	{faultserver.Fault{Kind: faultserver.CloseInFrame, Value: "data"}, []string{head, "6 bytes FIN"}, false},
	{faultserver.Fault{Kind: faultserver.CloseInFrame, Bytes: 1000, Value: "data"},
		[]string{head, "DATA 1, 3 of 4 bytes FIN"}, false},
	{faultserver.Fault{Kind: faultserver.EmptyDataFlood, Count: 2},
		[]string{head, `DATA 1 ""`, `DATA 1 ""`, data, `DATA 1 "" end`}, true},
	{badTrailers("pseudo"), []string{head, data, "HEADERS 1 :status=200 end"}, false},
	{badTrailers("no-end"), []string{head, data, "HEADERS 1 x-fault=1"}, false},
	{badTrailers("uppercase-name"), []string{head, data, "HEADERS 1 X-Fault=1 end"}, false},
	{badTrailers("connection-header"), []string{head, data, "HEADERS 1 connection=keep-alive end"}, false},
	{faultserver.Fault{Kind: faultserver.DataOnClosedStream}, []string{head, data + " end", `DATA 1 "too late"`}, true},
	{faultserver.Fault{Kind: faultserver.ResetStreamAfterAnswer}, []string{head, data + " end", "RST_STREAM 1 NO_ERROR"}, true},
	{faultserver.Fault{Kind: faultserver.ResetStreamAfterAnswer, Code: uint32(h2.ErrCodeCancel)},
		[]string{head, data + " end", "RST_STREAM 1 CANCEL"}, true},

	{faultserver.Fault{Kind: faultserver.GoAwayError, Code: 11, Value: "calm down", Executed: true},
		[]string{"GOAWAY 0 1 ENHANCE_YOUR_CALM calm down", "FIN"}, false},
	{faultserver.Fault{Kind: faultserver.GoAwayAhead, Count: 5, Value: "soon"},
		[]string{"GOAWAY 0 11 NO_ERROR soon", head, data + " end", "FIN"}, true},
	{faultserver.Fault{Kind: faultserver.GoAwayAhead, Code: 2},
		[]string{"GOAWAY 0 2001 INTERNAL_ERROR", head, data + " end", "FIN"}, true},
	{faultserver.Fault{Kind: faultserver.GoAwayStay, Code: 11, Value: "bye"},
		[]string{"GOAWAY 0 1 ENHANCE_YOUR_CALM bye", head, data + " end"}, true},
	{faultserver.Fault{Kind: faultserver.GoAwayStay, After: 1},
		[]string{"GOAWAY 0 1 NO_ERROR", head, data + " end", "FIN"}, true},
	{faultserver.Fault{Kind: faultserver.ResetStream, Code: 13, Executed: true}, []string{"RST_STREAM 1 HTTP_1_1_REQUIRED"}, false},
	{faultserver.Fault{Kind: faultserver.ResetStream, Code: 8, Executed: true}, []string{"RST_STREAM 1 CANCEL"}, false},
	{faultserver.Fault{Kind: faultserver.ResetStream, Code: 11, Executed: true}, []string{"RST_STREAM 1 ENHANCE_YOUR_CALM"}, false},
	{faultserver.Fault{Kind: faultserver.ResetStreamAfterHeaders, Code: 2}, []string{head, "RST_STREAM 1 INTERNAL_ERROR"}, false},
	{faultserver.Fault{Kind: faultserver.ResetStreamAfterHeaders, Code: 11, Bytes: 2},
		[]string{head, `DATA 1 "bo"`, "RST_STREAM 1 ENHANCE_YOUR_CALM"}, false},
}

func wrong(frame string) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.WrongStream, Value: frame}
}

func badHead(mistake string) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.BadHeaders, Value: mistake}
}

func badTrailers(mistake string) faultserver.Fault {
	return faultserver.Fault{Kind: faultserver.BadTrailers, Value: mistake}
}

func faultName(f faultserver.Fault) string {
	return strings.TrimSpace(fmt.Sprint(f.Kind, " ", f.Value, " ", map[bool]string{true: h2.ErrCode(f.Code).String()}[f.Code != 0]))
}

func answerBody(w http.ResponseWriter, r *http.Request) { w.Write([]byte("body")) }

func TestEachHTTP2FaultSendsTheseFramesAndTheJournalKnows(t *testing.T) {
	for _, over := range []struct {
		name string
		cfg  faultserver.Config
	}{{"cleartext", faultserver.Config{Protocols: protocols(h2c)}}, {"TLS", faultserver.Config{TLS: true}}} {
		t.Run(over.name, func(t *testing.T) {
			for _, test := range sent {
				t.Run(faultName(test.fault), func(t *testing.T) {
					cfg := over.cfg
					cfg.Handler, cfg.Faults = http.HandlerFunc(answerBody), []faultserver.Fault{test.fault}
					s := faultserver.Start(t, cfg)
					c := dialSeeing(t, s).begin()
					c.post("/", "")
					c.want(test.frames...)

					row := onlyRequest(t, s)
					require.Equal(t, 1, row.Executed)
					require.Equal(t, test.answered, row.Answered)
					require.Equal(t, []faultserver.Kind{test.fault.Kind}, row.Faults)
					conn := onlyConn(t, s)
					if last := test.frames[len(test.frames)-1]; strings.HasSuffix(last, "FIN") {
						require.Equal(t, faultserver.ServerFIN, conn.ClosedBy)
						require.Equal(t, test.fault.Kind, conn.Fault)
					} else {
						require.Equal(t, faultserver.StillOpen, conn.ClosedBy)
						c.wantServing()
					}
				})
			}
		})
	}
}

func TestFaultsReachAnHTTP2ConnectionThatExistsExceptThoseOfItsBeginning(t *testing.T) {
	s := withBody(t)
	c := dialSeeing(t, s).begin()
	c.post("/", "")
	c.want(head, data+" end")
	s.Inject(faultserver.Fault{Kind: faultserver.SettingsMissing})
	remove := s.Inject(faultserver.Fault{Kind: faultserver.ChangeMaxStreams, Count: 7})
	c.post("/", "")
	c.want("SETTINGS 0 [3=7]", "HEADERS 3 :status=200", `DATA 3 "body" end`)
	remove()
	c.post("/", "")
	c.want("HEADERS 5 :status=200", `DATA 5 "body" end`)
	require.Empty(t, onlyConn(t, s).Faults)
}

// wantServing proves that nothing more came and that the connection is served.
func (c *seeing) wantServing() {
	c.t.Helper()
	require.NoError(c.t, c.fr.WritePing(false, [8]byte{1}))
	c.want("PING 0 0100000000000000 ack")
}

func TestEveryHTTP2KindHasATestOnTheWire(t *testing.T) {
	elsewhere := []faultserver.Kind{
		faultserver.SettingsLate, faultserver.SettingsMissing, faultserver.SettingsAckLate, faultserver.StartSettings,
		faultserver.StartMaxStreams, faultserver.ConnWindowWithheld, faultserver.StreamWindowWithheld,
		faultserver.PingWrong, faultserver.TooManyPings, faultserver.GoAwayTwice,
	}
	tested := map[faultserver.Kind]bool{}
	for _, test := range sent {
		tested[test.fault.Kind] = true
	}
	for _, k := range elsewhere {
		tested[k] = true
	}
	// The kinds of this group stand together.
	for k := faultserver.SettingsLate; k <= faultserver.GoAwayStay; k++ {
		require.True(t, tested[k], "%v", k)
	}
}
