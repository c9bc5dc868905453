package faultserver_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// A peerAsk is one request of a peer, or, with gate, a pause of it: a request to
// another server that is answered when gate returns. Nobody sleeps.
type peerAsk struct {
	method, path, key string
	header            string // "Name: value", or none
	timeout           time.Duration
	gate              func(context.Context)
}

// A peerSaid is what a peer said of an ask, in the order in which they were made.
type peerSaid struct {
	Status int    // 0: there was no answer, or it was cut off
	Why    string // for people
}

// A peerStage has what a peer needs to ask: where, and whom to trust.
type peerStage struct {
	*faultserver.Server
	gates string // URL of the gates
	asks  []peerAsk
}

func (st *peerStage) url(i int) string {
	if st.asks[i].gate != nil {
		return st.gates + "/" + strconv.Itoa(i)
	}
	return st.URL + st.asks[i].path
}

// patient is longer than anything here takes.
const patient = 30 * time.Second

// everyPeer lets net/http, curl and Node ask the same of a server that plays
// the scenario from when the first ask comes, each of one of its own, one
// request after the other.
func everyPeer(t *testing.T, scenario string, scale float64, h http.Handler, asks func(*faultserver.Server, *countingListener) []peerAsk,
	check func(t *testing.T, peer string, s *faultserver.Server, asks []peerAsk, said []peerSaid)) {
	for _, peer := range []struct {
		name string
		run  func(*testing.T, *peerStage) []peerSaid
	}{{"net-http", askNetHTTP}, {"curl", askCurl}, {"node", askNode}} {
		t.Run(peer.name, func(t *testing.T) {
			t.Parallel()
			sc, err := faultserver.LoadScenario(scenario)
			require.NoError(t, err)
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			ln := &countingListener{Listener: tcp}
			s := faultserver.Start(t, faultserver.Config{
				Listener: ln, Handler: h, Personality: sc.Server.Personality, IdleTimeout: sc.Server.IdleTimeout,
				TLS: sc.Server.TLS, Seed: sc.Server.Seed, TimeScale: scale,
			})
			ctx, cancel := context.WithTimeout(t.Context(), patient)
			var playing sync.WaitGroup
			defer playing.Wait()
			defer cancel()
			begin := peerAsk{gate: func(context.Context) {
				playing.Go(func() {
					if err := s.Play(ctx, sc); err != nil && ctx.Err() == nil {
						t.Errorf("play: %v", err)
					}
				})
				until(ctx, func() bool { return s.Phase().Number > 0 })
			}}
			st := &peerStage{Server: s, asks: append([]peerAsk{begin}, asks(s, ln)...)}
			gates := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")); err == nil && i < len(st.asks) {
					st.asks[i].gate(ctx)
				}
			}))
			defer gates.Close()
			st.gates = gates.URL

			all := peer.run(t, st)
			require.Len(t, all, len(st.asks), "%v", all)
			for i, a := range st.asks {
				if a.gate != nil {
					require.Equal(t, peerSaid{Status: 200}, all[i], "gate %d", i)
				}
			}
			require.NoError(t, ctx.Err(), "it took too long")
			t.Log(s.Journal().Summary())
			check(t, peer.name, s, st.asks[1:], all[1:])
		})
	}
}

// A countingListener knows how many of its connections have been closed by the
// server, with their FIN or RST sent. The journal knows a moment too early.
type countingListener struct {
	net.Listener
	open atomic.Int64
}

type countedConn struct {
	*net.TCPConn
	closed func()
}

