package idlewise

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// A closing is how a server ends the connection on which a request is on its
// way, and what that proves about the request.
type closing struct {
	says string

	// end is called when the client is about to send the request. The server
	// has answered another one on the connection.
	end func(*visit)

	want     Evidence // for a POST
	executed int      // how often the server executes it on this connection
	slowBody bool     // the request has a body of 1 MiB, sent little by little
	response bool     // the client gets a response or a part of one
	before   bool     // it ends before the request arrives
	unfair   bool     // it breaks the proof's assumption, if acknowledgements are delayed
}

// A visit is one connection, as its server sees it.
type visit struct {
	at   *closingServer
	sock socket   // below TLS
	nc   net.Conn // sock, or TLS on it
	br   *bufio.Reader
}

// A socket is a *net.TCPConn, or memnet's.
type socket interface {
	net.Conn
	CloseWrite() error
}

// abort closes with a RST.
func (v *visit) abort() {
	switch c := v.sock.(type) {
	case *net.TCPConn:
		c.SetLinger(0)
		c.Close()
	case interface{ Abort() error }:
		c.Abort()
	}
}

// fin closes the connection as a server does: over TLS with a close_notify.
func (v *visit) fin() { v.nc.Close() }

func (v *visit) halfClose() {
	if c, ok := v.nc.(*tls.Conn); ok {
		c.CloseWrite()
	}
	v.sock.CloseWrite()
}

// execute reads a request and executes it.
func (v *visit) execute() {
	req, err := http.ReadRequest(v.br)
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	if err != nil {
		if !v.at.lenient {
			v.at.Errorf("the server got no request: %v", err)
		}
		return
	}
	v.at.executed(req.Header.Get("X-Fault-Key"))
}

// arrives waits until something unread is in the kernel, and leaves it there.
func (v *visit) arrives() {
	v.until(func() bool {
		n, pending, ok := tcpinfo.Peek(v.sock)
		return n > 0 || pending != nil || !ok
	})
}

// acknowledged waits until the client's kernel knows that all has arrived which
// has, or the client has closed.
func (v *visit) acknowledged() {
	v.until(func() bool {
		here, ok := tcpinfo.Of(v.sock)
		there, open := v.client()
		return !ok || !open || there.Acked > here.Received
	})
}

// clientGone waits until the client has closed its socket.
func (v *visit) clientGone() {
	v.until(func() bool {
		_, open := v.client()
		return !open
	})
}

// client looks at the other end.
func (v *visit) client() (tcpinfo.Info, bool) {
	c, ok := v.at.clients.Load(v.sock.RemoteAddr().String())
	if !ok {
		return tcpinfo.Info{}, false
	}
	return tcpinfo.Of(c.(net.Conn))
}

// until waits for what no call waits for: something in a kernel.
func (v *visit) until(is func() bool) {
	ticker := time.NewTicker(200 * time.Microsecond)
	defer ticker.Stop()
	for end := time.Now().Add(2 * v.at.patience); !is(); <-ticker.C {
		if time.Now().After(end) {
			if !v.at.lenient {
				v.at.Errorf("it did not come to that in %v", 2*v.at.patience)
			}
			return
		}
	}
}

var closings = []closing{
	{says: "closed before the request arrived", before: true, want: Undelivered, end: (*visit).fin},
	{says: "closed before a slowly sent body arrived", before: true, want: Undelivered, slowBody: true, end: (*visit).fin},
	{says: "read the request, then closed", want: Unknown, executed: 1, end: func(v *visit) {
		v.execute()
		v.fin()
	}},
	{says: "read the request, then reset", want: Unknown, executed: 1, end: func(v *visit) {
		v.execute()
		v.abort()
	}},
	{says: "left the request unread and closed", want: Unknown, end: func(v *visit) {
		v.arrives()
		v.sock.Close()
	}},
	{says: "read five bytes and closed at once", want: Unknown, end: func(v *visit) {
		io.ReadFull(v.sock, make([]byte, 5))
		v.sock.Close()
	}},
	{says: "reset before the request arrived", before: true, want: Unknown, end: (*visit).abort},
	{says: "reset before a slowly sent body arrived", before: true, want: Unknown, slowBody: true, end: (*visit).abort},
	{says: "shut down its writing side and executed the request", before: true, want: Unknown, executed: 1, end: func(v *visit) {
		v.halfClose()
		v.execute()
		v.acknowledged()
		v.sock.Close()
	}},
	{says: "shut down its writing side, executed, and reset once that was acknowledged", before: true, want: Unknown, executed: 1, end: func(v *visit) {
		v.halfClose()
		v.execute()
		v.acknowledged()
		v.abort()
	}},
	{says: "shut down its writing side and read a part of a slowly sent body", before: true, want: Unknown, slowBody: true, end: func(v *visit) {
		v.halfClose()
		io.ReadFull(v.sock, make([]byte, 1000))
		v.acknowledged()
		v.abort()
	}},
	{says: "began an answer and broke off", want: Answered, executed: 1, response: true, end: func(v *visit) {
		v.execute()
		io.WriteString(v.nc, "HTTP/1.1 200 O")
		v.fin()
	}},
	{says: "answered 408 and closed", before: true, want: Unknown, response: true, end: func(v *visit) {
		io.WriteString(v.nc, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		v.fin()
	}},
	// The assumption of DESIGN §7, which docs/evidence.md states: this server
	// breaks it, and is the one that would execute a request twice.
	{says: "shut down its writing side, executed, and reset before its kernel had acknowledged", before: true, want: Undelivered, executed: 1, unfair: true, end: func(v *visit) {
		v.halfClose()
		v.execute()
		v.abort()
	}},
}

// A closingServer answers the first request on each connection, and then does
// what its closing says to the first connection. Later ones it serves well.
type closingServer struct {
	testing.TB
	lenient  bool // it need not get a request to execute
	ln       net.Listener
	tls      *tls.Config // nil: none
	patience time.Duration
	ending   chan struct{} // told when the client is about to send
	clients  sync.Map      // their connections, by address

	mu    sync.Mutex
	count map[string]int
	wg    sync.WaitGroup
}

func (s *closingServer) executed(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[key]++
}

func (s *closingServer) executions(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[key]
}

func (s *closingServer) serve(c closing) {
	for first := true; ; first = false {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.visit(nc.(socket), c, first) })
	}
}

