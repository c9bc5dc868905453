package faultserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

// fate is what became of a connection after a drain began: an answer, with or
// without Connection: close, and the end, in seconds from since.
func fate(nc net.Conn, since time.Time) string {
	br := bufio.NewReader(nc)
	nc.SetReadDeadline(time.Now().Add(time.Hour))
	said := ""
	_, err := br.Peek(1)
	if err == nil {
		var resp *http.Response
		resp, err = http.ReadResponse(br, nil)
		if err != nil {
			return "broken answer: " + err.Error()
		}
		io.Copy(io.Discard, resp.Body)
		said = "answer, "
		if resp.Close {
			said = "answer with close, "
		}
		_, err = io.Copy(io.Discard, br)
	}
	how := "FIN"
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		how = "RST"
	case err != nil && err != io.EOF:
		how = err.Error()
	}
	return fmt.Sprintf("%s%s at %.0f", said, how, time.Since(since).Seconds())
}

const slowAnswer = 10 * time.Second

func slowly(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/slow" {
		time.Sleep(slowAnswer)
	}
	io.WriteString(w, "ok")
}

// drainFates puts a connection in each state and drains.
func drainFates(t *testing.T, server string) (fates map[string]string) {
	fates = map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Personality: server, Handler: http.HandlerFunc(slowly)})
		idle, fresh, busy, next := dial(), dial(), dial(), dial()
		defer endVirtual(s, idle, fresh, busy, next)
		exchangeRaw(t, idle)
		exchangeRaw(t, next)
		io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
		time.Sleep(time.Second)
		since := time.Now()
		s.Restart()
		results := make(chan [2]string)
		report := func(name string, nc net.Conn) { go func() { results <- [2]string{name, fate(nc, since)} }() }
		report("idle", idle)
		report("busy", busy)
		time.Sleep(500 * time.Millisecond)
		for name, nc := range map[string]net.Conn{"fresh": fresh, "next": next} {
			io.WriteString(nc, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
			report(name, nc)
		}
		for range 4 {
			r := <-results
			fates[r[0]] = r[1]
		}
	})
	return fates
}

func TestDrainActsAsTheServerDoes(t *testing.T) {
	const atOnce = "FIN at 0"
	for server, want := range map[string]map[string]string{
		"":            {"idle": atOnce, "fresh": "answer with close, FIN at 1", "busy": "answer with close, FIN at 9", "next": atOnce},
		"nginx":       {"idle": atOnce, "fresh": "answer with close, FIN at 1", "busy": "answer with close, FIN at 9", "next": atOnce},
		"uvicorn":     {"idle": atOnce, "fresh": atOnce, "busy": "answer, FIN at 9", "next": atOnce},
		"go":          {"idle": atOnce, "fresh": "FIN at 1", "busy": "answer with close, FIN at 9", "next": atOnce},
		"node":        {"idle": atOnce, "fresh": "answer, FIN at 7", "busy": "answer, FIN at 15", "next": atOnce},
		"gunicorn":    {"idle": "", "fresh": "answer with close, FIN at 1", "busy": "answer, FIN at 9", "next": "answer with close, FIN at 1"},
		"spring-boot": {"idle": "FIN at 30", "fresh": "answer, FIN at 1", "busy": "answer, FIN at 9", "next": "RST at 1"},
		"tomcat":      {"idle": "FIN at 9", "fresh": "FIN at 1", "busy": "answer, FIN at 9", "next": "FIN at 1"},
		"haproxy":     {"idle": atOnce, "fresh": "answer with close, FIN at 1", "busy": "answer with close, FIN at 9", "next": atOnce},
		"puma":        {"idle": atOnce, "fresh": atOnce, "busy": "answer with close, FIN at 9", "next": atOnce},
		"envoy":       {"idle": "FIN at 600", "fresh": "answer with close, FIN at 1", "busy": "answer with close, FIN at 9", "next": "answer with close, FIN at 1"},
		"aws-nlb":     {"idle": "FIN at 300", "fresh": "answer, FIN at 300", "busy": "answer, FIN at 300", "next": "answer, FIN at 300"},
	} {
		t.Run(server, func(t *testing.T) {
			got := drainFates(t, server)
			if want["idle"] == "" { // its idle timeout comes first
				delete(want, "idle")
				delete(got, "idle")
			}
			require.Equal(t, want, got)
		})
	}
}

