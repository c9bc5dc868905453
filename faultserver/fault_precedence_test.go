package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// becoming is what became of a request.
type becoming struct {
	Got  string // by the client; on HTTP/2, where headers have no order, only how much
	Err  string // behind it
	Row  faultserver.RequestRecord
	Conn faultserver.ConnRecord
}

// becomes sends one request to a server with faults, in virtual time, and
// reads for as long as anything comes within an hour.
func becomes(t *testing.T, h2 bool, faults ...faultserver.Fault) (f becoming, struck []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := faultserver.Config{Faults: faults}
		if h2 {
			cfg.Protocols = protocols(h2c)
		}
		s, dial := inMemory(t, cfg)
		nc := dial()
		if h2 {
			c := seeingOver(t, nc)
			require.NoError(t, c.fr.WriteSettingsAck())
			synctest.Wait() // the server's own have been sent
			c.open("POST", "/", true)
		} else {
			_, err := io.WriteString(nc, post("/", "body"))
			require.NoError(t, err)
		}
		nc.SetReadDeadline(time.Now().Add(time.Hour))
		got, err := io.ReadAll(nc)
		synctest.Wait()
		f = becoming{Got: string(got), Err: fmt.Sprint(err), Row: onlyRequest(t, s), Conn: onlyConn(t, s)}
		if h2 {
			f.Got = fmt.Sprintf("%d bytes", len(got))
		}
		for _, in := range s.Faults() {
			struck = append(struck, in.Struck)
		}
		nc.Close()
		require.NoError(t, s.Close())
	})
	return f, struck
}

// Faults that end a request: those of the first list in place of an answer,
// those of the second by an answer, those of the third in it.
var (
	withholding = []faultserver.Fault{
		{Kind: faultserver.NeverAnswer},
		{Kind: faultserver.FinAfterRequest},
		{Kind: faultserver.RstAfterRequest, Executed: true},
		{Kind: faultserver.CloseInRequestBody, Bytes: 1},
		{Kind: faultserver.VanishOnRequest},
		{Kind: faultserver.CrashOnRequest},
		{Kind: faultserver.StallRequestBody, Bytes: 2},
	}
	answering = []faultserver.Fault{{Kind: faultserver.Status, Code: 503}}
	cutting   = []faultserver.Fault{
		{Kind: faultserver.CloseInBody, Bytes: 1},
		{Kind: faultserver.StallInBody, Bytes: 2},
	}
	withholding1 = []faultserver.Fault{
		{Kind: faultserver.RawAnswer, Value: "raw"},
		{Kind: faultserver.RandomBytes},
	}
	answering1 = []faultserver.Fault{{Kind: faultserver.EarlyAnswer, Code: 413}}
	cutting1   = []faultserver.Fault{
		{Kind: faultserver.CloseInStatusLine},
		{Kind: faultserver.CloseInHeaders},
		{Kind: faultserver.BrokenChunk},
	}
	withholding2 = []faultserver.Fault{
		{Kind: faultserver.CloseWithoutGoAway},
		{Kind: faultserver.GoAwayBelow},
		{Kind: faultserver.GoAwayTwice, After: time.Second},
		{Kind: faultserver.GoAwayError, Code: 2},
		{Kind: faultserver.ResetStream, Code: 7},
	}
	cutting2 = []faultserver.Fault{
		{Kind: faultserver.ResetStreamAfterHeaders, Code: 2, Bytes: 3},
		{Kind: faultserver.CloseInFrame, Value: "data"},
		{Kind: faultserver.BadHPACK},
		{Kind: faultserver.BadHeaders},
		{Kind: faultserver.HeadersInterrupted},
		{Kind: faultserver.OversizeFrame},
		{Kind: faultserver.BadTrailers},
	}
)

func TestOfSeveralFaultsThatEndARequestTheFirstInjectedWins(t *testing.T) {
	type ending struct {
		fault              faultserver.Fault
		answering, cutting bool
	}
	var on [2][]ending
	add := func(h2 int, faults []faultserver.Fault, answering, cutting bool) {
		for _, f := range faults {
			on[h2] = append(on[h2], ending{f, answering, cutting})
		}
	}
	for h2 := range on {
		add(h2, withholding, false, false)
		add(h2, answering, true, false)
		add(h2, cutting, false, true)
	}
	add(0, withholding1, false, false)
	add(0, answering1, true, false)
	add(0, cutting1, false, true)
	add(1, withholding2, false, false)
	add(1, cutting2, false, true)

	for h2, endings := range on {
		for _, first := range endings {
			alone, _ := becomes(t, h2 == 1, first.fault)
			require.Equal(t, []faultserver.Kind{first.fault.Kind}, alone.Row.Faults)
			for _, second := range endings {
				if first.answering && second.cutting || first.cutting && second.answering {
					continue // both strike
				}
				both, struck := becomes(t, h2 == 1, first.fault, second.fault)
				require.Equal(t, alone, both, "%v and %v", first.fault, second.fault)
				require.Equal(t, []int{1, 0}, struck, "%v and %v", first.fault, second.fault)
			}
		}
	}
}

func TestAFaultsOwnAnswerCanBeCutOff(t *testing.T) {
	for h2, cuts := range [][]faultserver.Fault{append(cutting1, cutting...), append(cutting2, cutting...)} {
		for _, cut := range cuts {
			for _, faults := range [][]faultserver.Fault{{answering[0], cut}, {cut, answering[0]}} {
				got, struck := becomes(t, h2 == 1, faults...)
				require.Equal(t, []int{1, 1}, struck, "%v", faults)
				require.Zero(t, got.Row.Executed)
				require.Equal(t, 503, got.Row.Status)
			}
		}
	}
}

func TestAFaultThatAnotherForestalledStrikesTheNextRequest(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{
		{Kind: faultserver.Status, Code: 501, Times: 1},
		{Kind: faultserver.Status, Code: 502, Times: 1},
		{Kind: faultserver.Status, Code: 503, Nth: 2}, // of those that have no end yet
		{Kind: faultserver.FinAfterRequest, Times: 1},
	}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		for _, want := range []int{501, 502} {
			resp, _ := c.get("/")
			require.Equal(t, want, resp.StatusCode)
		}
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		c.wantFIN()
		for _, row := range s.Journal().Requests() {
			require.Len(t, row.Faults, 1)
		}
		for i, spent := range []bool{true, true, false, true} {
			require.Equal(t, spent, s.Faults()[i].Spent)
		}
	})
}

func TestARequestsOwnFaultGoesBeforeTheServers(t *testing.T) {
	cfg := faultserver.Config{HeaderFaults: true, Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, Times: 1}}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.send(withFault("status code=418; never-answer"))
		resp, _ := c.response(http.MethodGet)
		require.Equal(t, 418, resp.StatusCode)
		require.Equal(t, []faultserver.Kind{faultserver.Status}, onlyRequest(t, s).Faults)
		c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		c.wantFIN()
	})
}

func TestDelaysAddUp(t *testing.T) {
	cfg := faultserver.Config{Faults: []faultserver.Fault{
		{Kind: faultserver.Delay, After: time.Second}, {Kind: faultserver.Delay, After: time.Minute},
	}}
	inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		since := time.Now()
		c.get("/")
		require.Equal(t, time.Minute+time.Second, time.Since(since))
	})
}
