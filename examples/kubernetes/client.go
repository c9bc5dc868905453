package main

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/idlewise/idlewise"
)

// useIdlewise puts idlewise beneath what client-go makes of cfg: below its
// authentication and its debugging, in place of its http.Transport. The CA file,
// if cfg names one, is read again once an interval has passed.
func useIdlewise(cfg *rest.Config, interval time.Duration, with idlewise.Config) *reloading {
	r := &reloading{caFile: cfg.CAFile, interval: interval, with: with}
	if len(cfg.CAData) > 0 {
		r.caFile = "" // client-go prefers the data, too
	}
	cfg.Wrap(r.wrap)
	return r
}

// A reloading RoundTripper is an idlewise Transport that is made anew when the CA
// file has changed. client-go's own transport does so every five minutes, but
// only where requests go through it.
type reloading struct {
	caFile   string
	interval time.Duration
	with     idlewise.Config

	mu      sync.Mutex
	sdk     http.RoundTripper // client-go's; it rotates client certificates while it lives
	current *idlewise.Transport
	err     error // why there is none
	ca      []byte
	readAt  time.Time
}

// wrap is what rest.Config calls with its own transport.
func (r *reloading) wrap(rt http.RoundTripper) http.RoundTripper {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sdk = rt
	r.current, r.err = idlewise.Wrap(rt, r.with)
	r.readAt = time.Now()
	if r.caFile != "" && r.err == nil {
		r.ca, r.err = os.ReadFile(r.caFile)
	}
	return r
}

func (r *reloading) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := r.transport()
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	return t.RoundTrip(req)
}

func (r *reloading) transport() (*idlewise.Transport, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.caFile == "" || time.Since(r.readAt) < r.interval {
		return r.current, r.err
	}
	r.readAt = time.Now()
	ca, err := os.ReadFile(r.caFile)
	if err != nil || bytes.Equal(ca, r.ca) {
		return r.current, nil // a file that is missing for a moment is no reason to fail
	}
	next, err := r.trusting(ca)
	if err != nil {
		return r.current, nil
	}
	// Not Close, nor Shutdown: a request may be on its way into the old one.
	// Dropped, it ends by itself when its connections have idled out.
	r.current.CloseIdleConnections()
	r.current, r.ca = next, ca
	return next, nil
}

// trusting returns a Transport that trusts ca and knows what the current one has
// learned.
func (r *reloading) trusting(ca []byte) (*idlewise.Transport, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s: no certificate in it", r.caFile)
	}
	base := bottom(r.sdk).Clone() // idlewise.Wrap has found it there
	base.TLSClientConfig.RootCAs = roots
	with := r.with
	with.Learned = r.current.Knowledge()
	return idlewise.Wrap(layer{r.sdk, base}, with)
}

// A layer gives idlewise a transport in place of the one at the bottom of
// client-go's, and keeps the latter alive.
type layer struct {
	http.RoundTripper
	base *http.Transport
}

func (l layer) Unwrap() http.RoundTripper { return l.base }

func bottom(rt http.RoundTripper) *http.Transport {
	for {
		switch layer := rt.(type) {
		case *http.Transport:
			return layer
		case utilnet.RoundTripperWrapper:
			rt = layer.WrappedRoundTripper()
		default:
			return http.DefaultTransport.(*http.Transport)
		}
	}
}

// WrappedRoundTripper leads client-go to its own transport, whose dialer and
// TLS configuration it asks for.
func (r *reloading) WrappedRoundTripper() http.RoundTripper {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sdk
}

// CloseIdleConnections closes the connections without requests.
func (r *reloading) CloseIdleConnections() {
	if t, err := r.transport(); err == nil && t != nil {
		t.CloseIdleConnections()
	}
}
