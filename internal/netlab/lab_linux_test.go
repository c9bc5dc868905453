package netlab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// patience is how long a test waits for what is to happen.
const patience = 10 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// pair connects the two sides over a lab.
func pair(t testing.TB, lab *Lab) (client, server *net.TCPConn) {
	t.Helper()
	l, err := lab.Listen(ServerIP + ":0")
	require.NoError(t, err)
	defer l.Close()
	c, err := lab.Dialer()(within(t), "tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
	s, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	deadline := time.Now().Add(patience)
	require.NoError(t, c.SetDeadline(deadline))
	require.NoError(t, s.SetDeadline(deadline))
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// await waits for what the kernel tells, for which there is no event.
func await(t testing.TB, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, time.Millisecond)
}

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing happened")
		panic("unreachable")
	}
}

func info(t testing.TB, c net.Conn) tcpinfo.Info {
	t.Helper()
	i, ok := tcpinfo.Of(c)
	require.True(t, ok)
	return i
}

// serve answers requests on the server side and returns the address and a
// client that dials from the client side.
func serve(t testing.TB, lab *Lab, h http.HandlerFunc) (url string, client *http.Client) {
	t.Helper()
	l, err := lab.Listen(ServerIP + ":0")
	require.NoError(t, err)
	server := &http.Server{Handler: h}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	transport := &http.Transport{DialContext: lab.Dialer()}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		serving.Wait()
	})
	return "http://" + l.Addr().String(), &http.Client{Transport: transport, Timeout: patience}
}

func TestARequestCrossesTheLinkAndIsAnswered(t *testing.T) {
	lab := New(t)
	url, client := serve(t, lab, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello "+r.RemoteAddr)
	})
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(body), "hello "+ClientIP+":"), "%s", body)
	require.Positive(t, lab.Counters(ToServer).Delivered)
	require.Positive(t, lab.Counters(ToClient).Delivered)
}

func TestConnectionsAreExactlyTCPConnsAndNotMultipath(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	for _, c := range []*net.TCPConn{client, server} {
		multipath, err := c.MultipathTCP()
		require.NoError(t, err)
		require.False(t, multipath)
		require.Equal(t, tcpinfo.Established, info(t, c).State)
	}
}

func TestARefusedDialAndAnUnknownNetworkAreErrors(t *testing.T) {
	lab := New(t)
	_, err := lab.Dialer()(within(t), "tcp4", ServerIP+":1")
	require.ErrorContains(t, err, "connection refused")
	_, err = lab.Dialer()(within(t), "unix", "/nowhere")
	require.ErrorIs(t, err, net.UnknownNetworkError("unix"))
}

func TestThirtyTwoMebibytesArriveUnchanged(t *testing.T) {
	lab := New(t, WithDelay(time.Millisecond))
	client, server := pair(t, lab)
	sent := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{}).Read(sent)

	require.NoError(t, client.SetDeadline(time.Now().Add(6*patience)))
	require.NoError(t, server.SetDeadline(time.Now().Add(6*patience)))
	var writing sync.WaitGroup
	writing.Go(func() {
		io.Copy(client, bytes.NewReader(sent))
		client.CloseWrite()
	})
	hash := sha256.New()
	n, err := io.Copy(hash, server)
	writing.Wait()
	require.NoError(t, err)
	require.EqualValues(t, len(sent), n)
	want := sha256.Sum256(sent)
	require.Equal(t, want[:], hash.Sum(nil))
}

func TestTwoLabsAtOnceDoNotDisturbEachOther(t *testing.T) {
	answer := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	get := func(client *http.Client, url string) string {
		resp, err := client.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	one, two := New(t), New(t)
	urlOne, clientOne := serve(t, one, answer("one"))
	urlTwo, clientTwo := serve(t, two, answer("two"))
	require.Equal(t, "one", get(clientOne, urlOne))
	require.Equal(t, "two", get(clientTwo, urlTwo))
	before := two.Counters(ToServer)
	two.Cut()
	require.Equal(t, "one", get(clientOne, urlOne))
	two.Mend()
	require.Equal(t, "two", get(clientTwo, urlTwo))
	require.Greater(t, two.Counters(ToServer).Delivered, before.Delivered)
}

func TestAProcessStartedOnASideIsOfThatSideAndTheCallerIsNot(t *testing.T) {
	lab := New(t)
	namespace := func() string {
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), whereVariable+"=1", "GORACE=atexit_sleep_ms=0")
		out, err := command.Output()
		require.NoError(t, err)
		return string(out)
	}
	home, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	var client, server string
	lab.Run(Client, func() {
		client = namespace()
		lab.Run(Server, func() { server = namespace() })
		require.Equal(t, client, namespace(), "back from a nested Run")
	})
	require.Equal(t, home, namespace())
	require.NotEqual(t, home, client)
	require.NotEqual(t, home, server)
	require.NotEqual(t, client, server)
}

func TestAFunctionThatGivesUpLeavesItsSide(t *testing.T) {
	lab := New(t)
	home, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.Panics(t, func() { lab.Run(Server, func() { panic("given up") }) })
	here, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	require.Equal(t, home, here)
}

func TestASysctlIsSetOnOneSideOnly(t *testing.T) {
	lab := New(t)
	const path = "net/ipv4/tcp_syn_retries"
	read := func() string {
		value, err := os.ReadFile("/proc/sys/" + path)
		require.NoError(t, err)
		return strings.TrimSpace(string(value))
	}
	machine := read()
	if err := lab.Sysctl(Client, path, "3"); os.IsPermission(err) || err != nil && strings.Contains(err.Error(), "read-only") {
		t.Skip(err)
	} else {
		require.NoError(t, err)
	}
	lab.Run(Client, func() { require.Equal(t, "3", read()) })
	lab.Run(Server, func() { require.NotEqual(t, "3", read()) })
	require.Equal(t, machine, read())

	for _, other := range []string{"kernel/panic", "net/../kernel/panic", "../net", "net", ""} {
		require.Error(t, lab.Sysctl(Client, other, "1"), other)
	}
}
