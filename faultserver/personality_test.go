package faultserver_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

func describe(t *testing.T, name string) faultserver.PersonalityDescription {
	t.Helper()
	d, err := faultserver.DescribePersonality(name)
	require.NoError(t, err)
	return d
}

func TestEveryPersonalityIsDescribedUnderAllItsNames(t *testing.T) {
	names := faultserver.Personalities()
	require.True(t, slices.IsSorted(names))
	for _, name := range names {
		d := describe(t, name)
		require.Equal(t, name, d.Name)
		for _, text := range []string{d.Text, d.Shutdown, d.Source, d.Close, d.PingResets} {
			require.NotEmpty(t, text, name)
		}
		for _, alias := range d.Aliases {
			require.Equal(t, d, describe(t, alias))
			require.NotContains(t, names, alias)
		}
	}
	_, err := faultserver.DescribePersonality("no such server")
	require.ErrorContains(t, err, "uvicorn")
	require.NotEmpty(t, describe(t, "").Shutdown)
}

func TestEveryPersonalityEndsIdleConnectionsAsItSays(t *testing.T) {
	for _, name := range faultserver.Personalities() {
		d := describe(t, name)
		if d.IdleTimeout == 0 || d.MaxRequests == 1 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{Personality: name})
			c := dial()
			defer endVirtual(s, c)
			exchangeRaw(t, c)
			if d.Close == "drop-rst" || d.Close == "drop-silent" {
				time.Sleep(d.IdleTimeout + time.Second)
				require.Equal(t, faultserver.BySilence, onlyConn(t, s).ClosedBy, "nothing tells the client")
				_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
				require.NoError(t, err)
				c.SetReadDeadline(time.Now().Add(time.Minute))
				_, err = c.Read(make([]byte, 1))
				if d.Close == "drop-rst" {
					require.ErrorIs(t, err, syscall.ECONNRESET, name)
				} else {
					var timeout net.Error
					require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "%s: %v", name, err)
				}
				require.Len(t, s.Journal().Requests(), 1)
				return
			}
			_, err := c.Read(make([]byte, 1))
			if d.Close == "rst" {
				require.ErrorIs(t, err, syscall.ECONNRESET, name)
			} else {
				require.ErrorIs(t, err, io.EOF, name)
			}
			row := onlyConn(t, s)
			require.Equal(t, faultserver.IdleTimeout, row.Reason, name)
			require.GreaterOrEqual(t, row.IdleAge, d.IdleTimeout, name)
			require.LessOrEqual(t, row.IdleAge, d.IdleTimeout+d.Late, name)
		})
	}
}

func TestAPersonalitysIdleTimeoutIsScaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Personality: "uvicorn", TimeScale: 100})
		c := dial()
		defer endVirtual(s, c)
		exchangeRaw(t, c)
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 50*time.Millisecond, onlyConn(t, s).IdleAge)
		require.Equal(t, faultserver.IdleTimeout, onlyConn(t, s).Reason)
	})
}

func TestAPingResetsTheIdleTimerOnlyWhereItDoesInLife(t *testing.T) {
	for server, resets := range map[string]bool{"apache": true, "kestrel": true, "nginx": false, "envoy": false} {
		require.Equal(t, map[bool]string{true: "yes", false: "no"}[resets], describe(t, server).PingResets)
		synctest.Test(t, func(t *testing.T) {
			idle := describe(t, server).IdleTimeoutHTTP2
			s, dial := virtual(t, faultserver.Config{Personality: server, Protocols: protocols(h2c)})
			c := framesOver(t, dial())
			defer endVirtual(s, c)
			c.SetDeadline(time.Time{})
			c.get("/")
			since := time.Now()
			time.Sleep(idle / 2)
			require.NoError(t, c.fr.WritePing(false, [8]byte{}))
			frame[*h2.PingFrame](c)
			frame[*h2.GoAwayFrame](c)
			want := idle
			if resets {
				want += idle / 2
			}
			require.InDelta(t, want, time.Since(since), float64(3*virtualLatency))
		})
	}
}

func TestNodesHTTP2HasNoIdleTimeoutUnlessConfigured(t *testing.T) {
	require.Zero(t, describe(t, "node").IdleTimeoutHTTP2)
	for timeout, ends := range map[time.Duration]bool{0: false, time.Minute: true} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{Personality: "node", IdleTimeout: timeout, Protocols: protocols(h2c)})
			c := framesOver(t, dial())
			defer endVirtual(s, c)
			c.SetDeadline(time.Time{})
			c.get("/")
			time.Sleep(time.Hour)
			require.Equal(t, ends, onlyConn(t, s).ClosedBy != faultserver.StillOpen)
		})
	}
}

func TestASlowRequestMeetsTheServersTimeout(t *testing.T) {
	for server, want := range map[string]string{
		"haproxy": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "nginx": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := virtual(t, faultserver.Config{Personality: server, TimeScale: 10})
			c := dial()
			defer endVirtual(s, c)
			exchangeRaw(t, c)
			_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHo")
			require.NoError(t, err)
			since := time.Now()
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, want, string(got))
			require.Equal(t, describe(t, server).HeadTimeout/10+2*virtualLatency, time.Since(since))
			require.Equal(t, faultserver.RequestTimeout, onlyConn(t, s).Reason)
		})
	}
}

func TestAHeadThatComesInTimeLeavesNoDeadlineBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Personality: "kestrel"}) // 30 s for a head
		c := dial()
		defer endVirtual(s, c)
		for range 3 {
			exchangeRaw(t, c)
			time.Sleep(2 * time.Minute)
		}
		require.Len(t, s.Journal().Conns(), 1)
	})
}
