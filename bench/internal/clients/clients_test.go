package clients

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// A seen is a request as the server saw it.
type seen struct {
	method string
	major  int
	key    string
	body   int
}

// echo answers with the body it got, and 418 to TRACE.
func echo(t *testing.T, http2 bool) (*httptest.Server, func() []seen) {
	var mu sync.Mutex
	var all []seen
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		all = append(all, seen{r.Method, r.ProtoMajor, r.Header.Get(keyHeader), len(body)})
		mu.Unlock()
		if r.Method == "TRACE" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Write(body)
	}))
	s.EnableHTTP2 = http2
	if http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, func() []seen {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestEveryClientDoesTheSameWork(t *testing.T) {
	big := bytes.Repeat([]byte("abcdefgh"), 1<<17)
	for _, k := range append(Peers[:len(Peers):len(Peers)], Idlewise("idlewise", idlewise.Policy{})) {
		for _, http2 := range []bool{false, true} {
			if http2 && !k.HTTP2 {
				continue
			}
			s, requests := echo(t, http2)
			e := Env{Address: strings.SplitN(s.URL, "//", 2)[1], Dials: new(atomic.Int64)}
			major := 1
			if http2 {
				major = 2
				e.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				e.TLS.NextProtos = nil
			}
			c, err := k.Make(e)
			require.NoError(t, err, k.Name)
			defer c.Close()
			var into bytes.Buffer
			require.NoError(t, c.Do(&Request{Method: "POST", URL: s.URL + "/", Key: "1", Body: big}, &into), k.Name)
			require.True(t, bytes.Equal(big, into.Bytes()), "%s: the caller has the whole response", k.Name)
			require.NoError(t, c.Do(&Request{Method: "GET", URL: s.URL + "/"}, &into), k.Name)
			require.Zero(t, into.Len(), "%s: and nothing of the one before", k.Name)
			require.Error(t, c.Do(&Request{Method: "TRACE", URL: s.URL + "/"}, &into), k.Name)
			require.Equal(t, []seen{{"POST", major, "1", len(big)}, {"GET", major, "", 0}, {"TRACE", major, "", 0}}, requests(), k.Name)
			require.EqualValues(t, 1, e.Dials.Load(), "%s uses its connection again", k.Name)
		}
	}
}

func TestFasthttpIsNotMadeForHTTP2(t *testing.T) {
	_, err := newFast(Env{TLS: new(tls.Config)})
	require.ErrorContains(t, err, "no HTTP/2")
}
