package idlewise

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/internal/netlab"
)

// fromServer reports whether the packet is one of the server's with all of the
// flags.
func fromServer(p netlab.Packet, flags netlab.Flags) bool {
	return p.Direction == netlab.ToClient && p.Flags.Has(flags)
}

// A server shuts down its writing side and executes what still arrives, and its
// acknowledgement is lost: an EOF with nothing acknowledged is all that the
// client ever sees.
func TestALostAcknowledgementProvesNothing(t *testing.T) {
	lab := netlab.New(t)
	n := kernelNet(lab, 20*time.Millisecond, false)
	n.cross = nil // the filter is this test's
	fin := false
	lab.Filter(func(p netlab.Packet) netlab.Verdict {
		if fin && p.Direction == netlab.ToClient && p.PureAck() {
			return netlab.Drop // nothing that comes behind the FIN
		}
		fin = fin || fromServer(p, netlab.FIN)
		return netlab.Pass
	})
	p := n.perform(t, closing{end: func(v *visit) {
		v.halfClose()
		v.execute()
		v.clientGone()
	}}, "POST", Policy{})
	require.Equal(t, Unknown, p.attempts[0].Evidence)
	require.ErrorContains(t, p.err, "delivery unknown")
	require.Equal(t, 1, p.executed)
	require.Len(t, p.attempts, 1)
	require.NotZero(t, lab.Counters(netlab.ToClient).Dropped)
}

// The same, but the RST that does come is that of a connection whose request was
// acknowledged before: only the books tell.
func TestARSTAfterAnAcknowledgementProvesNothing(t *testing.T) {
	lab := netlab.New(t)
	n := kernelNet(lab, 20*time.Millisecond, false)
	p := n.perform(t, closing{end: func(v *visit) {
		acked := lab.Arrival(func(p netlab.Packet) bool { return p.PureAck() && p.Direction == netlab.ToClient })
		v.halfClose()
		v.execute()
		<-acked
		v.abort()
	}}, "POST", Policy{})
	require.Equal(t, Unknown, p.attempts[0].Evidence)
	require.Equal(t, 1, p.executed)
}

// nodeHalfCloser is a server that ends idle connections as many Node programs
// do: with a FIN of its own, after which it goes on reading and executing.
const nodeHalfCloser = `
const http = require('http')
const server = http.createServer((req, res) => {
  req.resume()
  req.on('end', () => { console.log(req.method); res.end('ok') })
})
server.keepAliveTimeout = 0
server.timeout = 300
server.on('timeout', socket => socket.end())
server.listen(0, '10.77.0.2', () => console.log('port ' + server.address().port))
`

func TestNodeThatHalfClosesIdleConnectionsIsNeverTakenForClosed(t *testing.T) {
	lab := netlab.New(t)
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	n := kernelNet(lab, time.Millisecond, false)
	cmd := exec.Command("node", "-e", nodeHalfCloser)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	lab.Run(netlab.Server, func() { require.NoError(t, cmd.Start()) })
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := newLines(out)
	port := strings.TrimPrefix(lines.next(t), "port ")

	tr, err := New(Config{Base: &http.Transport{DialContext: n.dial}, Policies: Policies{Default: Policy{Learning: Off, LivenessCheckAfter: -1}}})
	require.NoError(t, err)
	defer tr.Close()
	send := func(method string) error {
		req, err := http.NewRequest(method, "http://"+net.JoinHostPort(netlab.ServerIP, port)+"/", nil)
		require.NoError(t, err)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, resp.Body)
		return resp.Body.Close()
	}
	crossed := map[time.Duration]int{}
	for i := range 9 {
		rtt := []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond}[i/3]
		lab.SetDelay(rtt / 2)
		// The request leaves while the FIN is on its way.
		require.NoError(t, send("GET"))
		require.Equal(t, "GET", lines.next(t))
		fin := make(chan struct{}, 1)
		lab.Filter(func(p netlab.Packet) netlab.Verdict {
			if fromServer(p, netlab.FIN) {
				select {
				case fin <- struct{}{}:
				default:
				}
			}
			return netlab.Pass
		})
		select {
		case <-fin:
		case <-time.After(5 * time.Second):
			t.Fatal("Node closes no idle connection")
		}
		if err := send("POST"); err != nil {
			crossed[rtt]++
			require.ErrorContains(t, err, "delivery unknown")
		}
		require.Equal(t, "POST", lines.next(t), "Node executes it, once")
	}
	lines.none(t)
	require.NotZero(t, crossed[100*time.Millisecond])
	require.Zero(t, tr.Stats().Total.Failed[Undelivered])
	t.Logf("of 3 POSTs at each round trip so many crossed the FIN: %v", crossed)
}

// lines are what a program prints.
type lines struct{ ch chan string }

func newLines(r io.Reader) lines {
	l := lines{make(chan string, 1000)}
	go func() {
		defer close(l.ch)
		for s := bufio.NewScanner(r); s.Scan(); {
			l.ch <- s.Text()
		}
	}()
	return l
}

func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-l.ch:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("the program prints nothing")
	}
	return ""
}

func (l lines) none(t *testing.T) {
	t.Helper()
	select {
	case s := <-l.ch:
		t.Fatalf("the program printed %q", s)
	default:
	}
}
