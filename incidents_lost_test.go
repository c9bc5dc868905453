package idlewise_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// claimUntilPaid is a program that must get its claims through, and tries
// again after an error, unless that says that the claim may have been executed.
func claimUntilPaid(p *play) {
	for n := range 500 {
		kind := []string{"POST", "keyed POST", "PUT", "DELETE", "GET"}[n%5]
		key := fmt.Sprintf("%s %d", kind, n)
		for range 3 {
			c := p.call(p.Context(), p.newRequest(kind, key))
			var e *idlewise.Error
			if c.err == nil || errors.As(c.err, &e) && e.Evidence == idlewise.Unknown {
				break
			}
			time.Sleep(time.Second)
		}
	}
}

func TestIncidentResponseLostPaysNobodyTwice(t *testing.T) {
	in := incident{scenario: "response-lost", latency: 10 * time.Millisecond}
	in.withBoth(t, claimUntilPaid, func(p *play) {
		p.onlyHonestFailures()
		require.Equal(p, "answered-again", p.pods[0].Phase().Phase)
		lost := p.failures(always)
		require.NotEmpty(p, lost, "a claim without a key is not repeated")
		for _, c := range lost {
			require.Equal(p, 1, p.ledger.times(c.key), "%s was executed; only its answer was lost", c.key)
		}
		keyedTwice := 0
		for _, n := range p.pods[0].Journal().Executions() {
			keyedTwice += max(0, n-1)
		}
		require.NotZero(p, keyedTwice, "the service saw some requests twice, and knew claims by their keys")
	}, func(p *play) {
		p.showsTheIncident()
		twice := 0
		for _, key := range p.pods[0].Journal().ExecutedTwice("POST") {
			twice += p.ledger.times(key) - 1
		}
		require.NotZero(p, twice, "claims without a key that were paid twice")
	})
}
