package idlewise

import (
	"fmt"
	"net"
	"time"
)

// The defaults of Policy.TCPKeepAlive.
const (
	defaultProbeIdle     = 15 * time.Second
	defaultProbeInterval = 5 * time.Second
	defaultProbeCount    = 3
)

var defaultKeepAlive = net.KeepAliveConfig{
	Enable: true, Idle: defaultProbeIdle, Interval: defaultProbeInterval, Count: defaultProbeCount,
}

// inheritKeepAlive returns own with its parts filled in, or parent if own is
// empty.
func inheritKeepAlive(own, parent net.KeepAliveConfig) net.KeepAliveConfig {
	if own == (net.KeepAliveConfig{}) {
		return parent
	}
	fill(&own.Idle, defaultProbeIdle)
	fill(&own.Interval, defaultProbeInterval)
	fill(&own.Count, defaultProbeCount)
	return own
}

func keepAliveMistakes(k net.KeepAliveConfig, path string) []error {
	if !k.Enable && k != (net.KeepAliveConfig{}) && k.Idle >= 0 {
		return []error{fmt.Errorf("%s.TCPKeepAlive.Enable: false, with other parts set; set it to true, or Idle to -1 to leave the dialer's settings alone", path)}
	}
	return nil
}

// keepAlive lets the kernel probe a connection that was just dialed. What the
// system does not know of it, it ignores.
func (r *dialRecord) keepAlive(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok && r.probes.Enable && r.probes.Idle > 0 {
		tcp.SetKeepAliveConfig(r.probes)
	}
}
