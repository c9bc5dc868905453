package clockjump

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOnlyTheWallClockJumps(t *testing.T) {
	for _, skew := range []time.Duration{time.Hour, -time.Hour, 1500 * time.Millisecond, -time.Nanosecond, 0} {
		before := time.Now()
		now := time.Now()
		jumped := By(now, skew)
		require.Equal(t, now.Sub(before), jumped.Sub(before), "monotonic")
		require.Equal(t, now.Round(0).Sub(before.Round(0))+skew, jumped.Round(0).Sub(before.Round(0)), "wall")
		require.Equal(t, now.Location(), jumped.Location())
		require.Equal(t, now.Add(time.Second).Sub(before), jumped.Add(time.Second).Sub(before))
	}
}

func TestInVirtualTimeTheMonotonicClockGoesOnWithoutTheJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew := time.Duration(0)
		now := func() time.Time { return By(time.Now(), skew) }
		before := now()
		time.Sleep(time.Second)
		skew = time.Hour
		after := now()
		require.Equal(t, time.Second, after.Sub(before))
		require.Equal(t, time.Hour+time.Second, after.Round(0).Sub(before.Round(0)))
	})
}
