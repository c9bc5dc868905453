package idlewise

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAProbeOfAServerThatNeverClosesGivesALowerBound(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeOutlasted, r.Finding)
		require.Equal(t, 2*time.Minute, r.Took)
		require.Equal(t, 2*time.Minute, r.AtLeast)
		require.False(t, r.Cut)
		require.Zero(t, r.SuggestedPolicy())
		require.Contains(t, r.String(), "still open after 2m0s")
	})
}

func TestAProbeEndsWithItsContextAndTellsWhatItKnows(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), 47*time.Second)
		defer cancel()
		r, err := w.tr.Probe(ctx, w.url("/"), ProbeOptions{})
		require.NoError(t, err)
		require.True(t, r.Cut)
		require.Equal(t, 47*time.Second, r.Took)
		require.Equal(t, ProbeOutlasted, r.Finding)
		require.Contains(t, r.String(), "still open after 47s")
		require.Equal(t, 47*time.Second, r.AtLeast)
	})
}

func TestAProbeThatIsCanceledBeforeItBeganKnowsNothing(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r, err := w.tr.Probe(ctx, w.url("/"), ProbeOptions{})
		require.NoError(t, err)
		require.True(t, r.Cut)
		require.Equal(t, ProbeInconclusive, r.Finding)
	})
}

func TestAProbeOfAServerThatClosesBehindEachResponseSaysSo(t *testing.T) {
	cfg := worldConfig{latency: 5 * time.Millisecond, server: faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.SilentClose}},
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeClosesAtOnce, r.Finding, r.String())
		require.Equal(t, Policy{MaxRequestsPerConn: 1}, r.SuggestedPolicy())
	})
}

func TestAProbeOfAServerThatAnnouncesTheEndSaysSo(t *testing.T) {
	cfg := worldConfig{server: faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.AnnounceClose}}}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeNotKept, r.Finding, r.String())
		require.Zero(t, r.SuggestedPolicy())
	})
}

func TestAProbeOfAServerThatDoesNotAnswerEndsInTime(t *testing.T) {
	for name, c := range map[string]struct {
		fault faultserver.Fault
		end   ProbeEnd
	}{
		"silence": {faultserver.Fault{Kind: faultserver.NeverAnswer}, ProbeEndUnfinished},
		"closed":  {faultserver.Fault{Kind: faultserver.FinAfterRequest}, ProbeEndNoAnswer},
		"reset":   {faultserver.Fault{Kind: faultserver.RstAfterRequest}, ProbeEndNoAnswer},
		"cut":     {faultserver.Fault{Kind: faultserver.CloseInHeaders}, ProbeEndNoAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := worldConfig{server: faultserver.Config{Faults: []faultserver.Fault{c.fault}}}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				r := w.probe(ProbeOptions{})
				require.Equal(t, ProbeUnanswered, r.Finding, r.String())
				require.Equal(t, c.end, r.Conns[0].End, r.String())
				require.LessOrEqual(t, r.Took, 12*time.Second)
			})
		})
	}
}

func TestAProbeOfAServerThatTricklesAHeaderEndsInTime(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		trickler, err := w.net.Listen("trickler:80")
		require.NoError(t, err)
		go serveRaw(trickler, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Slow: ")
			for {
				if _, err := io.WriteString(c, "a"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		r, err := w.tr.Probe(context.Background(), "http://trickler/", ProbeOptions{})
		require.NoError(t, err)
		require.Equal(t, ProbeUnanswered, r.Finding, r.String())
		require.Contains(t, r.Summary(), "no complete response after 10s")
		require.LessOrEqual(t, r.Took, 12*time.Second)
		trickler.Close()
		time.Sleep(2 * time.Second) // until its handlers notice
	})
}

// serveRaw gives each connection to serve once a request's bytes have come.
func serveRaw(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if n, _ := c.Read(make([]byte, 4096)); n > 0 {
				serve(c)
			}
		}()
	}
}

func TestAProbeReadsNoEndlessHeader(t *testing.T) {
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Long", strings.Repeat("a", 200<<10))
	})
	inWorld(t, worldConfig{server: faultserver.Config{Handler: handler}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{})
		require.Equal(t, ProbeUnanswered, r.Finding, r.String())
		require.Contains(t, r.Summary(), "headers exceeded")
	})
}

func TestAProbeReadsNoMoreOfAResponseThanItMay(t *testing.T) {
	const body = 300 << 10
	var sent int
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			rw.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		rw.WriteHeader(http.StatusOK)
		for range body >> 10 {
			n, err := rw.Write(make([]byte, 1<<10))
			sent += n
			if err != nil {
				return
			}
		}
	})
	inWorld(t, worldConfig{server: faultserver.Config{Handler: handler}}, func(t *testing.T, w *world) {
		r := w.probe(ProbeOptions{Connections: 1, MaxBody: 1 << 10})
		require.Equal(t, ProbeUnanswered, r.Finding, r.String())
		require.Contains(t, r.Summary(), "MaxBody")
		require.Less(t, sent, body)
	})
}

