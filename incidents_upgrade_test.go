package idlewise_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// upgrading answers an Upgrade with 101 and shouts back, line by line.
func upgrading(l *ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			l.ServeHTTP(w, r)
			return
		}
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer nc.Close()
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(nc, line)
		}
	})
}

// Nothing that a transport does could save an upgraded connection: with both,
// the program sees how it ended, and when. What idlewise adds is that its books
// say what became of it.
func TestIncidentLB30sUpgradeIsPassedThroughAndCounted(t *testing.T) {
	in := incident{scenario: "lb-30s-upgrade", latency: 10 * time.Millisecond, handler: upgrading}
	var lived time.Duration
	var end error
	var ends chan idlewise.UpgradeEnd
	program := func(p *play) {
		ends = make(chan idlewise.UpgradeEnd, 1)
		req := p.newRequest("GET", "upgrade")
		req = req.WithContext(idlewise.WithTrace(req.Context(), &idlewise.Trace{UpgradeDone: func(e idlewise.UpgradeEnd) { ends <- e }}))
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		resp, err := p.rt.RoundTrip(req)
		require.NoError(p, err)
		defer resp.Body.Close()
		require.Equal(p, http.StatusSwitchingProtocols, resp.StatusCode)
		line := bufio.NewReader(resp.Body)
		for n := 0; ; n++ {
			sent := fmt.Sprintf("line %d\n", n)
			if _, end = io.WriteString(resp.Body.(io.Writer), sent); end != nil {
				break
			}
			var got string
			if got, end = line.ReadString('\n'); end != nil {
				break
			}
			require.Equal(p, sent, got)
			time.Sleep(300 * time.Millisecond)
		}
		lived = time.Since(p.begin)
		resp.Body.Close()
		p.call(p.Context(), p.newRequest("GET", "afterwards"))
		synctest.Wait()
	}
	passedThrough := func(p *play) {
		require.Equal(p, 30*time.Second, lived.Truncate(time.Second))
		require.ErrorIs(p, end, syscall.ECONNRESET)
		require.Empty(p, p.failures(always))
		require.EqualValues(p, 2, p.dials.Load())
		require.Equal(p, map[string]int{"upgrade": 1, "afterwards": 1}, p.pods[0].Journal().Executions())
	}
	in.withBoth(t, program, func(p *play) {
		passedThrough(p)
		s := p.tr.Stats().Total
		require.EqualValues(p, 1, s.Closed[idlewise.ClosedUpgraded])
		require.Equal(p, map[idlewise.EndedBy]uint64{idlewise.EndedByServerRST: 1}, s.UpgradesEnded)
		ended := <-ends
		require.Equal(p, idlewise.EndedByServerRST, ended.By)
		require.Equal(p, 30*time.Second, ended.Upgraded.Truncate(time.Second))
		require.Greater(p, ended.Age, ended.Upgraded)
		require.Contains(p, ended.String(), "ended by server_rst after 30")
		delete(s.Closed, idlewise.ClosedUpgraded)
		delete(s.Closed, idlewise.ClosedShutdown) // the other one, at the end of the play
		require.Empty(p, s.Closed)
		require.Zero(p, s.StaleIdempotent+s.StaleOther)
		require.Empty(p, s.Failed)
	}, passedThrough)
}
