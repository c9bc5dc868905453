package faultserver_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// What these clients do when a connection ends under a request, as their
// sources have it and as it was measured with Go 1.26, curl 7.88 and Node 20:
//
//   - net/http repeats on a connection that had carried a request before, if the
//     method is GET, HEAD, OPTIONS or TRACE or there is an Idempotency-Key
//     (documentation of http.Transport; Request.isReplayable,
//     persistConn.shouldRetryRequest).
//   - curl repeats whatever it sent on such a connection, a POST as well, if no
//     byte of an answer came (lib/transfer.c, Curl_retry_request).
//   - Node's fetch gives the request that was being answered up, and the error to
//     the caller (undici, lib/dispatcher/client-h1.js, "Fail head of pipeline").
//     Whether to repeat idempotent ones is under discussion there
//     (github.com/nodejs/undici/pull/5403), so that this is asked of POST alone.
type peerHabit struct {
	peer string
	ask  peerAsk
}

// repeats says whether a peer sends a request again that got no byte of an
// answer on a reused connection, and whether that is certain.
func (p peerHabit) repeats() (repeats, certain bool) {
	switch p.peer {
	case "net-http":
		return p.ask.method == "GET" || p.ask.header != "", true
	case "curl":
		return true, true
	}
	return false, p.ask.method == "POST"
}

// attemptsOf returns the rows of a key, in order.
func attemptsOf(s *faultserver.Server, key string) (rows []faultserver.RequestRecord) {
	for _, r := range s.Journal().Requests() {
		if r.Key == key {
			rows = append(rows, r)
		}
	}
	return rows
}

// connOf returns the connection a key's first attempt was made on.
func connOf(t *testing.T, s *faultserver.Server, key string) faultserver.ConnRecord {
	t.Helper()
	rows := attemptsOf(s, key)
	require.NotEmpty(t, rows, key)
	for _, c := range s.Journal().Conns() {
		if c.ID == rows[0].Conn {
			return c
		}
	}
	t.Fatalf("%s: connection %d is not in the journal", key, rows[0].Conn)
	return faultserver.ConnRecord{}
}

// closed is a gate that opens when every connection there was has been closed by
// the server, and the client's kernel knows.
func (l *countingListener) closed(ctx context.Context) {
	until(ctx, func() bool { return l.open.Load() == 0 })
}

// All three see the FIN of a connection that lies idle, net/http by a read that
// always waits, Node by its event loop, curl by a look before it reuses it, and
// open another. What the scenario is named for needs a request and the FIN to
// cross, which no test may wait for; virtual time has it (incidents_idle_test.go
// of idlewise). What comes after the pause is a GET, since net/http may be woken
// too late to see the FIN in time, and repeats that.
func TestPeersLeaveAConnectionThatWasClosedWhileItWasIdle(t *testing.T) {
	everyPeer(t, "uvicorn-five-seconds", 10, nil, func(_ *faultserver.Server, ln *countingListener) []peerAsk {
		return []peerAsk{
			{method: "GET", path: "/1", key: "1"},
			{method: "POST", path: "/2", key: "2"},
			{gate: ln.closed},
			{method: "GET", path: "/3", key: "3"},
			{gate: ln.closed},
			{method: "GET", path: "/4", key: "4"},
		}
	}, func(t *testing.T, _ string, s *faultserver.Server, asks []peerAsk, said []peerSaid) {
		for i := range asks {
			require.Equal(t, 200, said[i].Status, said[i].Why)
		}
		s.Journal().AssertEachExecutedOnce(t)
		for _, key := range []string{"2", "3"} {
			require.Equal(t, faultserver.IdleTimeout, connOf(t, s, key).Reason, key)
			require.Equal(t, faultserver.ServerFIN, connOf(t, s, key).ClosedBy, key)
		}
		require.Equal(t, 1, connOf(t, s, "3").Requests)
	})
}

// The answers to executed requests are lost. Whoever repeats them has them
// executed twice: net/http those that it takes for idempotent, curl all.
func TestPeersWhoseAnswersAreLost(t *testing.T) {
	everyPeer(t, "response-lost", 1, nil, func(*faultserver.Server, *countingListener) (asks []peerAsk) {
		for i := range 280 { // 5 answered, 200 with a FIN, then with a RST
			a := peerAsk{method: "GET", path: "/claim", key: fmt.Sprintf("get %d", i)}
			switch i % 3 {
			case 1:
				a.method, a.key = "POST", fmt.Sprintf("post %d", i)
			case 2:
				a.method, a.key = "POST", fmt.Sprintf("keyed %d", i)
				a.header = "Idempotency-Key: " + a.key
			}
			asks = append(asks, a)
		}
		return asks
	}, func(t *testing.T, peer string, s *faultserver.Server, asks []peerAsk, said []peerSaid) {
		lost := map[string]int{}
		for i, a := range asks {
			rows := attemptsOf(s, a.key)
			require.NotEmpty(t, rows, a.key)
			if len(rows[0].Faults) == 0 {
				require.Equal(t, 200, said[i].Status, "%s: %s", a.key, said[i].Why)
				require.Len(t, rows, 1, a.key)
				continue
			}
			repeats, certain := peerHabit{peer, a}.repeats()
			if !certain {
				repeats = len(rows) > 1
			}
			lost[fmt.Sprint(a.method, " ", rows[0].Faults[0])]++
			if repeats {
				require.Equal(t, 200, said[i].Status, "%s: %s", a.key, said[i].Why)
				require.Equal(t, 2, s.Journal().Executions()[a.key], a.key)
				require.Equal(t, 1, rows[1].NthOnConn, "%s is repeated on a fresh connection", a.key)
			} else {
				require.Zero(t, said[i].Status, a.key)
				require.Equal(t, 1, s.Journal().Executions()[a.key], a.key)
			}
		}
		for _, what := range []string{"GET fin-after-request", "POST fin-after-request", "GET rst-after-request", "POST rst-after-request"} {
			require.Positive(t, lost[what], what)
		}
	})
}

