package faultserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// with starts an HTTP/1 server with faults.
func with(t *testing.T, faults ...faultserver.Fault) *faultserver.Server {
	t.Helper()
	return faultserver.Start(t, faultserver.Config{Faults: faults})
}

func TestIdleCloseSendsFINAfterTheTimeout(t *testing.T) {
	const after = 30 * time.Millisecond
	s := with(t, faultserver.Fault{Kind: faultserver.IdleClose, After: after, Jitter: 10 * time.Millisecond})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.False(t, resp.Close)
	since := time.Now()
	c.wantFIN()
	require.GreaterOrEqual(t, time.Since(since), after-5*time.Millisecond)
	row := onlyConn(t, s)
	require.Equal(t, faultserver.ServerFIN, row.ClosedBy)
	require.Equal(t, faultserver.FaultStruck, row.Reason)
	require.Equal(t, faultserver.IdleClose, row.Fault)
	require.GreaterOrEqual(t, row.IdleAge, after)
}

func TestIdleResetSendsRST(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.IdleReset, After: time.Millisecond})
	c := dialRaw(t, s)
	c.get("/")
	c.wantRST()
	require.Equal(t, faultserver.ServerRST, onlyConn(t, s).ClosedBy)
}

func TestAnIdleFaultChoosesByTheLastRequest(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.IdleClose, After: time.Millisecond, Path: "/doomed*", Times: 1})
	c := dialRaw(t, s)
	c.get("/other")
	c.wantAlive()
	c.get("/doomed/now")
	c.wantFIN()
	again := dialRaw(t, s)
	again.get("/doomed")
	again.wantAlive()
}

func TestARemovedFaultNoLongerStrikes(t *testing.T) {
	s := with(t)
	remove := s.Inject(faultserver.Fault{Kind: faultserver.Status, Code: 503})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.Equal(t, 503, resp.StatusCode)
	remove()
	remove()
	resp, _ = c.get("/")
	require.Equal(t, 200, resp.StatusCode)
}

func TestIdle408WritesAnUnaskedResponseAndCloses(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.Idle408, After: time.Millisecond})
	c := dialRaw(t, s)
	c.get("/")
	resp, _ := c.response("GET")
	require.Equal(t, 408, resp.StatusCode)
	require.True(t, resp.Close)
	c.wantFIN()
}

func TestIdleBytesWritesJunkAndStaysOpen(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.IdleBytes, After: time.Millisecond, Value: "junk", Times: 1})
	c := dialRaw(t, s)
	c.get("/")
	junk := make([]byte, 4)
	_, err := io.ReadFull(c.br, junk)
	require.NoError(t, err)
	require.Equal(t, "junk", string(junk))
	c.wantAlive()
}

func TestCloseOnReuseClosesAtTheFirstByteOfTheSecondRequest(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.CloseOnReuse})
	c := dialRaw(t, s)
	c.get("/")
	c.send("G") // no more than a byte: the head is never read
	c.wantFIN()
	require.Len(t, s.Journal().Requests(), 1)
	require.Equal(t, faultserver.CloseOnReuse, onlyConn(t, s).Fault)
}

func TestSilentCloseAnswersCompletelyAndClosesUnannounced(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.SilentClose})
	c := dialRaw(t, s)
	resp, body := c.get("/a")
	require.Empty(t, resp.Header.Get("Connection"))
	require.Equal(t, "GET /a 0\n", body)
	c.wantFIN()
	require.True(t, onlyRequest(t, s).Answered)
}

func TestAnnounceCloseSaysSoAndCloses(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.AnnounceClose})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.True(t, resp.Close)
	c.wantFIN()
}

func TestAnnounceStaySaysSoAndServesOn(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.AnnounceStay})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.True(t, resp.Close)
	c.wantAlive()
}

func TestAnnounceCloseLateClosesLater(t *testing.T) {
	const after = 30 * time.Millisecond
	s := with(t, faultserver.Fault{Kind: faultserver.AnnounceCloseLate, After: after})
	c := dialRaw(t, s)
	resp, _ := c.get("/")
	require.True(t, resp.Close)
	since := time.Now()
	c.wantFIN()
	require.GreaterOrEqual(t, time.Since(since), after-5*time.Millisecond)
}

func TestFinAfterRequestClosesWhenTheWholeRequestIsRead(t *testing.T) {
	for _, executed := range []bool{false, true} {
		s := with(t, faultserver.Fault{Kind: faultserver.FinAfterRequest, Executed: executed})
		c := dialRaw(t, s)
		c.send(post("/", "body"))
		c.wantFIN()
		row := onlyRequest(t, s)
		require.EqualValues(t, 4, row.BodyBytes)
		require.True(t, row.BodyComplete)
		require.Equal(t, executed, row.Executed == 1)
		require.False(t, row.Answered)
		require.Equal(t, []faultserver.Kind{faultserver.FinAfterRequest}, row.Faults)
		want := faultserver.PhaseBody
		if executed {
			want = faultserver.PhaseExecuted
		}
		require.Equal(t, want, row.Phase)
	}
}

func TestRstAfterRequestResetsWhenTheWholeRequestIsRead(t *testing.T) {
	for _, executed := range []bool{false, true} {
		s := with(t, faultserver.Fault{Kind: faultserver.RstAfterRequest, Executed: executed})
		c := dialRaw(t, s)
		c.send(post("/", "body"))
		c.wantRST()
		require.Equal(t, executed, onlyRequest(t, s).Executed == 1)
		require.Equal(t, faultserver.ServerRST, onlyConn(t, s).ClosedBy)
	}
}

