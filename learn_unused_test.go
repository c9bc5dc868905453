package idlewise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The timeout between requests does not hold before the first: Go's server has
// ReadHeaderTimeout for that, nginx client_header_timeout.
func TestAConnectionThatHasCarriedNoRequestTeachesNothingOfTheIdleTimeout(t *testing.T) {
	spare := Config{Policies: Policies{Default: Policy{MinIdleConns: 2, LivenessCheckAfter: -1}}}
	inWorld(t, fiveSeconds(spare), func(t *testing.T, w *world) {
		confirmed := 0
		for range 300 {
			w.mustDo("GET", "/", "")
			time.Sleep(20 * time.Second)
			if w.tr.Explain(w.server.URL).Source == DeadlineLearned {
				confirmed++
			} else {
				require.Zero(t, confirmed, "what was confirmed is given up for nothing")
			}
		}
		require.Positive(t, confirmed)
	})
}