func TestGunicornKeepsIdleConnectionsUntilTheBusyOnesHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Personality: "gunicorn", IdleTimeout: time.Hour, Handler: http.HandlerFunc(slowly)})
		idle, busy := dial(), dial()
		defer endVirtual(s, idle, busy)
		exchangeRaw(t, idle)
		io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
		time.Sleep(time.Second)
		since := time.Now()
		s.Restart()
		require.Equal(t, "FIN at 9", fate(idle, since))
	})
}

func TestNginxWaitsLongForAFirstRequestWhenItQuits(t *testing.T) {
	for after, want := range map[time.Duration]string{
		50 * time.Second: "answer with close, FIN at 50", 70 * time.Second: "FIN at 60",
	} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{Personality: "nginx"})
			c := dial()
			defer endVirtual(s, c)
			time.Sleep(time.Second)
			since := time.Now()
			s.Restart()
			done := make(chan string)
			go func() { done <- fate(c, since) }()
			time.Sleep(after)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
			require.Equal(t, want, <-done)
		})
	}
}

func TestEveryPersonalitysDrainEnds(t *testing.T) {
	for _, server := range faultserver.Personalities() {
		for _, protocol := range []func(*http.Protocols, bool){http1, h2c} {
			synctest.Test(t, func(t *testing.T) {
				s, dial := virtual(t, faultserver.Config{Personality: server, Protocols: protocols(protocol), Handler: http.HandlerFunc(slowly)})
				idle, fresh := dial(), dial()
				defer endVirtual(s, idle, fresh)
				resp, err := s.Client().Get(s.URL)
				require.NoError(t, err)
				resp.Body.Close()
				time.Sleep(time.Second)
				since := time.Now()
				require.NoError(t, s.Drain(t.Context()))
				require.LessOrEqual(t, time.Since(since), 10*time.Minute+time.Second)
				for _, c := range s.Journal().Conns() {
					require.NotEqual(t, faultserver.StillOpen, c.ClosedBy, server)
				}
			})
		}
	}
}

func TestDrainSendsHTTP2TheGoAwaysOfTheServer(t *testing.T) {
	for server, want := range map[string]string{
		"":       "last 2147483647 at 0, answer at 9, last 1 at 0, FIN at 9",
		"go":     "last 1 at 0, answer at 9, FIN at 10",
		"nginx":  "last 1 at 0, answer at 9, FIN at 9",
		"envoy":  "last 2147483647 at 0, last 1 at 5, answer at 9, FIN at 9",
		"falcon": "last 1 at 0, answer at 9, FIN at 9",
	} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{Personality: server, Protocols: protocols(h2c), Handler: http.HandlerFunc(slowly)})
			c := framesOver(t, dial())
			defer endVirtual(s, c)
			c.SetDeadline(time.Time{})
			c.open("GET", "/slow", true)
			time.Sleep(time.Second)
			since := time.Now()
			s.Restart()
			var seen []string
			for {
				f, err := c.fr.ReadFrame()
				at := fmt.Sprintf(" at %.0f", time.Since(since).Seconds())
				if err != nil {
					require.ErrorIs(t, err, io.EOF)
					seen = append(seen, "FIN"+at)
					break
				}
				switch f := f.(type) {
				case *h2.PingFrame:
					require.NoError(t, c.fr.WritePing(true, f.Data))
				case *h2.GoAwayFrame:
					seen = append(seen, fmt.Sprint("last ", f.LastStreamID, at))
				case *h2.DataFrame:
					seen = append(seen, "answer"+at)
				}
			}
			require.ElementsMatch(t, strings.Split(want, ", "), seen, server)
		})
	}
}

func TestALateRequestToGoIsNeitherAnsweredNorExecuted(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Personality: "go"})
	c := dialRaw(t, s)
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return len(s.Journal().Conns()) == 1 }))
	s.Restart()
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	c.wantFIN()
	require.Empty(t, s.Journal().Requests())
	require.Equal(t, faultserver.Draining, onlyConn(t, s).Reason)
}