func (l *countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return countedConn{nc.(*net.TCPConn), sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

func (c countedConn) Close() error {
	defer c.closed()
	return c.TCPConn.Close()
}

// Abort is how the server resets a connection that is not a *net.TCPConn.
func (c countedConn) Abort() error {
	c.SetLinger(0)
	return c.Close()
}

// until asks again and again, for what no journal row tells.
func until(ctx context.Context, done func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() && ctx.Err() == nil {
		<-tick.C
	}
}

// askNetHTTP asks with a net/http client that has only its default settings
// and, under TLS, the server's certificate.
func askNetHTTP(t *testing.T, st *peerStage) []peerSaid {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.Proxy = nil // like the other peers
	if st.TLSClientConfig() != nil {
		tr.TLSClientConfig = st.TLSClientConfig()
	}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	all, stop := context.WithTimeout(t.Context(), patient)
	defer stop()
	one := func(i int) peerSaid {
		a := st.asks[i]
		ctx, cancel := context.WithTimeout(all, cmp.Or(a.timeout, patient))
		defer cancel()
		var body io.Reader
		if a.method == "POST" {
			body = strings.NewReader("5 EUR")
		}
		req, err := http.NewRequestWithContext(ctx, a.method, st.url(i), body)
		require.NoError(t, err)
		req.Header.Set("X-Fault-Key", a.key)
		if name, value, ok := strings.Cut(a.header, ": "); ok {
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			return peerSaid{Why: err.Error()}
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return peerSaid{Why: err.Error()}
		}
		return peerSaid{Status: resp.StatusCode}
	}
	var heard []peerSaid
	for i := range st.asks {
		heard = append(heard, one(i))
	}
	return heard
}

// askCurl asks with one curl for all, which therefore reuses its connections.
func askCurl(t *testing.T, st *peerStage) []peerSaid {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	var certificate string
	if st.TLSClientConfig() != nil {
		certificate = filepath.ToSlash(certificateFile(t, st))
	}
	var config strings.Builder
	for i, a := range st.asks {
		if i > 0 {
			config.WriteString("next\n")
		}
		option := func(name, value string) { fmt.Fprintf(&config, "%s = %q\n", name, value) }
		config.WriteString("silent\n")
		option("noproxy", "*")
		option("url", st.url(i))
		option("output", filepath.ToSlash(os.DevNull))
		option("write-out", "%{exitcode} %{http_code}\n")
		option("header", "X-Fault-Key: "+a.key)
		if a.header != "" {
			option("header", a.header)
		}
		if a.method == "POST" {
			option("data", "5 EUR")
		}
		if certificate != "" {
			option("cacert", certificate)
		}
		if a.timeout > 0 {
			option("max-time", fmt.Sprint(a.timeout.Seconds()))
		}
	}
	out := output(t, command(t, curl, "-q", "--config", "-"), config.String()) // -q: no ~/.curlrc
	var all []peerSaid
	for line := range strings.Lines(out) {
		var exit, status int
		if _, err := fmt.Sscan(line, &exit, &status); err != nil {
			t.Skipf("curl is older than 7.75, it has no %%{exitcode}: %q", line)
		}
		if exit != 0 {
			all = append(all, peerSaid{Why: fmt.Sprintf("exit code %d", exit)})
			continue
		}
		all = append(all, peerSaid{Status: status})
	}
	return all
}

const nodeProgram = `
process.stdin.setEncoding('utf8');
let text = '';
process.stdin.on('data', more => text += more).on('end', async () => {
  for (const a of JSON.parse(text)) {
    let line;
    try {
      const resp = await fetch(a.URL, {
        method: a.Method, headers: a.Headers, body: a.Method === 'POST' ? '5 EUR' : undefined,
        signal: a.Timeout ? AbortSignal.timeout(a.Timeout) : undefined,
      });
      await resp.text();
      line = {Status: resp.status};
    } catch (err) {
      line = {Why: [err.name, err.message, err.cause && (err.cause.code || err.cause.message)].join(' ')};
    }
    console.log(JSON.stringify(line));
  }
});`

// askNode asks with the fetch of Node, undici, with its default agent.
func askNode(t *testing.T, st *peerStage) []peerSaid {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	version := output(t, command(t, node, "--version"), "")
	var major int
	if _, err := fmt.Sscanf(version, "v%d.", &major); err != nil || major < 18 {
		t.Skipf("fetch came with Node 18, this is %q", version)
	}
	type nodeAsk struct {
		URL, Method string
		Headers     map[string]string
		Timeout     int64 // ms
	}
	var asks []nodeAsk
	for i, a := range st.asks {
		headers := map[string]string{"X-Fault-Key": a.key}
		if name, value, ok := strings.Cut(a.header, ": "); ok {
			headers[name] = value
		}
		asks = append(asks, nodeAsk{st.url(i), cmp.Or(a.method, "GET"), headers, a.timeout.Milliseconds()})
	}
	program, err := json.Marshal(asks)
	require.NoError(t, err)
	cmd := command(t, node, "-e", nodeProgram)
	if st.TLSClientConfig() != nil {
		cmd.Env = append(cmd.Environ(), "NODE_EXTRA_CA_CERTS="+certificateFile(t, st))
	}
	var all []peerSaid
	for line := range strings.Lines(output(t, cmd, string(program))) {
		var one peerSaid
		require.NoError(t, json.Unmarshal([]byte(line), &one), line)
		all = append(all, one)
	}
	return all
}

// command is a program that is ended if it takes too long.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, name, args...)
}

// output runs a program to its end. What it exits with is the last transfer's
// result for curl, and was said already.
func output(t *testing.T, cmd *exec.Cmd, stdin string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	if stderr.Len() > 0 {
		t.Logf("%s: %s", cmd.Path, stderr.Bytes())
	}
	return string(out)
}

// certificateFile has the server's certificate, as whoever connects is shown it.
func certificateFile(t *testing.T, st *peerStage) string {
	t.Helper()
	c, err := tls.Dial("tcp", st.Addr().String(), st.TLSClientConfig())
	require.NoError(t, err)
	defer c.Close()
	file := filepath.Join(t.TempDir(), "certificate.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: c.ConnectionState().PeerCertificates[0].Raw}
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	return file
}
