// Package server is the net/http server that the benchmarks ask, in a process of
// its own.
package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/idlewise/idlewise/bench/internal/child"
)

// Role is the role of a process that serves.
const Role = "server"

// MaxBody is the size of the largest body that is taken and given.
const MaxBody = 1 << 20

// Ready is what a server says of itself once it can be asked.
type Ready struct {
	Plain string // address, for HTTP/1 and for HTTP/2 with prior knowledge
	TLS   string // address
	Cert  []byte // that a client trusts
	Files uint64 // how many files the server may open, 0 if unknown
}

// Serve is the role: it answers requests until stdin ends.
func Serve(stdin io.Reader, stdout io.Writer) error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var all http.Protocols
	all.SetHTTP1(true)
	all.SetHTTP2(true)
	all.SetUnencryptedHTTP2(true)
	s := &http.Server{
		Handler:   handler(),
		Protocols: &all,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		// With HTTP/2 and many callers net/http dials more than it needs, and
		// gives up what it does not.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	failed := make(chan error, 2)
	go func() { failed <- s.Serve(plain) }()
	go func() { failed <- s.ServeTLS(secure, "", "") }()
	ready := Ready{plain.Addr().String(), secure.Addr().String(), cert.Certificate[0], child.OpenFiles()}
	if err := json.NewEncoder(stdout).Encode(ready); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, stdin)
		close(ended)
	}()
	select {
	case err := <-failed:
		return err
	case <-ended:
		return s.Close()
	}
}

// handler answers a GET of / with nothing, one of /byte with a byte, one of
// /cpu with the server's processor time, those of /together?n=N when there are N of
// them, and a POST with as much as it got.
func handler() http.Handler {
	answer := bytes.Repeat([]byte{'x'}, MaxBody)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /byte", func(w http.ResponseWriter, _ *http.Request) { w.Write(answer[:1]) })
	mux.HandleFunc("GET /cpu", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, child.CPUTime().Nanoseconds()) })
	mux.Handle("GET /together", new(gathering))
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n > MaxBody {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		w.Write(answer[:n])
	})
	return mux
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// A Server is one in a process of its own.
type Server struct {
	Ready
	process *child.Process
}

// Start starts a server. The program's main must know the Role.
func Start(ctx context.Context) (*Server, error) {
	p, err := child.Start(ctx, Role)
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	s := &Server{process: p}
	if err := p.Read(&s.Ready); err != nil {
		p.Stop()
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	return s, nil
}

// Stop ends it and waits for that.
func (s *Server) Stop() error { return s.process.Stop() }

// CPU asks for the processor time that the server's process has used.
func (s *Server) CPU() (time.Duration, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(s.URL(false) + "cpu")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var ns int64
	if _, err := fmt.Fscan(resp.Body, &ns); err != nil {
		return 0, fmt.Errorf("the server's processor time: %w", err)
	}
	return time.Duration(ns), nil
}

// URL is what clients ask for.
func (s *Ready) URL(overTLS bool) string {
	if overTLS {
		return "https://" + s.TLS + "/"
	}
	return "http://" + s.Plain + "/"
}

// ClientTLS is a configuration that trusts the server and nobody else.
func (s *Ready) ClientTLS() *tls.Config {
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	if cert, err := x509.ParseCertificate(s.Cert); err == nil {
		c.RootCAs.AddCert(cert)
	}
	return c
}

// A gathering answers requests once there are as many as they say.
type gathering struct {
	mu   sync.Mutex
	here int
	full chan struct{} // nil: none is here
}

func (g *gathering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil {
		http.Error(w, "n", http.StatusBadRequest)
		return
	}
	g.mu.Lock()
	if g.full == nil {
		g.full = make(chan struct{})
	}
	full := g.full
	if g.here++; g.here >= n {
		close(full)
		g.here, g.full = 0, nil
	}
	g.mu.Unlock()
	select {
	case <-full:
	case <-r.Context().Done():
	}
}