// unanswered holds the first attempt at "/unanswered" until its connection is
// gone, and answers the next ones. It sends half of "/cut".
func unanswered() http.Handler {
	var mu sync.Mutex
	came := map[string]bool{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		mu.Lock()
		key := r.Host + r.Header.Get("X-Fault-Key")
		again := came[key]
		came[key] = true
		mu.Unlock()
		switch {
		case r.URL.Path == "/unanswered" && !again:
			<-r.Context().Done()
		case r.URL.Path == "/cut":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half.")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			io.WriteString(w, "done")
		}
	})
}

// The process ends while requests wait. Whoever may repeat does so; a response
// that has begun is nobody's to repeat, and an error to everybody.
func TestPeersOfAProcessThatJustEnds(t *testing.T) {
	everyPeer(t, "no-graceful-stop", 20, unanswered(), func(*faultserver.Server, *countingListener) []peerAsk {
		return []peerAsk{
			{method: "GET", path: "/", key: "first"},
			{method: "GET", path: "/unanswered", key: "get"},
			{method: "GET", path: "/", key: "second"},
			{method: "POST", path: "/unanswered", key: "post"},
			{method: "GET", path: "/cut", key: "cut"},
		}
	}, func(t *testing.T, peer string, s *faultserver.Server, asks []peerAsk, said []peerSaid) {
		for i, a := range asks {
			rows := attemptsOf(s, a.key)
			require.NotEmpty(t, rows, a.key)
			switch a.path {
			case "/":
				require.Equal(t, 200, said[i].Status, "%s: %s", a.key, said[i].Why)
			case "/cut":
				require.Zero(t, said[i].Status)
				require.Len(t, rows, 1)
				require.Equal(t, 200, rows[0].Status, "an answer began")
			default:
				require.Equal(t, faultserver.Killed, connOf(t, s, a.key).ClosedBy)
				repeats, certain := peerHabit{peer, a}.repeats()
				if !certain {
					repeats = len(rows) > 1
				}
				// On a fresh connection nobody repeats: it cannot have been the
				// end of an idle one that struck.
				if repeats && rows[0].NthOnConn > 1 {
					require.Equal(t, 200, said[i].Status, "%s: %s", a.key, said[i].Why)
					require.Equal(t, 2, s.Journal().Executions()[a.key], a.key)
				} else {
					require.Zero(t, said[i].Status, a.key)
					require.Equal(t, 1, s.Journal().Executions()[a.key], a.key)
				}
			}
		}
	})
}

// A server that says that it is leaving loses nobody: HTTP/1 clients are told
// Connection: close (RFC 9112 section 9.6), HTTP/2 clients GOAWAY (RFC 9113
// section 6.8), each while it waits for an answer, which still comes; the next
// request goes over another connection.
func TestPeersAreToldThatAServerLeaves(t *testing.T) {
	var mu sync.Mutex
	servers := map[string]*faultserver.Server{} // by Host
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/long" {
			mu.Lock()
			s := servers[r.Host]
			mu.Unlock()
			// By then the server has been told to stop in a phase that began
			// later than this.
			enough := s.Phase().Round + 2
			until(r.Context(), func() bool { return s.Phase().Round >= enough })
		}
		io.WriteString(w, "done")
	})
	everyPeer(t, "graceful-falcon", 40, h, func(s *faultserver.Server, _ *countingListener) []peerAsk {
		mu.Lock()
		servers[s.Addr().String()] = s
		mu.Unlock()
		return []peerAsk{
			{method: "GET", path: "/", key: "before"},
			{method: "POST", path: "/long", key: "during"},
			{method: "POST", path: "/", key: "after"},
		}
	}, func(t *testing.T, _ string, s *faultserver.Server, asks []peerAsk, said []peerSaid) {
		for i := range asks {
			require.Equal(t, 200, said[i].Status, said[i].Why)
		}
		s.Journal().AssertEachExecutedOnce(t)
		told := connOf(t, s, "during")
		t.Log(told.Proto)
		require.NotEqual(t, told.ID, connOf(t, s, "after").ID)
		require.Greater(t, connOf(t, s, "after").Generation, told.Generation)
	})
}

// Silence is nothing that any of them notices: each waits for as long as it was
// told to, and none repeats what timed out.
func TestPeersOfAMachineThatDisappears(t *testing.T) {
	everyPeer(t, "node-autoscaling", 40, nil, func(s *faultserver.Server, _ *countingListener) []peerAsk {
		return []peerAsk{
			{method: "GET", path: "/", key: "while it serves"},
			{gate: func(ctx context.Context) {
				until(ctx, func() bool { return s.Phase().Phase == "machine-disappears" })
			}},
			{method: "GET", path: "/", key: "get", timeout: 200 * time.Millisecond},
			{method: "POST", path: "/", key: "post", timeout: 200 * time.Millisecond},
		}
	}, func(t *testing.T, _ string, s *faultserver.Server, asks []peerAsk, said []peerSaid) {
		require.Equal(t, 200, said[0].Status, said[0].Why)
		for i, a := range asks[2:] {
			require.Zero(t, said[i+2].Status)
			require.LessOrEqual(t, len(attemptsOf(s, a.key)), 1, a.key)
			require.Zero(t, s.Journal().Executions()[a.key], a.key)
		}
	})
}
