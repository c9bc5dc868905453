//go:build linux

package servers

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

const (
	renewals      = 3
	renewalLoad   = 16  // callers of each transport
	renewalPeriod = 400 // requests of idlewise between two renewals
)

var methods = []string{http.MethodPost, http.MethodGet, http.MethodPut}

func TestNoPOSTIsExecutedTwiceAndNoGETIsLostWhileTheServerIsRenewed(t *testing.T) {
	var rows table
	t.Run("servers", func(t *testing.T) {
		for _, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				rows.add(s.name, renewedUnderLoad(t, s))
			})
		}
	})
	t.Log("\n" + rows.text("| server | renewed 3 times by | requests | net/http: POST, GET, PUT failed | idlewise | of idlewise's POSTs that failed, executed | executed twice |"))
}

func renewedUnderLoad(t *testing.T, s server) string {
	site := s.start(t)
	ours, theirs := newClient("idlewise", site), newClient("net-http", site)
	tr, other := wise(t, idlewise.Config{}), plain(t)

	over := make(chan struct{})
	progress := make(chan struct{}, renewalLoad)
	var load sync.WaitGroup
	caller := func(c *client, rt http.RoundTripper, tell bool) {
		for i := 0; ; i++ {
			c.send(t, rt, methods[i%len(methods)])
			if tell {
				select {
				case progress <- struct{}{}:
				case <-over:
				}
			}
			select {
			case <-over:
				return
			default:
				pause(t, between(0, 20*time.Millisecond))
			}
		}
	}
	for range renewalLoad {
		load.Go(func() { caller(ours, tr, true) })
		load.Go(func() { caller(theirs, other, false) })
	}
	await := func(requests int) {
		for range requests {
			<-progress
		}
	}
	await(renewalPeriod)
	for range renewals {
		// The load goes on while the server is renewed.
		done := make(chan struct{})
		var passed sync.WaitGroup
		passed.Go(func() {
			for {
				select {
				case <-progress:
				case <-done:
					return
				}
			}
		})
		site.renew()
		close(done)
		passed.Wait()
		await(renewalPeriod)
	}
	close(over)
	load.Wait()

	total := tr.Stats().Total
	t.Logf("closed %v, failed attempts %v, resent %v", total.Closed, total.Failed, total.Resent)
	t.Logf("net/http: %v", theirs.errors)
	t.Logf("idlewise: %v", ours.errors)
	require.NotZero(t, total.Closed[idlewise.ClosedServerFIN]+total.Closed[idlewise.ClosedConnectionClose]+total.Closed[idlewise.ClosedStaleOnUse],
		"connections ended")
	ours.holdsOnce(t, site.ledger)
	theirs.holdsOnce(t, site.ledger)
	for _, m := range methods[1:] {
		require.Zero(t, ours.failures(m), "%s: %v", m, ours.errors)
	}
	return fmt.Sprintf("| %s | %s | %d, %d | %d, %d, %d | %d, %d, %d | %d | 0 |", s.name, site.renewal, theirs.sent, ours.sent,
		theirs.failures("POST"), theirs.failures("GET"), theirs.failures("PUT"),
		ours.failures("POST"), ours.failures("GET"), ours.failures("PUT"), ours.failedThoughExecuted(t, site.ledger))
}