func TestAProbeOfAServerThatRefusesReportsAndFails(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		r, err := w.tr.Probe(context.Background(), "http://10.0.0.9/", ProbeOptions{})
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "is the server running")
		require.Equal(t, ProbeUnreachable, r.Finding)
		require.Len(t, r.Conns, 3)
		require.Contains(t, r.String(), "connection refused")
	})
}

func TestAProbeNamesTheProxyThatCannotBeReached(t *testing.T) {
	cfg := worldConfig{base: func(b *http.Transport) {
		b.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "10.0.0.9:3128", User: url.UserPassword("me", "secret")})
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for _, target := range []string{"http://a/", "https://a/"} {
			_, err := w.tr.Probe(context.Background(), target, ProbeOptions{Connections: 1})
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.ErrorContains(t, err, "is the proxy http://me:xxxxx@10.0.0.9:3128 running")
		}
	})
}

func TestAProbeDoesNotWaitForADialerThatHeedsNoContext(t *testing.T) {
	var release chan struct{}
	cfg := worldConfig{base: func(b *http.Transport) {
		b.DialContext = nil
		//lint:ignore SA1019 it has no context, which is the point
		b.Dial = func(string, string) (net.Conn, error) {
			<-release
			c, _ := net.Pipe()
			return c, nil
		}
	}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		release = make(chan struct{})
		r, err := w.tr.Probe(context.Background(), w.url("/"), ProbeOptions{})
		require.ErrorContains(t, err, "no connection after 10s")
		require.LessOrEqual(t, r.Took, 12*time.Second)
		close(release)
	})
}

func TestAProbeThatIsShorterThanADialSaysThatThereWasNoConnection(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.net.Cut(worldAddr, true)
		r, err := w.tr.Probe(context.Background(), w.url("/"), ProbeOptions{Timeout: 3 * time.Second})
		require.ErrorContains(t, err, "no connection")
		require.Equal(t, ProbeUnreachable, r.Finding)
		require.Equal(t, 3*time.Second, r.Took)

		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r, err = w.tr.Probe(ctx, w.url("/"), ProbeOptions{})
		require.NoError(t, err)
		require.True(t, r.Cut)
		require.NotEqual(t, ProbeUnreachable, r.Finding)
	})
}

func TestAProbeWhoseDialHangsEndsInTime(t *testing.T) {
	inWorld(t, worldConfig{}, func(t *testing.T, w *world) {
		w.net.Cut(worldAddr, true)
		r, err := w.tr.Probe(context.Background(), w.url("/"), ProbeOptions{})
		require.ErrorContains(t, err, "no connection after 10s")
		require.LessOrEqual(t, r.Took, 12*time.Second)
	})
}

func TestAProbeRefusesWhatItCannotDo(t *testing.T) {
	tr, err := New(Config{Base: &http.Transport{}})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		url  string
		opt  ProbeOptions
		want string
	}{
		"scheme":       {"ftp://a", ProbeOptions{}, "begin it with http://"},
		"no scheme":    {"example.com", ProbeOptions{}, "begin it with http://"},
		"no host":      {"http://", ProbeOptions{}, "names no host"},
		"junk":         {"http://a b:secret@x\x7f", ProbeOptions{}, "the URL is invalid"},
		"unit":         {"http://a", ProbeOptions{Timeout: 120}, "ProbeOptions.Timeout: 120ns is under a millisecond"},
		"negative":     {"http://a", ProbeOptions{Timeout: -1}, "ProbeOptions.Timeout"},
		"too long":     {"http://a", ProbeOptions{Timeout: 48 * time.Hour}, "at most 24h"},
		"too many":     {"http://a", ProbeOptions{Connections: 33}, "ProbeOptions.Connections"},
		"too few":      {"http://a", ProbeOptions{Connections: -1}, "ProbeOptions.Connections"},
		"requests":     {"http://a", ProbeOptions{MaxRequests: -1}, "ProbeOptions.MaxRequests"},
		"unsafe":       {"http://a", ProbeOptions{Method: "POST", Bisect: true}, "use GET, HEAD"},
		"bad method":   {"http://a", ProbeOptions{Method: "A B"}, "ProbeOptions.Method or Header"},
		"bad header":   {"http://a", ProbeOptions{Header: http.Header{"A\n": {"b"}}}, "ProbeOptions.Method or Header"},
		"both at once": {"ftp://a", ProbeOptions{Connections: 33}, "ProbeOptions.Connections"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tr.Probe(context.Background(), c.url, c.opt)
			require.Nil(t, r)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "ProbeOptions.AnswerTimeout", "which nobody gave")
			require.EqualError(t, tr.CheckProbe(c.url, c.opt), err.Error(), "and says so before")
		})
	}
	require.NoError(t, tr.CheckProbe("http://a", ProbeOptions{}))
	require.NoError(t, tr.Close())
	require.ErrorIs(t, tr.CheckProbe("http://a", ProbeOptions{}), ErrClosed)
	_, err = tr.Probe(context.Background(), "http://a", ProbeOptions{})
	require.True(t, errors.Is(err, ErrClosed))
}
