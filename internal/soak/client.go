package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/idlewise/idlewise"
)

// strangers are names under which the plain server is also known: upstreams that
// come and go, more of them than a Transport remembers.
const (
	strangers    = 100
	strangerHost = ".stranger.test"
	maxUpstreams = 30
)

// A client is what the callers share: one Transport for HTTP/1 and one for HTTP/2,
// since over plain connections net/http speaks the one or the other.
type client struct {
	http1, http2 *idlewise.Transport
	urls         [2][]string // of HTTP/1 and HTTP/2
	events       atomic.Int64
}

func newClient(all []served) (*client, error) {
	c := new(client)
	roots := x509.NewCertPool()
	stranger := ""
	for _, s := range all {
		roots.AppendCertsFromPEM(s.Cert)
		if s.H2 {
			c.urls[1] = append(c.urls[1], s.URL)
			continue
		}
		c.urls[0] = append(c.urls[0], s.URL)
		if address, plain := strings.CutPrefix(s.URL, "http://"); plain {
			stranger = address
		}
	}
	one := new(http.Protocols)
	one.SetHTTP1(true)
	two := new(http.Protocols)
	two.SetHTTP2(true)
	two.SetUnencryptedHTTP2(true)
	var err1, err2 error
	c.http1, err1 = c.transport(one, roots, stranger)
	c.http2, err2 = c.transport(two, roots, stranger)
	return c, errors.Join(err1, err2)
}

func (c *client) transport(protocols *http.Protocols, roots *x509.CertPool, stranger string) (*idlewise.Transport, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return idlewise.New(idlewise.Config{
		Base: &http.Transport{
			Protocols:       protocols,
			TLSClientConfig: &tls.Config{RootCAs: roots},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.Contains(address, strangerHost) {
					address = stranger
				}
				return dialer.DialContext(ctx, network, address)
			},
		},
		Policies: policies(0), MaxUpstreams: maxUpstreams,
		OnEvent: func(idlewise.Event) { c.events.Add(1) },
	})
}

// policies are those in force, in turn.
func policies(turn int) idlewise.Policies {
	p := idlewise.Policy{
		MaxConns: 64, MaxIdleConns: 32, MinIdleConns: 1, MaxIdleTime: 5 * time.Second, MaxConnAge: 5 * time.Second,
		UnackedTimeout: 2 * time.Second, BodyIdleTimeout: time.Second, PingAfter: 2 * time.Second, PingTimeout: time.Second,
		Retry:   idlewise.Retry{Max: 2, WaitMin: 5 * time.Millisecond, WaitMax: 100 * time.Millisecond, PerTryTimeout: 2 * time.Second, MaxReplayBody: 10_000},
		Breaker: breaker,
	}
	switch turn % 3 {
	case 1:
		p.MaxConns, p.MaxIdleConns, p.MaxRequestsPerConn = 16, 8, 20
	case 2:
		p.MinIdleConns, p.ServerKeepAlive, p.Retry = -1, idleTimeout, idlewise.Retry{}
	}
	return idlewise.Policies{Default: p}
}

// breaker opens when an upstream has really gone.
var breaker = &idlewise.Breaker{
	Settings: gobreaker.Settings{
		Timeout:     200 * time.Millisecond,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 10 },
	},
	Statuses: []int{http.StatusServiceUnavailable},
}

// govern lets policies change while requests are under way, until ctx ends.
func (c *client) govern(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for turn := 1; ; turn++ {
		select {
		case <-ticker.C:
			c.http1.SetPolicies(policies(turn))
			c.http2.SetPolicies(policies(turn))
		case <-ctx.Done():
			return
		}
	}
}

func (c *client) close() error { return errors.Join(c.http1.Close(), c.http2.Close()) }
