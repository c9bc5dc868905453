//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// patience bounds every wait; none needs more than a moment.
const patience = 30 * time.Second

var buildDir string // "" unless a test needed the binary

// binary builds the command once.
var binary = sync.OnceValues(func() (string, error) {
	var err error
	if buildDir, err = os.MkdirTemp("", "faultserver"); err != nil {
		return "", err
	}
	file := filepath.Join(buildDir, "faultserver")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// process is a running faultserver.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdout  *bufio.Reader
	stderr  bytes.Buffer // to be read after wait
	url     string
	control string
}

// launch runs the command until it has said where it listens.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	p := newProcess(t, append([]string{"-listen", "127.0.0.1:0"}, args...)...)
	p.url = p.announced("listening on ")
	if strings.Contains(strings.Join(args, " "), "-control ") {
		p.control = p.announced("control on ")
	}
	return p
}

func newProcess(t *testing.T, args ...string) *process {
	t.Helper()
	file, err := binary()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &process{t: t, cmd: exec.CommandContext(ctx, file, args...)}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.stdout = bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		cancel() // kills what a failed test has left running
		p.cmd.Wait()
	})
	return p
}

func (p *process) announced(what string) string {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.cmd.Wait()
	}
	require.NoError(p.t, err, "%s", &p.stderr)
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), what)
	require.True(p.t, ok, line)
	return rest
}

// end waits for the end and returns the exit code and the rest of the output.
func (p *process) end() (int, string) {
	p.t.Helper()
	out, err := io.ReadAll(p.stdout)
	require.NoError(p.t, err)
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil {
		require.True(p.t, errors.As(err, &exit), "%v", err)
	}
	return p.cmd.ProcessState.ExitCode(), string(out)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// ownClient shares no connections with other tests.
func ownClient(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestItServesDrainsOnSIGTERMAndLeavesItsJournal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "journal.jsonl")
	p := launch(t, "-personality", "uvicorn", "-time-scale", "50", "-fault", "status code=503 nth=2", "-control", "127.0.0.1:0",
		"-journal", file)
	client := ownClient(t)

	// The personality is in force: an idle connection is closed.
	nc, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(t, err)
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(nc, "GET /first HTTP/1.1\r\nHost: t\r\n\r\n")
	require.NoError(t, err)
	rest, err := io.ReadAll(nc)
	require.NoError(t, err)
	require.Contains(t, string(rest), "GET /first 0")

	status, _ := get(t, client, p.url)
	require.Equal(t, 503, status)
	resp, err := client.Post(p.control+"/faults", "text/plain", strings.NewReader("status code=418 times=1"))
	require.NoError(t, err)
	resp.Body.Close()
	status, _ = get(t, client, p.url)
	require.Equal(t, 418, status)

	p.signal(syscall.SIGTERM)
	code, out := p.end()
	require.Equal(t, exitFine, code, "%s", &p.stderr)
	require.Contains(t, out, "3 requests, 1 execution,")
	require.Contains(t, out, "faults: 2 status")
	text, err := os.Open(file)
	require.NoError(t, err)
	defer text.Close()
	j, err := faultserver.ReadJSONL(text)
	require.NoError(t, err)
	require.Len(t, j.Requests(), 3)
	j.AssertNoneOpen(t)
	require.Contains(t, p.stderr.String(), "draining, at most 30s")
}

func TestSIGINTLetsARunningRequestFinish(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "from the origin")
	}))
	defer origin.Close()
	p := launch(t, "-handler", "proxy:"+origin.URL)
	got := make(chan string, 1)
	client := ownClient(t)
	go func() {
		resp, err := client.Get(p.url)
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- fmt.Sprint(string(body), ", close: ", resp.Close)
	}()
	<-arrived
	p.signal(os.Interrupt)
	// It no longer listens, but waits.
	for {
		nc, err := net.DialTimeout("tcp", strings.TrimPrefix(p.url, "http://"), patience)
		if err != nil {
			break
		}
		nc.Close()
	}
	close(release)
	require.Equal(t, "from the origin, close: true", <-got)
	code, _ := p.end()
	require.Equal(t, exitFine, code)
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	p := launch(t, "-fault", "never-answer", "-control", "127.0.0.1:0")
	nc, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
	require.NoError(t, err)
	client := ownClient(t)
	for {
		if _, body := get(t, client, p.control+"/summary"); strings.Contains(body, `"running": 1`) {
			break
		}
	}
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT)
	code, out := p.end()
	require.Equal(t, exitCutOff, code)
	require.Contains(t, p.stderr.String(), "cut off: drain: 1 of 1 connection may still be open")
	require.Contains(t, out, "1 kill (stop-timeout)")
}

