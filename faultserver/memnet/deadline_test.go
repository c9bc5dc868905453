package memnet_test

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func requireTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var failure net.Error
	require.ErrorAs(t, err, &failure)
	require.True(t, failure.Timeout())
}

func TestAPastDeadlineFailsCallsThatNeedNotWait(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		write(t, server, "here")
		time.Sleep(latency)
		synctest.Wait()
		require.NoError(t, client.SetDeadline(time.Unix(1, 0)))
		takes(t, 0, func() {
			requireTimeout(t, readError(client))
			requireTimeout(t, writeError(client))
		})
		require.NoError(t, client.SetDeadline(time.Time{}))
		readFull(t, client, "here")
		write(t, client, request)
	})
}

func TestAFutureDeadlineEndsAReadOnTime(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, _ *memnet.Conn) {
		client.SetReadDeadline(time.Now().Add(3 * time.Second))
		takes(t, 3*time.Second, func() { requireTimeout(t, readError(client)) })
		takes(t, 0, func() { requireTimeout(t, readError(client)) })
		write(t, client, "the other direction has none")
	})
}

func TestAFutureDeadlineEndsAWriteOnTimeAndSaysHowMuchWasSent(t *testing.T) {
	between(t, memnet.Options{Latency: latency, SendBuffer: 4, ReceiveBuffer: 4}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		client.SetWriteDeadline(time.Now().Add(3 * time.Second))
		takes(t, 3*time.Second, func() {
			n, err := client.Write([]byte("much too much"))
			require.Equal(t, 8, n)
			requireTimeout(t, err)
		})
		readFull(t, server, "much too")
	})
}

func TestAClearedDeadlineEndsNothing(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		client.SetReadDeadline(time.Now().Add(time.Second))
		client.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { server.Write([]byte("late")) })
		takes(t, time.Minute+latency, func() { readFull(t, client, "late") })
	})
}

func TestALaterDeadlineReplacesAnEarlierOneOfAPendingRead(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, _ *memnet.Conn) {
		start := time.Now()
		client.SetReadDeadline(start.Add(2 * time.Second))
		time.AfterFunc(time.Second, func() { client.SetReadDeadline(start.Add(time.Minute)) })
		takes(t, time.Minute, func() { requireTimeout(t, readError(client)) })
	})
}

func TestADeadlineInThePastEndsPendingCallsAtOnce(t *testing.T) {
	between(t, memnet.Options{SendBuffer: 4, ReceiveBuffer: 4}, func(t *testing.T, _ *memnet.Network, client, _ *memnet.Conn) {
		failures := make(chan error, 3)
		go func() { failures <- readError(client) }()
		for range 2 {
			go func() {
				_, err := client.Write([]byte("much too much"))
				failures <- err
			}()
		}
		synctest.Wait()
		require.Empty(t, failures)
		takes(t, 0, func() {
			require.NoError(t, client.SetDeadline(time.Unix(1, 0)))
			for range 3 {
				requireTimeout(t, <-failures)
			}
		})
	})
}

func TestADeadlineOutlivedByItsConnectionDoesNothing(t *testing.T) {
	between(t, far, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		client.SetDeadline(time.Now().Add(time.Second))
		client.Close()
		time.Sleep(time.Minute)
		require.ErrorIs(t, readError(client), net.ErrClosed)
	})
}

func TestADeadlineReplacedAtTheInstantItExpiresEndsNothingLater(t *testing.T) {
	between(t, memnet.Options{}, func(t *testing.T, _ *memnet.Network, client, server *memnet.Conn) {
		// Timer and setter are due together; the scheduler picks the order.
		for range 2000 {
			client.SetReadDeadline(time.Now().Add(time.Second))
			time.Sleep(time.Second)
			client.SetReadDeadline(time.Time{})
			synctest.Wait()
			write(t, server, "x")
			readFull(t, client, "x")
		}
	})
}
