package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/idlewise/idlewise"
)

// A service answers each request with the help of an upstream, which it calls
// twice.
type service struct {
	upstream  string
	transport *idlewise.Transport
	server    *http.Server
	url       string

	called   chan struct{} // one for each request that has made its first call
	draining chan struct{} // closed when the server has begun to shut down
	number   atomic.Int64
}

func newService(upstream string, transport *idlewise.Transport) (*service, error) {
	s := &service{upstream: upstream, transport: transport, called: make(chan struct{}, requests), draining: make(chan struct{})}
	s.server = &http.Server{Handler: s}
	s.server.RegisterOnShutdown(func() { close(s.draining) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.url = "http://" + l.Addr().String()
	go s.server.Serve(l)
	return s, nil
}

// ServeHTTP makes its second call when the service drains already.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.number.Add(1)
	err := s.call(r.Context(), fmt.Sprintf("/first/%d", n))
	s.called <- struct{}{}
	if err == nil {
		select {
		case <-s.draining:
			err = s.call(r.Context(), fmt.Sprintf("/second/%d", n))
		case <-r.Context().Done():
			err = r.Context().Err()
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

func (s *service) call(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, "PUT", s.upstream+path, strings.NewReader("body"))
	if err != nil {
		return err
	}
	client := http.Client{Transport: s.transport}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// await waits until n requests are under way.
func (s *service) await(ctx context.Context, n int) error {
	for range n {
		select {
		case <-s.called:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// clients sends n requests to the service, and returns what comes of them.
func (s *service) clients(ctx context.Context, n int) <-chan error {
	answers := make(chan error, n)
	for range n {
		go func() { answers <- s.ask(ctx) }()
	}
	return answers
}

func (s *service) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, "GET", s.url, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return err
}