func TestItEndsWhilePausedUnderTLS(t *testing.T) {
	p := launch(t, "-tls", "-control", "127.0.0.1:0")
	client := ownClient(t)
	get(t, client, p.url)
	resp, err := client.Post(p.control+"/do/pause", "", nil)
	require.NoError(t, err)
	resp.Body.Close()
	p.signal(syscall.SIGTERM)
	code, _ := p.end()
	require.Equal(t, exitFine, code)
}

func TestADrainIsBounded(t *testing.T) {
	p := launch(t, "-fault", "never-answer", "-drain-timeout", "10ms", "-control", "127.0.0.1:0")
	nc, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
	require.NoError(t, err)
	client := ownClient(t)
	for {
		if _, body := get(t, client, p.control+"/summary"); strings.Contains(body, `"running": 1`) {
			break
		}
	}
	p.signal(syscall.SIGTERM)
	code, _ := p.end()
	require.Equal(t, exitCutOff, code)
}

func TestItServesTLSAndHeaderFaultsAndScenarios(t *testing.T) {
	trusted := filepath.Join(t.TempDir(), "cert.pem")
	p := launch(t, "-tls", "-cert-out", trusted, "-header-faults", "-scenario", "uvicorn-five-seconds", "-time-scale", "100")
	require.True(t, strings.HasPrefix(p.url, "https://"))
	// The file is there before the address is announced, and is all a client needs.
	chain, err := os.ReadFile(trusted)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(chain))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	status, _ := get(t, client, p.url)
	require.Equal(t, 200, status)
	req, err := http.NewRequest("GET", p.url, nil)
	require.NoError(t, err)
	req.Header.Set("X-Fault", "status code=418")
	resp, err := ownClient(t).Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 418, resp.StatusCode)
	p.signal(syscall.SIGTERM)
	code, _ := p.end()
	require.Equal(t, exitFine, code)
	require.Contains(t, p.stderr.String(), "faultserver: uvicorn-five-seconds 1/2 quick-succession\n")
}

func TestItServesACertificateFromFiles(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(17), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mine.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))

	p := launch(t, "-cert", cert, "-key", keyFile)
	resp, err := ownClient(t).Get(p.url)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, []string{"mine.example"}, resp.TLS.PeerCertificates[0].DNSNames)
	p.signal(syscall.SIGTERM)
	code, _ := p.end()
	require.Equal(t, exitFine, code)
}

func TestItWarnsWhenOtherMachinesCanReachIt(t *testing.T) {
	p := newProcess(t, "-listen", "0.0.0.0:0", "-control", "0.0.0.0:0", "-control-remote")
	p.announced("listening on ")
	p.announced("control on ")
	p.signal(syscall.SIGTERM)
	code, _ := p.end()
	require.Equal(t, exitFine, code)
	require.Contains(t, p.stderr.String(), "warning: -listen 0.0.0.0:0 can be reached from other machines")
	require.Contains(t, p.stderr.String(), "warning: whoever reaches -control 0.0.0.0:0")
}

func TestAPortInUseIsAnErrorThatNamesTheFlag(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	for _, flag := range []string{"-listen", "-control"} {
		args := []string{"-listen", "127.0.0.1:0", flag, ln.Addr().String()}
		p := newProcess(t, args...)
		code, _ := p.end()
		require.Equal(t, exitFailed, code)
		require.Contains(t, p.stderr.String(), "faultserver: "+flag+": listen tcp "+ln.Addr().String()+": bind: address already in use")
	}
}
