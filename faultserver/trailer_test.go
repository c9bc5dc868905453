package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestTrailersReachTheRequestWhenItsBodyHasBeenRead(t *testing.T) {
	everyProtocol(t, func(t *testing.T, cfg faultserver.Config, proto string) {
		synctest.Test(t, func(t *testing.T) {
			cfg := cfg
			cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Minute) // they have arrived
				require.Equal(t, http.Header{"X-Sum": nil}, r.Trailer, "the map is the handler's until then")
				r.Trailer["X-Own"] = []string{"mine"}
				io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, r.Trailer)
			})
			s, _ := virtual(t, cfg)
			req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, io.MultiReader(strings.NewReader("body")))
			require.NoError(t, err)
			req.Trailer = http.Header{"X-Sum": {"4"}}
			resp, err := s.Client().Do(req)
			require.NoError(t, err)
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, "map[X-Own:[mine] X-Sum:[4]]", string(b))
			endVirtual(s)
		})
	})
}

func TestTrailersThatWereNotAnnouncedReachTheRequestOverHTTP1(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Trailer)
	})})
	c := dialRaw(t, s)
	c.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n")
	_, body := c.response("POST")
	require.Equal(t, "map[X-Sum:[7]]", body)
}