func TestCloseInRequestBodyReadsNoFurther(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.CloseInRequestBody, Bytes: 3})
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc")
	c.wantFIN()
	row := onlyRequest(t, s)
	require.EqualValues(t, 3, row.BodyBytes)
	require.False(t, row.BodyComplete)
	require.Zero(t, row.Executed)
}

func TestTheResponseIsCutWhereTheFaultSays(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n"
	for _, test := range []struct {
		fault faultserver.Fault
		check func(t *testing.T, got string)
	}{
		{faultserver.Fault{Kind: faultserver.CloseInStatusLine}, func(t *testing.T, got string) {
			require.Equal(t, "HTTP/1.1 ", got)
		}},
		{faultserver.Fault{Kind: faultserver.CloseInStatusLine, Bytes: 11}, func(t *testing.T, got string) {
			require.Equal(t, "HTTP/1.1 20", got)
		}},
		{faultserver.Fault{Kind: faultserver.CloseInHeaders}, func(t *testing.T, got string) {
			require.True(t, strings.HasPrefix(got, head), got)
			require.NotContains(t, got, "\r\n\r\n")
		}},
		{faultserver.Fault{Kind: faultserver.CloseInHeaders, Bytes: 3}, func(t *testing.T, got string) {
			require.Equal(t, "HTTP/1.1 200 OK\r\nCon", got)
		}},
		{faultserver.Fault{Kind: faultserver.CloseInBody}, func(t *testing.T, got string) {
			require.True(t, strings.HasSuffix(got, "\r\n\r\n"), got)
		}},
		{faultserver.Fault{Kind: faultserver.CloseInBody, Bytes: 4}, func(t *testing.T, got string) {
			require.Contains(t, got, "Content-Length: 6\r\n")
			require.True(t, strings.HasSuffix(got, "\r\n\r\nabcd"), got)
		}},
	} {
		t.Run(test.fault.Kind.String(), func(t *testing.T) {
			s := faultserver.Start(t, faultserver.Config{
				Faults:  []faultserver.Fault{test.fault},
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "abcdef") }),
			})
			c := dialRaw(t, s)
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			got, err := c.rest()
			require.NoError(t, err)
			test.check(t, got)
			row := onlyRequest(t, s)
			require.Equal(t, 1, row.Executed)
			require.False(t, row.Answered)
		})
	}
}

func TestCloseInBodyLeavesAChunkUnfinished(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.CloseInBody, Bytes: 4}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "abcdef")
		}),
	})
	c := dialRaw(t, s)
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	got, err := c.rest()
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(got, "\r\n\r\n6\r\nabcd"), got)
}

func TestCloseAfterRequestsClosesAfterTheNth(t *testing.T) {
	for _, announced := range []bool{false, true} {
		s := with(t, faultserver.Fault{Kind: faultserver.CloseAfterRequests, Requests: 3, Announced: announced})
		c := dialRaw(t, s)
		for n := 1; n <= 3; n++ {
			resp, _ := c.get("/")
			require.Equal(t, announced && n == 3, resp.Close)
		}
		c.wantFIN()
	}
}

func TestCloseAfterAgeClosesAnIdleConnectionOfThatAge(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.CloseAfterAge, After: 20 * time.Millisecond})
	c := dialRaw(t, s)
	c.get("/")
	c.wantFIN()
	row := onlyConn(t, s)
	require.GreaterOrEqual(t, row.Closed.Sub(row.Opened), 20*time.Millisecond)
	require.Equal(t, faultserver.CloseAfterAge, row.Fault)
}

func TestNeverAnswerIsSilentUntilTheClientGivesUp(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.NeverAnswer})
	c := dialRaw(t, s)
	c.send(post("/", "body"))
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		r := s.Journal().Requests()
		return len(r) == 1 && r[0].BodyComplete
	}))
	require.Zero(t, onlyRequest(t, s).Executed)
	c.Close()
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		return onlyConn(t, s).ClosedBy == faultserver.ByClient
	}))
}

func TestDelayPostponesTheHandlerAndCombines(t *testing.T) {
	const after = 20 * time.Millisecond
	s := with(t, faultserver.Fault{Kind: faultserver.Delay, After: after}, faultserver.Fault{Kind: faultserver.SilentClose})
	c := dialRaw(t, s)
	since := time.Now()
	c.get("/")
	require.GreaterOrEqual(t, time.Since(since), after)
	c.wantFIN()
	require.Equal(t, []faultserver.Kind{faultserver.Delay, faultserver.SilentClose}, onlyRequest(t, s).Faults)
}

func TestStatusAnswersWithoutTheHandler(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.Status, Code: 503, Value: "7"})
	c := dialRaw(t, s)
	c.send(post("/", "body"))
	resp, _ := c.response("POST")
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "7", resp.Header.Get("Retry-After"))
	row := onlyRequest(t, s)
	require.Zero(t, row.Executed)
	require.Equal(t, 503, row.Status)
	require.True(t, row.Answered)
}

func TestKeepAliveHeaderLies(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.KeepAliveHeader, Value: "timeout=99999, max=0"})
	resp, _ := dialRaw(t, s).get("/")
	require.Equal(t, "timeout=99999, max=0", resp.Header.Get("Keep-Alive"))
}

func TestSurplusBytesFollowACompleteResponse(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.SurplusBytes, Value: "surplus", Times: 1})
	c := dialRaw(t, s)
	_, body := c.get("/")
	require.Equal(t, "GET / 0\n", body)
	surplus := make([]byte, 7)
	_, err := io.ReadFull(c.br, surplus)
	require.NoError(t, err)
	require.Equal(t, "surplus", string(surplus))
	c.wantAlive()
}
