package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
	"github.com/sony/gobreaker/v2"
)

// A scene is a Transport, the servers that it calls, and who calls.
type scene struct {
	transport *idlewise.Transport
	servers   []*faultserver.Server
	callers   []caller
	storm     bool // the first server is restarted now and then
}

// A caller sends requests one after the other with gaps between them.
type caller struct {
	method, url string
	gap         time.Duration // the longest
}

var scenes = map[string]func() (*scene, error){"storm": storm, "quiet": quiet, "thousand": thousand}

func (s *scene) close() {
	if s.transport != nil {
		s.transport.Close()
	}
	for _, server := range s.servers {
		server.Close()
	}
}

// serve starts a server and gives it callers.
func (s *scene) serve(cfg faultserver.Config, callers int, gap time.Duration, methods ...string) error {
	server, err := faultserver.New(cfg)
	if err != nil {
		return err
	}
	s.servers = append(s.servers, server)
	for i := range callers {
		s.callers = append(s.callers, caller{methods[i%len(methods)], server.URL, gap})
	}
	return nil
}

// quiet is a system in which hardly anything happens: a server that closes idle
// connections after 2 s, and one that announces its 5 s.
func quiet() (*scene, error) {
	s := &scene{}
	err := s.serve(faultserver.Config{IdleTimeout: 2 * time.Second}, 4, 3*time.Second, "GET", "POST")
	if err == nil {
		err = s.serve(faultserver.Config{Personality: "node"}, 3, 4*time.Second, "GET", "PUT")
	}
	if err == nil {
		s.transport, err = idlewise.New(idlewise.Config{})
	}
	return s.orClose(err)
}

// storm has servers with the faults of a bad day.
func storm() (*scene, error) {
	s := &scene{storm: true}
	for _, cfg := range []faultserver.Config{
		{Personality: "uvicorn", TimeScale: 10, Faults: []faultserver.Fault{{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Probability: 0.01}}},
		{IdleTimeout: 2 * time.Second, Faults: []faultserver.Fault{{Kind: faultserver.CloseOnReuse, Probability: 0.05}}},
		{Personality: "node", Faults: []faultserver.Fault{{Kind: faultserver.AnnounceClose, Probability: 0.3}}},
		{Faults: []faultserver.Fault{{Kind: faultserver.Status, Code: 503, Probability: 0.6}}},
	} {
		if err := s.serve(cfg, 8, 1200*time.Millisecond, "GET", "POST", "PUT", "POST"); err != nil {
			return s.orClose(err)
		}
	}
	failing := strings.TrimPrefix(s.servers[3].URL, "http://")
	var err error
	s.transport, err = idlewise.New(idlewise.Config{Policies: idlewise.Policies{Upstreams: map[string]idlewise.Policy{failing: {
		Breaker: &idlewise.Breaker{Settings: gobreaker.Settings{Timeout: 3 * time.Second}, Statuses: []int{503}},
		Retry:   idlewise.Retry{Max: 2},
	}}}})
	return s.orClose(err)
}

// thousand has a thousand names, and one server behind them.
func thousand() (*scene, error) {
	s := &scene{}
	err := s.serve(faultserver.Config{IdleTimeout: 15 * time.Second}, 0, 0)
	if err == nil {
		addr := s.servers[0].Addr().String()
		s.transport, err = idlewise.New(idlewise.Config{Base: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
		}})
	}
	for i := range 1000 {
		s.callers = append(s.callers, caller{"GET", fmt.Sprintf("http://service-%04d.example", i), 20 * time.Second})
	}
	return s.orClose(err)
}

func (s *scene) orClose(err error) (*scene, error) {
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// traffic has the callers call until ctx ends.
func (s *scene) traffic(ctx context.Context) {
	var wg sync.WaitGroup
	client := &http.Client{Transport: s.transport}
	for _, c := range s.callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.call(ctx, client)
				pause(ctx, rand.N(c.gap))
			}
		})
	}
	if s.storm {
		wg.Go(func() {
			for pause(ctx, 7*time.Second) {
				s.servers[0].Restart()
			}
		})
	}
	wg.Wait()
}

// call sends one request; what becomes of it shows on the page.
func (c caller) call(ctx context.Context, client *http.Client) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, strings.NewReader(""))
	if err != nil {
		return
	}
	if c.method != http.MethodGet {
		req.Header.Set("X-Fault-Key", fmt.Sprint(rand.Uint64()))
	}
	if resp, err := client.Do(req); err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// pause waits, and reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
