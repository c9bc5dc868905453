package memnet_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// The scripts below run over loopback sockets and in memory, and every step
// must come to the same on both.
//
// A step is a letter for the end, c or s, and what it does:
//
//	c write N    N bytes         c read N     one Read with room for N bytes
//	c shut       CloseWrite      c close      Close
//	c abort      SetLinger(0), Close
//	c error      SO_ERROR        c peek       recv(MSG_PEEK)
//	c shutread   CloseRead
//
// After each, both ends' books are compared once they have come to rest.
var scripts = map[string]string{
	"nothing at all":                           "",
	"a request and its response":               "c write 11; s read 99; s write 7; c read 99",
	"a write that is read in parts":            "c write 11; s read 5; s peek; s read 99",
	"both close, the client first":             "c close; s read 9; s write 3; s close",
	"both shut, the client first":              "c shut; s read 9; s write 3; c read 9; s shut; c read 9; c write 1; s write 1",
	"both shut, the server first":              "s shut; c read 9; c peek; c write 3; s read 9; c shut; s read 9; s error; c error",
	"a half-closed server reads what comes":    "s shut; c write 11; s read 99; s write 1; c write 5; s close; c error; c read 9; c write 1",
	"a half-closed server that does not read":  "s shut; c write 11; s close; c peek; c error; c write 1; c read 9",
	"a request after the FIN":                  "s close; c write 11; c error; c error; c write 1; c read 9",
	"a request after the FIN, then written":    "s close; c write 11; c write 1; c write 1; c read 9",
	"a request after the FIN, then read":       "s close; c write 11; c read 9; c peek; c write 1; c write 1",
	"the FIN is read, then a request":          "s close; c read 9; c write 11; c read 9; c write 1",
	"closed with unread data":                  "c write 11; s close; c read 9; c read 9; c write 1",
	"closed with some data unread":             "c write 11; s read 5; s close; c write 1; c write 1; c read 9",
	"closed with unread data, error taken":     "c write 11; s close; c error; c read 9; c write 1",
	"closed with unread data, error peeked":    "c write 11; s close; c peek; c peek; c read 9; c write 1",
	"closed with unread data, own data unread": "s write 7; c write 11; s close; c read 9; c read 9; c read 9",
	"aborted":                          "s abort; c read 9; c read 9; c write 1",
	"aborted, written to":              "s abort; c write 5; c write 5; c read 9",
	"aborted behind a response":        "s write 7; s abort; c peek; c read 99; c read 9; c read 9",
	"aborted behind a FIN":             "s shut; c read 9; s abort; c error; c read 9; c write 1",
	"aborted after both FINs":          "s shut; c shut; s abort; c error; c read 9; c write 1",
	"answered, then closed with a FIN": "c write 11; s read 99; s write 7; s close; c read 99; c read 9; c write 5; c write 5",
	"a FIN is not unread data":         "c shut; s close; c read 9; c error",
	"read side shut":                   "c shutread; c read 9; s write 7; c read 9; c read 9; c write 5; s read 9",
	"both sides shut by one end":       "c shutread; c shut; s write 7; c error; s read 9; s write 1",
	"both sides shut, error left":      "c shutread; c shut; s write 7; c read 9; c read 9; s write 1; s read 9",
	"shut twice":                       "c shut; c shut; c write 1; s shut; c shut; s shut",
	"used after close":                 "c close; c read 9; c write 1; c shut; c close; c peek; s read 9",
}

func TestMemnetAndTheKernelAgreeStepByStep(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			inMemory := runInMemory(t, script)
			onLoopback(t, script, inMemory)
		})
	}
}

// TestMemnetAndTheKernelAgreeOnScriptsDrawnAtRandom covers the corners that
// nobody thought of. IDLEWISE_SCRIPTS is how many to draw.
func TestMemnetAndTheKernelAgreeOnScriptsDrawnAtRandom(t *testing.T) {
	count := 40
	if n, err := strconv.Atoi(os.Getenv("IDLEWISE_SCRIPTS")); err == nil {
		count = n
	}
	for seed := range uint64(count) {
		script, inMemory := drawScript(t, seed)
		t.Run(fmt.Sprint(seed, ": ", script), func(t *testing.T) {
			t.Parallel() // most of it waits for delayed acknowledgements
			onLoopback(t, script, inMemory)
		})
	}
}

// drawScript writes a script while it runs in memory, so that it never reads
// where nothing would ever come.
func drawScript(t *testing.T, seed uint64) (script string, moments []moment) {
	draw := rand.New(rand.NewPCG(seed, 0))
	actions := strings.Split("write 11,write 1,write 3000,write 11,read 5,read 99,read 99,read 99,read 99,shut,shut,close,abort,error,peek,shutread", ",")
	between(t, memnet.Options{DelayedAck: 40 * time.Millisecond}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		record := func(step string) {
			result := perform(step, client, server)
			time.Sleep(time.Second)
			synctest.Wait()
			moments = append(moments, moment{result, lookAt(client), lookAt(server)})
		}
		record(steps("")[0])
		for range 3 + draw.IntN(12) {
			name, end := "c", client
			if draw.IntN(2) == 0 {
				name, end = "s", server
			}
			step := name + " " + actions[draw.IntN(len(actions))]
			if strings.Contains(step, "read ") && wouldWait(end) {
				continue
			}
			if script != "" {
				script += "; "
			}
			script += step
			record(step)
		}
		client.Close()
		server.Close()
	})
	return script, moments
}

