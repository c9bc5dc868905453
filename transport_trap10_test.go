package idlewise

//lint:file-ignore SA1019 what programs still set and do must work

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	xhttp2 "golang.org/x/net/http2"
)

// net/http frees the connection of an empty response, tells PutIdleConn so, and
// then lets RoundTrip return: in between, nobody must get it.
func TestTrap10TheHeaderIsProcessedBeforeTheConnectionIsGivenAway(t *testing.T) {
	var mu sync.Mutex
	requests := map[string]int{}
	tr, srv := trapped(t, false, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests[r.RemoteAddr]++
		mu.Unlock()
		w.Header().Set("Keep-Alive", "timeout=100, max=0") // this was the last
	}, Policy{MaxConns: 1}, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{PutIdleConn: func(error) {
				<-time.After(10 * time.Millisecond) // for whoever would get it now
			}})
			for range 5 {
				read(t, tr, getting(srv.URL).WithContext(ctx))
			}
		})
	}
	wg.Wait()
	require.Len(t, requests, 20, "one request per connection")
}

func TestTrap12TheConnectionsAddressesAndProtocolAreKnownThroughProxiesAndTLS(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		var srv *httptest.Server
		e := &env{T: t, base: &http.Transport{}}
		proxy := e.proxy(false, hostPortOf(&srv))
		var tr *Transport
		tr, srv = trapped(t, true, echo, Policy{}, func(b *http.Transport) {
			b.Proxy = http.ProxyURL(proxy)
			if !h2 {
				b.ForceAttemptHTTP2 = false
				b.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
				b.TLSClientConfig.NextProtos = nil
			}
		})
		var last Attempt
		ctx := WithTrace(context.Background(), &Trace{AttemptDone: func(a Attempt) { last = a }})
		read(t, tr, getting("https://example.com/").WithContext(ctx))
		require.Equal(t, proxy.Host, last.Remote.String())
		require.NotNil(t, last.Local)
		require.Equal(t, protoName(h2), last.Proto)
	}
}

func TestTrap13ADialTLSContextKeepsHTTP2(t *testing.T) {
	tr, srv := trapped(t, true, echo, Policy{}, func(b *http.Transport) {
		cfg := b.TLSClientConfig.Clone()
		cfg.NextProtos = []string{"h2"}
		b.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: cfg}).DialContext(ctx, network, addr)
		}
	})
	require.Equal(t, 2, read(t, tr, getting(srv.URL)).ProtoMajor)
}

func TestTrap14TheProxyFunctionIsAskedAboutTheRealRequestOnce(t *testing.T) {
	var asked []string
	tr, srv := trapped(t, false, echo, Policy{}, func(b *http.Transport) {
		b.Proxy = func(r *http.Request) (*url.URL, error) {
			asked = append(asked, r.Method+" "+r.URL.String())
			return nil, nil
		}
	})
	for _, path := range []string{"/a", "/b?c"} {
		read(t, tr, getting(srv.URL+path))
	}
	require.Equal(t, []string{"GET " + srv.URL + "/a", "GET " + srv.URL + "/b?c"}, asked)
}

func TestTrap16AnUpgradedConnectionLeavesThePoolOpen(t *testing.T) {
	tr, srv := trapped(t, false, func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		io.Copy(c, buf)
	}, Policy{}, nil)
	req := getting(srv.URL)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"x"}}
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	conn := resp.Body.(io.ReadWriteCloser)
	defer conn.Close()
	eventually(t, func() bool { return tr.Stats().Total.Closed[ClosedUpgraded] == 1 }, "it did not leave the pool")
	require.NoError(t, tr.Close())
	b := make([]byte, 5)
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	_, err = io.ReadFull(conn, b)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
}

func TestTrap17ABaseWithAnHTTP2TransportOfItsOwnKeepsHTTP2(t *testing.T) {
	tr, srv := trapped(t, true, echo, Policy{}, func(b *http.Transport) {
		b.TLSNextProto, b.ForceAttemptHTTP2 = nil, false
		_, err := xhttp2.ConfigureTransports(b)
		require.NoError(t, err)
	})
	require.Equal(t, 2, read(t, tr, getting(srv.URL)).ProtoMajor)
}

func TestTrap18SchemesRegisteredWithTheBaseAreServed(t *testing.T) {
	base := &http.Transport{}
	base.RegisterProtocol("memory", roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("mine") }))
	tr, err := New(Config{Base: base})
	require.NoError(t, err)
	_, err = tr.RoundTrip(getting("memory://x"))
	require.EqualError(t, err, "mine")
}

// An injectedConn reads what is put into it besides what comes.
type injectedConn struct {
	net.Conn
	inject chan string
	closed chan struct{} // by Close
	once   sync.Once
	from   chan readResult
}

type readResult struct {
	b   []byte
	err error
}

func inject(c net.Conn) *injectedConn {
	i := &injectedConn{Conn: c, inject: make(chan string), closed: make(chan struct{}), from: make(chan readResult)}
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := c.Read(b)
			select {
			case i.from <- readResult{b[:n], err}:
			case <-i.closed:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return i
}

func (c *injectedConn) Read(p []byte) (int, error) {
	select {
	case s := <-c.inject:
		return copy(p, s), nil
	case r := <-c.from:
		return copy(p, r.b), r.err
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *injectedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestTrap21BytesBeforeARequestIsWrittenAreNotItsResponse(t *testing.T) {
	var conns []*injectedConn
	tr, srv := trapped(t, false, echo, Policy{}, func(b *http.Transport) {
		b.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			conns = append(conns, inject(c))
			return conns[len(conns)-1], nil
		}
	})
	read(t, tr, getting(srv.URL))
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{WroteHeaders: func() {
		// Announced to the read loop, and nothing of it flushed.
		if len(conns) == 1 {
			conns[0].inject <- "HTTP/1.1 299 Forged\r\nContent-Length: 0\r\n\r\n"
			select {
			case <-conns[0].closed: // closed
			case <-time.After(time.Second): // or taken for the response
			}
		}
	}})
	require.Equal(t, 200, read(t, tr, getting(srv.URL).WithContext(ctx)).StatusCode)
	require.Len(t, conns, 2)
}
