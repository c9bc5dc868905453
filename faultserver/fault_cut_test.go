package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// TestACutBehindTheEndLeavesACompleteResponse takes net/http's word for what is
// complete.
func TestACutBehindTheEndLeavesACompleteResponse(t *testing.T) {
	write := func(w http.ResponseWriter) { io.WriteString(w, "abcdef") }
	flush := func(w http.ResponseWriter) { w.(http.Flusher).Flush() }
	answers := map[string]http.HandlerFunc{
		"known length": func(w http.ResponseWriter, r *http.Request) { write(w) },
		"chunks":       func(w http.ResponseWriter, r *http.Request) { flush(w); write(w) },
		"trailers":     func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Trailer:X-A", "1"); write(w) },
		"declared length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "6")
			write(w)
			flush(w)
		},
		"empty":          func(w http.ResponseWriter, r *http.Request) {},
		"empty, flushed": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "0"); flush(w) },
		"no content":     func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) },
		"not modified": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "6")
			w.WriteHeader(304)
		},
	}
	cuts := []faultserver.Fault{{Kind: faultserver.CloseInHeaders}, {Kind: faultserver.CloseInHeaders, Bytes: 1 << 20}}
	for _, n := range []int64{0, 5, 6, 7, 1 << 20} {
		cuts = append(cuts, faultserver.Fault{Kind: faultserver.CloseInBody, Bytes: n})
	}
	complete := 0
	for name, h := range answers {
		for _, cut := range cuts {
			for _, pace := range []faultserver.Fault{{}, {Kind: faultserver.SlowBody, Rate: 1, Bytes: 2}} {
				cfg := faultserver.Config{Handler: h, Faults: []faultserver.Fault{cut}}
				if pace.Kind != 0 {
					cfg.Faults = append(cfg.Faults, pace)
				}
				for _, method := range []string{"GET", "HEAD"} {
					inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
						c.SetDeadline(time.Now().Add(time.Hour))
						c.send(method + " / HTTP/1.1\r\nHost: test\r\n\r\n")
						resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
						if err == nil {
							_, err = io.ReadAll(resp.Body)
						}
						c.rest() // a head may come before the handler is done
						row := onlyRequest(t, s)
						require.Equal(t, err == nil, row.Answered, "%s of %s, %v: %v", method, name, cfg.Faults, err)
						require.Equal(t, row.Answered, row.Phase == faultserver.PhaseAnswered)
						require.Equal(t, cut.Kind, onlyConn(t, s).Fault)
						if err == nil {
							complete++
						}
					})
				}
			}
		}
	}
	require.Greater(t, complete, 100)
}

func TestABodyThatEndsWithTheConnectionIsCompleteWhereNoneOfItIsMissing(t *testing.T) {
	for n, answered := range map[int64]bool{5: false, 6: true, 7: true} {
		for _, faults := range [][]faultserver.Fault{
			{{Kind: faultserver.CloseInBody, Bytes: n}, {Kind: faultserver.CloseDelimited}},
			{{Kind: faultserver.CloseInBody, Bytes: n}}, // HTTP/1.0 knows no chunks
		} {
			t.Run(fmt.Sprintf("%v", faults), func(t *testing.T) {
				cfg := faultserver.Config{Faults: faults, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "abcdef")
				})}
				inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
					c.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n")
					_, err := c.rest()
					require.NoError(t, err)
					require.Equal(t, answered, onlyRequest(t, s).Answered)
				})
			})
		}
	}
}

func TestACutBehindALengthThatIsTooShortLeavesACompleteResponse(t *testing.T) {
	for n, answered := range map[int64]bool{3: false, 4: true, 5: true} {
		cfg := faultserver.Config{Handler: abcdef, Faults: []faultserver.Fault{
			{Kind: faultserver.ContentLengthTooShort, Bytes: 2}, {Kind: faultserver.CloseInBody, Bytes: n},
		}}
		inVirtualTime(t, cfg, func(t *testing.T, s *faultserver.Server, c *rawConn) {
			c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			_, err := c.rest()
			require.NoError(t, err)
			require.Equal(t, answered, onlyRequest(t, s).Answered, "%d of 4 bytes", n)
		})
	}
}