// wouldWait reports whether a Read would. It takes no pending error, as Peek
// would.
func wouldWait(c *memnet.Conn) bool {
	a := c.Accounting()
	if a.State == memnet.Closed || a.PendingError != nil {
		return false
	}
	n, pending, open := c.Peek()
	return open && n == 0 && pending == nil
}

// A step's result, and the books of both ends once they are at rest.
type moment struct {
	result         string
	client, server look
}

// look is what the kernel shows of an open connection.
type look struct {
	open                    bool
	state                   tcpinfo.State
	acked, queued, received uint64
}

func lookAt(c net.Conn) look {
	info, ok := tcpinfo.Of(c)
	if !ok {
		return look{}
	}
	return look{true, info.State, info.Acked, info.Queued, info.Received}
}

func steps(script string) []string {
	all := []string{"c nothing"} // how both begin
	if script != "" {
		all = append(all, strings.Split(script, "; ")...)
	}
	return all
}

func runInMemory(t *testing.T, script string) (moments []moment) {
	between(t, memnet.Options{DelayedAck: 40 * time.Millisecond}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		for _, step := range steps(script) {
			result := perform(step, client, server)
			time.Sleep(time.Second)
			synctest.Wait()
			moments = append(moments, moment{result, lookAt(client), lookAt(server)})
		}
		client.Close()
		server.Close()
	})
	return moments
}

func onLoopback(t *testing.T, script string, want []moment) {
	client, server := loopback(t)
	for i, step := range steps(script) {
		result := perform(step, client, server)
		require.Equal(t, result, want[i].result, "%q: the kernel's result, then memnet's", step)
		var got moment
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
			got = moment{result, lookAt(client), lookAt(server)}
			if got == want[i] {
				break
			}
		}
		require.Equal(t, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want[i]), "after %q: the kernel's books, then memnet's", step)
	}
}

func loopback(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

type tcpConn interface {
	net.Conn
	CloseWrite() error
	CloseRead() error
}

// perform does one step and says what came of it in words that do not depend
// on whose connection it is.
func perform(step string, client, server net.Conn) string {
	var end, action string
	var size int
	fmt.Sscan(step, &end, &action, &size)
	c := client.(tcpConn)
	if end == "s" {
		c = server.(tcpConn)
	}
	n, err := 0, error(nil)
	switch action {
	case "write":
		c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		n, err = c.Write(make([]byte, size))
	case "read":
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err = c.Read(make([]byte, size))
	case "shut":
		err = c.CloseWrite()
	case "shutread":
		err = c.CloseRead()
	case "close":
		err = c.Close()
	case "abort":
		err = abort(c)
	case "error":
		err, _ = tcpinfo.TakeError(c)
	case "peek":
		var pending error
		n, pending, _ = tcpinfo.Peek(c)
		n, err = min(n, 1), pending
	case "nothing":
	default:
		panic(step)
	}
	return fmt.Sprint(n, " ", class(err))
}

func abort(c net.Conn) error {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
		return tcp.Close()
	}
	return c.(*memnet.Conn).Abort()
}

func class(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil, err == io.EOF:
		return fmt.Sprint(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "deadline"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "unknown: " + err.Error()
}

// Buffers differ, and so only what a closed window looks like is compared.
func TestMemnetAndTheKernelAgreeOnAClosedWindow(t *testing.T) {
	type picture struct {
		state, stateAfterShut                        tcpinfo.State
		failure                                      string
		unacked                                      uint32
		notSent, probesUnanswered, drained, finAcked bool
	}
	observe := func(client, server tcpConn, patience time.Duration, settled func(func() bool)) (p picture) {
		tooMuch := make([]byte, 32<<20) // before the clock runs: under the race detector it takes its time
		client.SetWriteDeadline(time.Now().Add(patience))
		_, err := client.Write(tooMuch)
		p.failure = class(err)
		info := func() tcpinfo.Info {
			i, ok := tcpinfo.Of(client)
			require.True(t, ok)
			return i
		}
		settled(func() bool { return info().Unacked == 0 })
		p.state, p.unacked = info().State, info().Unacked
		p.notSent = info().NotSent > 0 && info().NotSent == info().Queued
		p.probesUnanswered = info().Probes > 1
		require.NoError(t, client.CloseWrite())
		p.stateAfterShut = info().State
		server.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, err = io.Copy(io.Discard, server)
		p.drained = err == nil
		settled(func() bool { return info().Queued == 0 })
		p.finAcked = info().State == tcpinfo.FinWait2
		return p
	}

	var inMemory picture
	between(t, memnet.Options{DelayedAck: 40 * time.Millisecond}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		inMemory = observe(client, server, time.Minute, func(func() bool) { pass(time.Second) })
		client.Close()
		server.Close()
	})
	client, server := loopback(t)
	onLoopback := observe(client, server, time.Second, func(done func() bool) {
		require.Eventually(t, done, 10*time.Second, time.Millisecond)
	})
	require.Equal(t, onLoopback, inMemory, "the kernel's, then memnet's")
	require.True(t, inMemory.notSent)
}
