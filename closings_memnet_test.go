package idlewise

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

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
