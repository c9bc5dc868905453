package tcpinfo

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSinceReceivedCountsFromTheKernelsReceiptNotFromTheRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("TCP_INFO is Linux's")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()
	_, err = server.Write([]byte("x"))
	require.NoError(t, err)
	written := time.Now()

	<-time.After(100 * time.Millisecond) // the time that passes is what is measured
	_, err = client.Read(make([]byte, 1))
	require.NoError(t, err)
	raw, err := client.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		age, ok := SinceReceived(fd)
		require.True(t, ok)
		require.GreaterOrEqual(t, age+Tick, 100*time.Millisecond)
		require.LessOrEqual(t, age, time.Since(written)+Tick)
	}))
}
