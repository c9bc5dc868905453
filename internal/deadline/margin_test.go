package deadline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheMarginCoversTheRoundTripAndAShareOfTheDeadline(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ deadline, rtt, want time.Duration }{
		{100 * ms, 0, 20 * ms},                         // 20 %
		{5 * time.Second, ms, 250 * ms},                // 250 ms
		{75 * time.Second, ms, 750 * ms},               // 1 %
		{5 * time.Second, 400 * ms, 510 * ms},          // 1.25 RTT + 10 ms
		{20 * ms, 100 * ms, 135 * ms},                  // more than the deadline: no reuse
		{time.Hour, 50 * ms, 36 * time.Second},         // 1 %
		{2 * time.Second, 20 * ms, 250 * ms},           // 250 ms
		{0, 0, 10 * ms},                                // timers alone
		{time.Second, 0, 200 * ms},                     // 20 %
		{30 * ms, 0, 10 * ms},                          // timers alone
		{1250 * ms, 0, 250 * ms},                       // where 20 % meets 250 ms
		{25 * time.Second, 192 * ms, 250 * ms},         // where the round trip meets 250 ms
		{25 * time.Second, 200 * ms, 260 * ms},         // and beyond
		{600 * time.Second, 100 * ms, 6 * time.Second}, // a load balancer
	} {
		require.Equal(t, c.want, Margin(c.deadline, c.rtt), "%v at %v", c.deadline, c.rtt)
	}
}
