package idlewise

import (
	"net"
	"testing"
	"time"

	"github.com/idlewise/idlewise/internal/netlab"
)

// The kernel's own acknowledgements are delayed by 40 ms or a little more.
const kernelPatience = 300 * time.Millisecond

func TestWhatAClosingProvesOverARealNetwork(t *testing.T) {
	lab := netlab.New(t)
	for _, rtt := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond} {
		lab.SetDelay(rtt / 2)
		for _, tls := range []bool{false, true} {
			n := closingNet{
				listen:   func() (net.Listener, error) { return lab.Listen(netlab.ServerIP + ":0") },
				dial:     lab.Dialer(),
				rtt:      rtt,
				patience: kernelPatience,
				tls:      tls,
			}
			for _, c := range closings {
				if c.unfair {
					continue
				}
				t.Run(c.says+"/"+rtt.String()+"/"+map[bool]string{false: "plain", true: "TLS"}[tls], func(t *testing.T) {
					n.judge(t, c)
				})
			}
		}
	}
}
