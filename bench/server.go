package main

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
	"math/big"
	"net"
	"net/http"
	"strconv"
	"time"
)

// readyServer is what a server says of itself once it can be asked.
type readyServer struct {
	Plain string // address, for HTTP/1 and for HTTP/2 with prior knowledge
	TLS   string // address
	Cert  []byte // that a client trusts
	Files uint64 // how many files the server may open, 0 if unknown
}

// serve answers requests until stdin ends.
func serve(stdin io.Reader, stdout io.Writer) error {
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
	}
	failed := make(chan error, 2)
	go func() { failed <- s.Serve(plain) }()
	go func() { failed <- s.ServeTLS(secure, "", "") }()
	ready := readyServer{plain.Addr().String(), secure.Addr().String(), cert.Certificate[0], openFiles()}
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

// handler answers a GET of / with nothing, one of /byte with a byte, and a
// POST with as much as it got.
func handler() http.Handler {
	answer := bytes.Repeat([]byte{'x'}, bodySize)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /byte", func(w http.ResponseWriter, _ *http.Request) { w.Write(answer[:1]) })
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n > bodySize {
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

// A server is one in a process of its own.
type server struct {
	readyServer
	child *child
}

func startServer(ctx context.Context) (*server, error) {
	c, err := startChild(ctx, roleVariable+"="+roleServer)
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	s := &server{child: c}
	if err := c.read(&s.readyServer); err != nil {
		c.stop()
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	return s, nil
}

func (s *server) stop() error { return s.child.stop() }

// url is what clients ask for.
func (s *readyServer) url(p protocol) string {
	if p.overTLS() {
		return "https://" + s.TLS + "/"
	}
	return "http://" + s.Plain + "/"
}
