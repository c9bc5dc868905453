package faultserver_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAnIdleFaultStrikesOnceInAnIdlePeriodWhateverIsInjectedMeanwhile(t *testing.T) {
	later := faultserver.Fault{Kind: faultserver.IdleReset, After: time.Hour}
	for name, inject := range map[string]func(t *testing.T, s *faultserver.Server){
		"injected": func(t *testing.T, s *faultserver.Server) { s.Inject(later) },
		"by a phase": func(t *testing.T, s *faultserver.Server) {
			require.NoError(t, s.Play(t.Context(), parse(t, "name: n\nphases:\n- name: p\n  faults:\n  - {kind: idle-reset, after: 1h}\n")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bytes := faultserver.Fault{Kind: faultserver.IdleBytes, After: time.Second, Value: "junk"}
			inVirtualTime(t, faultserver.Config{Faults: []faultserver.Fault{bytes}}, func(t *testing.T, s *faultserver.Server, c *rawConn) {
				c.get("/")
				time.Sleep(time.Minute)
				inject(t, s)
				time.Sleep(time.Minute)
				s.Inject(faultserver.Fault{Kind: faultserver.IdleClose, After: 3 * time.Minute})
				got, err := c.rest()
				require.NoError(t, err)
				require.Equal(t, "junk", got)
				require.Equal(t, 1, s.Faults()[0].Struck)
				require.Equal(t, 3*time.Minute, onlyConn(t, s).IdleAge)
			})
		})
	}
}

func TestAnIdlePeriodCountsOnceForNthWhateverIsInjectedMeanwhile(t *testing.T) {
	second := faultserver.Fault{Kind: faultserver.IdleClose, After: time.Second, Nth: 2}
	inVirtualTime(t, faultserver.Config{Faults: []faultserver.Fault{second}}, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.get("/")
		time.Sleep(time.Minute)
		s.Inject(faultserver.Fault{Kind: faultserver.IdleReset, After: time.Hour})
		time.Sleep(time.Minute)
		require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy, "its first idle period")
		c.get("/")
		c.wantFIN()
		require.Equal(t, time.Second, onlyConn(t, s).IdleAge)
	})
}

func TestADrawThatSparedAnIdleConnectionIsNotRepeated(t *testing.T) {
	rare := faultserver.Fault{Kind: faultserver.IdleClose, After: time.Second, Probability: 0.05}
	inVirtualTime(t, faultserver.Config{Faults: []faultserver.Fault{rare}}, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.get("/")
		time.Sleep(time.Minute)
		require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy, "what the seed 0 draws first")
		for range 200 {
			s.Inject(faultserver.Fault{Kind: faultserver.IdleReset, After: time.Hour})()
			time.Sleep(time.Second)
		}
		require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy)
	})
}

func TestAFaultTakenOutAndInjectedAgainIsANewOne(t *testing.T) {
	junk := faultserver.Fault{Kind: faultserver.IdleBytes, After: time.Second, Value: "junk"}
	inVirtualTime(t, faultserver.Config{}, func(t *testing.T, s *faultserver.Server, c *rawConn) {
		c.get("/")
		for range 3 {
			remove := s.Inject(junk)
			_, err := io.ReadFull(c.br, make([]byte, len(junk.Value)))
			require.NoError(t, err)
			remove()
		}
	})
}

func TestAnIdleFaultThatIsDueWhileAnotherWritesStrikesBehindIt(t *testing.T) {
	const size = 1 << 20 // more than the buffers hold
	long := faultserver.Fault{Kind: faultserver.IdleBytes, After: time.Second, Value: strings.Repeat("x", size)}
	end := faultserver.Fault{Kind: faultserver.IdleClose, After: time.Minute}
	for _, injectedMeanwhile := range []bool{false, true} {
		cfg := faultserver.Config{Faults: []faultserver.Fault{long, end}}
		if injectedMeanwhile {
			cfg.Faults = cfg.Faults[:1]
		}
		inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
			c.get("/")
			time.Sleep(10 * time.Second)
			if injectedMeanwhile {
				s.Inject(end)
			}
			time.Sleep(time.Hour)
			got, err := c.rest()
			require.NoError(t, err)
			require.Len(t, got, size)
			require.Equal(t, faultserver.IdleClose, onlyConn(t, s).Fault)
		})
	}
}
