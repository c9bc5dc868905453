package idlewise_test

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func always(call) bool       { return true }
func idempotent(c call) bool { return c.idempotent }

// without takes calls out that a verdict has dealt with.
func (p *play) without(those func(call) bool) {
	p.calls = slices.DeleteFunc(p.calls, func(c call) bool { return c.err != nil && those(c) })
}

func (p *play) failures(among func(call) bool) []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var failed []call
	for _, c := range p.calls {
		if c.err != nil && among(c) {
			failed = append(failed, c)
		}
	}
	slices.SortFunc(failed, func(a, b call) int { return int(a.at - b.at) })
	return failed
}

// allSucceeded is the verdict where nothing may go wrong: each request was
// answered, and each POST executed once.
func (p *play) allSucceeded() {
	p.Helper()
	require.NotEmpty(p, p.calls)
	require.Empty(p, p.failures(always))
	p.nothingTwice()
}

// onlyHonestFailures is the verdict where a request can be lost: no idempotent
// one failed, and whatever else did was not executed twice, and its error says
// that nobody knows whether it was executed at all.
func (p *play) onlyHonestFailures() {
	p.Helper()
	require.NotEmpty(p, p.calls)
	require.Empty(p, p.failures(idempotent))
	for _, c := range p.failures(always) {
		var e *idlewise.Error
		require.ErrorAs(p, c.err, &e, c.key)
		require.Equal(p, idlewise.Unknown, e.Evidence, c.key)
		require.ErrorContains(p, e, "delivery unknown, not repeated (send an Idempotency-Key or use WithIdempotent)")
	}
	p.nothingTwice()
}

// nothingTwice asks the journals how often each POST was executed, by all pods
// together, and the ledger, which knows keys, what came of those with one.
func (p *play) nothingTwice() {
	p.Helper()
	executions := make(map[string]int)
	for _, pod := range p.pods {
		for key, n := range pod.Journal().Executions() {
			executions[key] += n
		}
	}
	for _, c := range p.calls {
		if c.method != "POST" {
			continue
		}
		times := p.ledger.times(c.key)
		require.LessOrEqual(p, times, 1, "executions of %s", c.key)
		if !c.idempotent {
			require.Equal(p, executions[c.key], times, c.key)
		}
		if c.err == nil {
			require.Equal(p, 1, times, "%s was answered", c.key)
		}
	}
}

// showsTheIncident is the verdict on net/http: idempotent requests failed that
// could have been sent again.
func (p *play) showsTheIncident() {
	p.Helper()
	require.NotEmpty(p, p.failures(idempotent))
}

// noConnectionFailedTwice says that one that failed a request got no other. On
// HTTP/2 it may have several at the time.
func (p *play) noConnectionFailedTwice() {
	p.Helper()
	require.NotEmpty(p, p.failedOn)
	for id, n := range p.failedOn {
		require.Equal(p, 1, n, "requests that failed on connection %d", id)
	}
}
