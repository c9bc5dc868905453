package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// Upstreams are the servers that are called. Their clocks run ten times as fast as in
// life, so that there is something to see.
type upstreams struct {
	servers []*faultserver.Server
	sent    atomic.Int64
	failed  atomic.Int64
}

const timeScale = 10

// startUpstreams starts one server that closes idle connections, one that is
// restarted and resets connections, and one that has outages.
func startUpstreams() (*upstreams, error) {
	u := &upstreams{}
	for _, cfg := range []faultserver.Config{
		{Personality: "uvicorn", TimeScale: timeScale},
		{Personality: "nginx", TimeScale: timeScale, Faults: []faultserver.Fault{
			{Kind: faultserver.RstAfterRequest, ReusedOnly: true, Probability: 0.01},
		}},
		{Personality: "node", TimeScale: timeScale, Faults: []faultserver.Fault{
			{Kind: faultserver.Status, Code: http.StatusServiceUnavailable, Probability: 0.1},
		}},
	} {
		s, err := faultserver.New(cfg)
		if err != nil {
			u.close()
			return nil, err
		}
		u.servers = append(u.servers, s)
	}
	return u, nil
}

func (u *upstreams) close() {
	for _, s := range u.servers {
		s.Close()
	}
}

// policies let the third one be retried, behind a breaker. Nothing is said about
// keep-alive: that is to be found out.
func (u *upstreams) policies() idlewise.Policies {
	return idlewise.Policies{Upstreams: map[string]idlewise.Policy{
		strings.TrimPrefix(u.servers[2].URL, "http://"): {
			MaxConns: 20,
			Retry:    idlewise.Retry{Max: 2, WaitMin: 10 * time.Millisecond, WaitMax: 100 * time.Millisecond},
			Breaker: &idlewise.Breaker{
				Settings: gobreaker.Settings{Timeout: 2 * time.Second},
				Statuses: []int{http.StatusServiceUnavailable},
			},
		},
	}}
}

// call sends requests until ctx ends, while the second server is restarted and
// the third is down now and then.
func (u *upstreams) call(ctx context.Context, rt http.RoundTripper) {
	client := &http.Client{Transport: rt, Timeout: 10 * time.Second}
	var all sync.WaitGroup
	for i, s := range u.servers {
		for range 4 {
			all.Go(func() {
				for pause(ctx, rand.N(1500*time.Millisecond)) {
					u.one(ctx, client, s.URL)
				}
			})
		}
		all.Go(func() {
			for pause(ctx, time.Duration(i+1)*4*time.Second) {
				switch i {
				case 1:
					s.Restart()
				case 2:
					remove := s.Inject(faultserver.Fault{Kind: faultserver.Status, Code: http.StatusServiceUnavailable})
					pause(ctx, 3*time.Second)
					remove()
				}
			}
		})
	}
	all.Wait()
}

var methods = []string{"GET", "GET", "PUT", "POST"}

func (u *upstreams) one(ctx context.Context, client *http.Client, url string) {
	req, err := http.NewRequestWithContext(ctx, methods[rand.IntN(len(methods))], url+"/item", strings.NewReader("{}"))
	if err != nil {
		return
	}
	resp, err := client.Do(req)
	if ctx.Err() != nil {
		return
	}
	u.sent.Add(1)
	if err != nil {
		u.failed.Add(1)
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (u *upstreams) story(t *idlewise.Transport) string {
	s := t.Stats().Total
	return fmt.Sprintf("%d requests, %d errors; %d met a closed connection, %d resends were answered, %d retries, %d turned away by the breaker.",
		u.sent.Load(), u.failed.Load(), s.StaleIdempotent+s.StaleOther, sum(s.ResendsAnswered), s.Retries, s.CircuitOpen)
}

func sum(m map[idlewise.Evidence]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}
