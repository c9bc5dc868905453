package idlewise

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// severalCells are backends with different timeouts behind one address, or
// one whose timeout varies.
func severalCells(timeouts []time.Duration, spread float64) []learningCell {
	var all []learningCell
	for i, rtt := range cellRTTs {
		for j, gaps := range cellGaps {
			all = append(all, learningCell{
				timeouts: timeouts, spread: spread, rtt: rtt, gaps: gaps, requests: max(600, *cellRequests), seed: uint64(1000 + 10*i + j),
			})
		}
	}
	return all
}

// staleAllowed is how many requests may meet a timeout close once all the
// timeouts were met: 0.02 % of them, and two while that is learned.
func (c learningCell) staleAllowed() int { return max(2, c.requests/5000) }

func runSeveral(t *testing.T, cells []learningCell) {
	results := make([]comparison, len(cells))
	t.Run("cells", func(t *testing.T) {
		for i, c := range cells {
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				j := comparison{c, c.run(t, false), c.run(t, true)}
				assert.LessOrEqual(t, j.got.known, c.staleAllowed(), "POSTs that met a timeout close once it was known")
				assert.LessOrEqual(t, j.got.conns, 105*j.oracle.conns/100, "connections, the oracle of the lower timeout opened %d", j.oracle.conns)
				results[i] = j
			})
		}
	})
	stale, requests := 0, 0
	for _, j := range results {
		stale += j.got.known
		requests += j.requests
	}
	t.Logf("%d of %d requests met a timeout close that was known", stale, requests)
	if *cellsFlag == "all" {
		fmt.Println(markdown(results))
		assert.LessOrEqual(t, stale, requests/5000, "0.02 % of all requests")
	}
}

func TestLearningCellsOfTwoBackendsBehindOneAddress(t *testing.T) {
	runSeveral(t, severalCells([]time.Duration{5 * time.Second, 60 * time.Second}, 0))
}

func TestLearningCellsOfAServerWhoseTimeoutVaries(t *testing.T) {
	runSeveral(t, severalCells([]time.Duration{5 * time.Second}, 0.2))
}
