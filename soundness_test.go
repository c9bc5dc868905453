package idlewise

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// A ruthlessServer ends every connection after a few requests, at a random
// moment about the next one's arrival, in a random way that keeps to the proof's
// assumption.
type ruthlessServer struct {
	closingServer
	moment time.Duration // the moment is up to so long after an answer
	seed   uint64

	fins sync.Map // remote addresses of connections that were closed while nothing had arrived
}

func (s *ruthlessServer) serve() {
	for n := uint64(0); ; n++ {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.visit(nc.(socket), rand.New(rand.NewPCG(s.seed, n))) })
	}
}

func (s *ruthlessServer) visit(sock socket, rng *rand.Rand) {
	v := &visit{at: &s.closingServer, sock: sock, nc: sock}
	defer sock.Close()
	if s.tls != nil {
		v.nc = tls.Server(sock, s.tls)
	}
	v.br = bufio.NewReader(v.nc)
	for range 1 + rng.IntN(3) {
		req, err := http.ReadRequest(v.br)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		s.executed(req.Header.Get("X-Fault-Key"))
		if _, err := io.WriteString(v.nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
	<-time.After(time.Duration(rng.Float64() * float64(s.moment)))
	c := closings[0]
	if rng.IntN(2) == 0 {
		for c = closings[rng.IntN(len(closings))]; c.unfair; c = closings[rng.IntN(len(closings))] {
		}
	}
	if n, pending, _ := tcpinfo.Peek(sock); c.says == closings[0].says && n == 0 && pending == nil && v.br.Buffered() == 0 {
		s.fins.Store(sock.RemoteAddr().String(), time.Now())
	}
	sock.SetReadDeadline(time.Now().Add(2 * s.patience)) // the request may never come
	c.end(v)
}

// A soundness is what a crowd of POSTs came to.
type soundness struct {
	posts, failed, twice int
	crossed, proven      int // met a FIN that was under way; and of these, resent and answered
	evidence             map[Evidence]int
	verdicts             []time.Duration // from the server's FIN to the attempt's end
}

func (s soundness) String() string {
	return fmt.Sprintf("%d POSTs, %d failed, %d executed twice; %d crossed a FIN, %d of them resent, p99 of the time from FIN to verdict %v; attempts by evidence %v",
		s.posts, s.failed, s.twice, s.crossed, s.proven, s.p99().Round(100*time.Microsecond), s.evidence)
}

func (s soundness) p99() time.Duration {
	if len(s.verdicts) == 0 {
		return 0
	}
	slices.Sort(s.verdicts)
	return s.verdicts[len(s.verdicts)*99/100]
}

// storm sends posts to a ruthless server, by several callers.
func (n closingNet) storm(t testing.TB, posts, callers int, seed uint64, rt func(*http.Transport) http.RoundTripper) soundness {
	ln, err := n.listen()
	require.NoError(t, err)
	s := &ruthlessServer{
		closingServer: closingServer{TB: t, ln: ln, patience: n.patience, lenient: true, count: map[string]int{}},
		moment:        2*n.rtt + 2*time.Millisecond,
		seed:          seed,
	}
	base := &http.Transport{DialContext: s.noting(n.dial), MaxIdleConnsPerHost: callers}
	scheme := "http"
	if n.tls {
		scheme = "https"
		s.tls, base.TLSClientConfig = testTLS()
	}
	s.wg.Go(s.serve)
	tr := rt(base)

	var mu sync.Mutex
	out := soundness{posts: posts, evidence: map[Evidence]int{}}
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(caller)<<32))
			for i := int(next.Add(1)); i <= posts; i = int(next.Add(1)) {
				<-time.After(time.Duration(rng.Float64() * float64(s.moment)))
				// A RST can be lost, and nothing is ever heard of its connection.
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				ctx = WithTrace(ctx, &Trace{AttemptDone: func(a Attempt) {
					mu.Lock()
					defer mu.Unlock()
					out.evidence[a.Evidence]++
					at, fin := s.fins.Load(a.Local.String())
					if fin && a.Reused && (a.Evidence == Unknown || a.Evidence == Undelivered) {
						out.crossed++
						out.verdicts = append(out.verdicts, time.Since(at.(time.Time)))
						if a.Resent {
							out.proven++
						}
					}
				}})
				var got httptrace.GotConnInfo
				if _, ours := tr.(*Transport); !ours {
					ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { got = i }})
				}
				body := strings.Repeat("x", rng.IntN(20_000))
				if rng.IntN(50) == 0 {
					body = strings.Repeat("x", 200_000)
				}
				req, err := http.NewRequestWithContext(ctx, "POST", fmt.Sprintf("%s://%s/", scheme, ln.Addr()), strings.NewReader(body))
				require.NoError(t, err)
				resp, err := tr.RoundTrip(keyed(req, i))
				if err != nil {
					failed.Add(1)
					if got.Reused {
						if _, fin := s.fins.Load(got.Conn.LocalAddr().String()); fin {
							mu.Lock()
							out.crossed++
							mu.Unlock()
						}
					}
				} else {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	tr.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	ln.Close()
	s.wg.Wait()
	out.failed = int(failed.Load())
	for _, times := range s.count {
		if times > 1 {
			out.twice++
		}
	}
	return out
}

func (n closingNet) storming(t testing.TB, posts, callers int, seed uint64) soundness {
	var tr *Transport
	out := n.storm(t, posts, callers, seed, func(base *http.Transport) http.RoundTripper {
		var err error
		tr, err = New(Config{Base: base, Policies: Policies{Default: Policy{Learning: Off, LivenessCheckAfter: -1}}})
		require.NoError(t, err)
		return tr
	})
	require.NoError(t, tr.Close())
	return out
}