func (s *closingServer) visit(sock socket, c closing, first bool) {
	v := &visit{at: s, sock: sock, nc: sock}
	defer sock.Close()
	if s.tls != nil {
		v.nc = tls.Server(sock, s.tls)
	}
	v.br = bufio.NewReader(v.nc)
	for {
		req, err := http.ReadRequest(v.br)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		s.executed(req.Header.Get("X-Fault-Key"))
		if _, err := io.WriteString(v.nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
		if first {
			<-s.ending
			c.end(v)
			return
		}
	}
}

// A slowBody sends its bytes a thousand at a time, and waits in between.
type slowBody struct {
	left int
	wait time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.wait > 0 {
		<-time.After(b.wait)
	}
	n := min(len(p), b.left, 1<<14)
	b.left -= n
	return n, nil
}

// closingNet is a network on which closings are performed.
type closingNet struct {
	listen func() (net.Listener, error)
	dial   dialFunc
	// cross makes the next request and the server's end meet, whoever is late.
	// nil: on this network nobody is.
	cross func(closing) (ended <-chan struct{})
	rtt   time.Duration
	tls   bool
	// patience is how long an acknowledgement takes at the most.
	patience time.Duration
}

// testTLS returns the configurations of a server and a client that trusts it.
var testTLS = sync.OnceValues(func() (server, client *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return &tls.Config{Certificates: s.TLS.Certificates}, client
})

// noting lets s find its clients' connections.
func (s *closingServer) noting(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err == nil {
			s.clients.Store(c.LocalAddr().String(), c)
		}
		return c, err
	}
}

// performed is what came of a request that met a closing.
type performed struct {
	attempts []Attempt
	err      error
	status   int
	executed int
	took     time.Duration
}

// perform sends a request on a connection that ends as c says.
func (n closingNet) perform(t *testing.T, c closing, method string, pol Policy) performed {
	ln, err := n.listen()
	require.NoError(t, err)
	s := &closingServer{TB: t, ln: ln, patience: n.patience, ending: make(chan struct{}, 10), count: map[string]int{}}
	base := &http.Transport{DialContext: s.noting(n.dial)}
	scheme := "http"
	if n.tls {
		scheme = "https"
		s.tls, base.TLSClientConfig = testTLS()
	}
	s.wg.Go(func() { s.serve(c) })
	tr, err := New(Config{Base: base, Policies: Policies{Default: pol}})
	require.NoError(t, err)
	defer func() {
		tr.Close()
		ln.Close()
		s.wg.Wait()
	}()

	url := fmt.Sprintf("%s://%s/", scheme, ln.Addr())
	warm, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	resp, err := tr.RoundTrip(keyed(warm, 0))
	require.NoError(t, err)
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()

	var body io.Reader = strings.NewReader("twice would be wrong")
	if c.slowBody {
		body = &slowBody{left: 1 << 20, wait: n.rtt / 4}
	}
	var p performed
	ctx := WithTrace(t.Context(), &Trace{
		AttemptStart: func(a Attempt) {
			if a.Number == 1 {
				if n.cross == nil {
					s.ending <- struct{}{}
					return
				}
				ended := n.cross(c)
				s.ending <- struct{}{}
				if c.before {
					// If the end came behind the request, the answer to the
					// request, a RST, would come at its heels, and the client
					// could not see one without the other.
					<-ended
				}
			}
		},
		AttemptDone: func(a Attempt) { p.attempts = append(p.attempts, a) },
	})
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	require.NoError(t, err)
	if c.slowBody {
		req.ContentLength = 1 << 20
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&slowBody{left: 1 << 20}), nil }
	}
	began := time.Now()
	resp, p.err = tr.RoundTrip(keyed(req, 1))
	p.took = time.Since(began)
	if p.err == nil {
		p.status = resp.StatusCode
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	p.executed = s.executions(keyed(req, 1).Header.Get("X-Fault-Key"))
	return p
}

// judge performs each closing with a POST, and says whether what idlewise made
// of it is right.
func (n closingNet) judge(t *testing.T, c closing) {
	p := n.perform(t, c, "POST", Policy{})
	require.NotEmpty(t, p.attempts)
	first := p.attempts[0]
	t.Logf("%v; executed %d times, %v", first, p.executed, p.err)
	require.True(t, first.Reused)
	require.Equal(t, c.want, first.Evidence)
	switch c.want {
	case Undelivered:
		require.NoError(t, p.err)
		require.Equal(t, 200, p.status)
		require.Len(t, p.attempts, 2)
		require.Equal(t, 1+c.executed, p.executed)
	case Unknown:
		require.Len(t, p.attempts, 1)
		if c.response {
			require.Equal(t, 408, p.status)
			return
		}
		var judged *Error
		require.ErrorAs(t, p.err, &judged)
		require.Equal(t, Unknown, judged.Evidence)
		require.LessOrEqual(t, p.executed, 1)
	default:
		require.Error(t, p.err)
		require.Len(t, p.attempts, 1)
		require.False(t, errors.As(p.err, new(*Error)))
	}
}
