package idlewise

import (
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestWhatAClosingProvesInVirtualTime(t *testing.T) {
	for _, latency := range []time.Duration{500 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond} {
		for _, delayed := range []time.Duration{0, 44 * time.Millisecond} {
			for _, c := range closings {
				if c.unfair && delayed == 0 {
					c.want = Unknown // the acknowledgement came first
				}
				t.Run(c.says+"/"+latency.String()+"/"+delayed.String(), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						network := memnet.New(memnet.Options{Latency: latency, DelayedAck: delayed})
						closingNet{
							listen:   func() (net.Listener, error) { return network.Listen("10.0.0.1:80") },
							dial:     network.DialContext,
							rtt:      2 * latency,
							patience: delayed + time.Second,
						}.judge(t, c)
					})
				})
			}
		}
	}
}

func TestNoPOSTIsExecutedTwiceInVirtualTime(t *testing.T) {
	seeds, total := 1000, soundness{evidence: map[Evidence]int{}}
	if testing.Short() {
		seeds = 100
	}
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			latency := time.Duration(rng.Int64N(int64(50 * time.Millisecond)))
			opts := memnet.Options{Latency: latency, Seed: seed}
			if rng.IntN(2) == 0 {
				opts.DelayedAck = time.Duration(rng.Int64N(int64(60 * time.Millisecond)))
			}
			if rng.IntN(2) == 0 {
				opts.Jitter = time.Duration(rng.Int64N(int64(latency + 1)))
			}
			if rng.IntN(4) == 0 {
				opts.Loss = rng.Float64() / 20
			}
			network := memnet.New(opts)
			out := closingNet{
				listen:   func() (net.Listener, error) { return network.Listen("10.0.0.1:80") },
				dial:     network.DialContext,
				rtt:      2 * latency,
				patience: 10 * time.Second,
			}.storming(t, 20, 2, seed)
			require.Zero(t, out.twice, "seed %d, %+v: %v", seed, opts, out)
			if opts.Loss == 0 {
				for _, took := range out.verdicts {
					require.LessOrEqual(t, took, 2*(2*latency+opts.Jitter)+50*time.Millisecond, "seed %d, %+v", seed, opts)
				}
			}
			total.posts += out.posts
			total.failed += out.failed
			total.crossed += out.crossed
			total.proven += out.proven
			total.verdicts = append(total.verdicts, out.verdicts...)
			for e, n := range out.evidence {
				total.evidence[e] += n
			}
		})
	}
	t.Logf("%d seeds: %v", seeds, total)
	require.NotZero(t, total.proven)
}
