package netlab

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPacketIsReadAsItWasSent(t *testing.T) {
	ip := []byte{0x45, 0, 0, 45, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2}
	tcp := []byte{0x1f, 0x90, 0, 80, 0, 0, 0, 5, 0, 0, 0, 7, 0x50, 0x18, 1, 0, 0, 0, 0, 0}
	b := slices.Concat(ip, tcp, []byte("hello"))
	p, ok := parse(ToServer, b)
	require.True(t, ok)
	require.Equal(t, "10.77.0.1:8080 > 10.77.0.2:80 [P.] seq 5 ack 7 win 256 len 5", p.String())
	require.Equal(t, len(b), p.Size)
	require.False(t, p.PureAck())

	b[9] = 1
	p, ok = parse(ToServer, b)
	require.True(t, ok)
	require.Equal(t, "10.77.0.1 > 10.77.0.2 protocol 1, 45 bytes", p.String())

	b[0] = 0x60
	_, ok = parse(ToServer, b)
	require.False(t, ok, "IPv6")
	for n := range len(b) {
		parse(ToServer, b[:n])
	}
}
