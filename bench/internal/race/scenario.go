// Package race lets the clients meet what servers do to connections: close them
// while they are idle, restart, reset them, send GOAWAY.
package race

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

// Methods are those that callers use, equally often.
var Methods = []string{"GET", "PUT", "DELETE", "POST"}

// Options say how much is sent.
type Options struct {
	Callers  int
	Requests int // per client, shared among the callers
	Seed     uint64
	Speed    float64 // how many times faster than stated servers count time; 0: 1
}

// A Scenario is what happens to a server under requests.
type Scenario struct {
	Name  string
	Title string
	// KeepAlive is the server's timeout, 0 if there is none to tell of.
	KeepAlive time.Duration
	// Alone gives each caller a client of its own: in a shared pool it would be
	// given the connection that another has just used, and none would get old.
	Alone bool
	HTTP2 bool

	moreCallers, moreRequests int // times what the options say
	server                    faultserver.Config
	// disturb runs beside the requests; pause is what a caller waits before one.
	disturb func(ctx context.Context, s *faultserver.Server)
	pause   func(rng *rand.Rand, keepAlive time.Duration) time.Duration
}

// uvicorn closes connections that were idle for 5 s.
const uvicorn = 5 * time.Second

// Scenarios are all there are.
var Scenarios = []Scenario{
	{
		Name: "idle", Title: "Gaps around the server's keep-alive (uvicorn's 5 s, 20 times as fast)",
		KeepAlive: uvicorn / 20, Alone: true,
		moreCallers: 1, moreRequests: 1,
		server: faultserver.Config{Personality: "uvicorn"},
		pause:  aroundTheDeadline,
	},
	{
		Name: "spread", Title: "Gaps of anything up to twice the server's keep-alive (uvicorn's 5 s, in real time)",
		KeepAlive: uvicorn, Alone: true,
		moreCallers: 8, moreRequests: 2, // waiting is most of it
		server: faultserver.Config{Personality: "uvicorn"},
		pause: func(rng *rand.Rand, t time.Duration) time.Duration {
			return time.Duration(rng.Int64N(int64(2 * t)))
		},
	},
	{
		Name: "restart", Title: "A graceful restart every 50 ms under load, HTTP/1",
		moreCallers: 1, moreRequests: 1,
		disturb: every(50*time.Millisecond, (*faultserver.Server).Restart),
		pause:   upTo(4 * time.Millisecond),
	},
	{
		Name: "kill", Title: "All connections reset every 50 ms under load, HTTP/1",
		moreCallers: 1, moreRequests: 1,
		disturb: every(50*time.Millisecond, (*faultserver.Server).Kill),
		pause:   upTo(4 * time.Millisecond),
	},
	{
		Name: "goaway", Title: "A graceful GOAWAY every 100 requests, HTTP/2", HTTP2: true,
		moreCallers: 1, moreRequests: 1,
		server: faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.GoAway, NthOnConn: 100}}},
		pause:  upTo(4 * time.Millisecond),
	},
}

// NearestGap and FarthestGap are the bounds of the gaps in the scenario idle, as
// shares of the keep-alive.
const (
	NearestGap  = 0.75
	FarthestGap = 1.10
)

// aroundTheDeadline returns gaps of which three in five lie within 2 % of the
// keep-alive, where the race is.
func aroundTheDeadline(rng *rand.Rand, t time.Duration) time.Duration {
	from, to := NearestGap, FarthestGap
	if rng.IntN(5) < 3 {
		from, to = 0.98, 1.02
	}
	return time.Duration((from + rng.Float64()*(to-from)) * float64(t))
}

func every(d time.Duration, do func(*faultserver.Server)) func(context.Context, *faultserver.Server) {
	return func(ctx context.Context, s *faultserver.Server) {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				do(s)
			case <-ctx.Done():
				return
			}
		}
	}
}

func upTo(d time.Duration) func(*rand.Rand, time.Duration) time.Duration {
	return func(rng *rand.Rand, _ time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
}

// at is the scenario at the options' speed.
func (sc Scenario) at(o *Options) Scenario {
	if sc.KeepAlive > 0 {
		if o.Speed > 0 {
			sc.KeepAlive = time.Duration(float64(sc.KeepAlive) / o.Speed)
		}
		sc.server.TimeScale = float64(uvicorn) / float64(sc.KeepAlive)
	}
	return sc
}
