//go:build linux

package servers

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// A client sends requests and knows what has become of them. Its callers have
// a transport each, or share one.
type client struct {
	name string
	url  string

	mu       sync.Mutex
	sent     int
	answered map[string]string // key to method
	failed   map[string]string // key to method
	errors   []failure
	slowest  time.Duration // of the responses
}

// A failure is a request's error.
type failure struct {
	key string
	err error
}

func newClient(name string, s *site) *client {
	return &client{name: name, url: s.url(), answered: make(map[string]string), failed: make(map[string]string)}
}

// plain returns an http.Transport that keeps as many idle connections as
// idlewise does.
func plain(t *testing.T) *http.Transport {
	tr := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func wise(t *testing.T, cfg idlewise.Config) *idlewise.Transport {
	tr, err := idlewise.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

// send sends one request and reads its response.
func (c *client) send(t *testing.T, rt http.RoundTripper, method string) {
	c.mu.Lock()
	c.sent++
	key := fmt.Sprintf("%s-%s-%d", c.name, method, c.sent)
	c.mu.Unlock()
	start := time.Now()
	err := try(t, rt, method, c.url+"/?key="+key)
	took := time.Since(start)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowest = max(c.slowest, took)
	if err == nil {
		c.answered[key] = method
		return
	}
	c.failed[key] = method
	c.errors = append(c.errors, failure{key, err})
}

func try(t *testing.T, rt http.RoundTripper, method, url string) error {
	var body io.Reader
	if method != http.MethodGet {
		body = strings.NewReader("a claim")
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// failures counts the requests of a method that came to an error.
func (c *client) failures(method string) int {
	n := 0
	for _, m := range c.failed {
		if m == method {
			n++
		}
	}
	return n
}

// failedThoughExecuted counts POSTs that came to an error and were executed:
// whoever had sent them again would have had them executed twice.
func (c *client) failedThoughExecuted(t *testing.T, l ledger) int {
	executed, n := l.executed(t), 0
	for key, method := range c.failed {
		if method == http.MethodPost && executed[key] > 0 {
			n++
		}
	}
	return n
}

// holdsOnce asserts that what was answered was executed, and that no POST was
// executed twice.
func (c *client) holdsOnce(t *testing.T, l ledger) {
	executed := l.executed(t)
	for key, method := range c.answered {
		if n := executed[key]; n < 1 || n > 1 && method == http.MethodPost {
			require.Failf(t, "an answered request", "%s was executed %d times", key, n)
		}
	}
	for key, method := range c.failed {
		if n := executed[key]; n > 1 && method == http.MethodPost {
			require.Failf(t, "a failed request", "%s was executed %d times", key, n)
		}
	}
}

// pause waits for as long as servers' timers count.
func pause(t *testing.T, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
