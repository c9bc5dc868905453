package faultserver_test

import (
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// limited runs a test in virtual time over every protocol, with a handler that
// has a controller of its response.
func limited(t *testing.T, h func(*http.ResponseController, http.ResponseWriter, *http.Request), test func(*testing.T, *faultserver.Server)) {
	t.Helper()
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		synctest.Test(t, func(t *testing.T) {
			cfg := cfg
			cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(http.NewResponseController(w), w, r) })
			s, _ := virtual(t, cfg)
			test(t, s)
			endVirtual(s)
		})
	})
}

func TestAHandlerLimitsHowLongItReads(t *testing.T) {
	var err, again error
	var took time.Duration
	limited(t, func(c *http.ResponseController, w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		if err = c.SetReadDeadline(began.Add(time.Minute)); err != nil {
			return
		}
		_, err = io.Copy(io.Discard, r.Body)
		took = time.Since(began)
		c.SetReadDeadline(time.Time{})
		_, again = r.Body.Read(make([]byte, 1))
		io.WriteString(w, "too slow")
	}, func(t *testing.T, s *faultserver.Server) {
		body, never := io.Pipe()
		go io.WriteString(never, "begin")
		resp, doErr := s.Client().Post(s.URL, "", body)
		require.NoError(t, doErr)
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		never.Close()
		require.Equal(t, "too slow", string(b))
		require.NoError(t, s.Close()) // the handler has returned
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.ErrorIs(t, again, os.ErrDeadlineExceeded, "as in net/http")
		require.Equal(t, time.Minute, took)
		require.EqualValues(t, len("begin"), onlyRequest(t, s).BodyBytes)
	})
}

func TestAHandlerLimitsHowLongItWrites(t *testing.T) {
	for name, wait := range map[string]time.Duration{"set before": time.Minute, "over already": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			var err error
			var took time.Duration
			limited(t, func(c *http.ResponseController, w http.ResponseWriter, r *http.Request) {
				c.Flush()
				began := time.Now()
				if err = c.SetWriteDeadline(began.Add(wait)); err != nil {
					return
				}
				for err == nil {
					_, err = w.Write(make([]byte, 1<<20))
				}
				took = time.Since(began)
			}, func(t *testing.T, s *faultserver.Server) {
				resp, getErr := s.Client().Get(s.URL)
				require.NoError(t, getErr)
				time.Sleep(2 * time.Minute)
				_, getErr = io.Copy(io.Discard, resp.Body)
				require.Error(t, getErr)
				resp.Body.Close()
				require.NotEqual(t, faultserver.ByClient, onlyConn(t, s).ClosedBy)
				require.NoError(t, s.Close()) // the handler has returned
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.Equal(t, max(wait, 0), took)
				require.False(t, onlyRequest(t, s).Answered)
			})
		})
	}
}

func TestAHandlersDeadlinesAreOfItsRequestAlone(t *testing.T) {
	limited(t, func(c *http.ResponseController, w http.ResponseWriter, r *http.Request) {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		io.WriteString(w, "in time")
	}, func(t *testing.T, s *faultserver.Server) {
		for range 3 {
			resp, err := s.Client().Get(s.URL)
			require.NoError(t, err)
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "in time", string(b))
			resp.Body.Close()
			time.Sleep(time.Minute)
		}
		require.Equal(t, 3, onlyConn(t, s).Requests)
	})
}
