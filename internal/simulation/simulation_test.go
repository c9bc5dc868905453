package simulation

import (
	"io"
	"log"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http's complaints about the servers
	goleak.VerifyTestMain(m)
}

func TestThePromisesHoldInTwoHundredWorlds(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 40
	}
	var sum Report
	for seed := range seeds {
		r := Run(t, Draw(seed))
		sum.Add(r)
		if len(r.Violations) > 0 {
			t.Errorf("seed %d: %v\n%s", seed, r, Command(seed))
		}
	}
	t.Logf("%v", sum)
}
