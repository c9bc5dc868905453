package idlewise

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

// compresses serves content as gzip to whoever accepts it, and to /always.
func compresses(content func() []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Accepted", fmt.Sprintf("%q", r.Header["Accept-Encoding"]))
		w.Header().Set("Content-Type", "text/plain")
		if r.Header.Get("Accept-Encoding") != "gzip" && r.URL.Path != "/always" {
			io.WriteString(w, "plain")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", fmt.Sprint(len(content())))
		w.Write(content())
	}
}

func TestTheContractOfCompression(t *testing.T) {
	good := func() []byte { return gzipped("hello, hello, hello") }
	ask := func(e *env, url string) {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			e.do(e.request(method, url, nil))
		}
		for name, value := range map[string]string{"Accept-Encoding": "gzip", "Range": "bytes=0-3"} {
			req := e.request("GET", url, nil)
			req.Header.Set(name, value)
			resp, err := e.roundTrip(req)
			require.NoError(e, err)
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if name == "Range" { // map order
				require.False(e, resp.Uncompressed)
			} else {
				require.Equal(e, "gzip", resp.Header.Get("Content-Encoding"))
				require.Equal(e, good(), b)
			}
		}
	}
	runContract(t, []clause{
		{says: "gzip is asked for and undone, unless the program asked for it, for a range or by HEAD", over: anyProto, holds: func(e *env) {
			ask(e, e.serve(compresses(good)).URL)
		}},
		{says: "DisableCompression neither asks for gzip nor undoes it", over: anyProto, holds: func(e *env) {
			srv := e.serve(compresses(good))
			e.base.DisableCompression = true
			e.do(e.request("GET", srv.URL, nil))
			e.do(e.request("GET", srv.URL+"/always", nil))
		}},
		{says: "gzip that nobody asked for is not undone", over: anyProto, holds: func(e *env) {
			req := e.request("GET", e.serve(compresses(good)).URL+"/always", nil)
			req.Header.Set("Accept-Encoding", "identity")
			e.do(req)
		}},
		{says: "corrupt, cut and empty gzip give the same error, and the connection's fate is the same", over: anyProto, holds: func(e *env) {
			for _, content := range [][]byte{[]byte("this is no gzip at all"), good()[:15], good()[:8], append(good()[:12], "xxxxxxxxxxxxxxxxx"...), nil} {
				srv := e.serve(compresses(func() []byte { return content }))
				e.get(srv.URL)
				e.get(srv.URL + "/again")
			}
		}},
		{says: "a gzip body that was closed cannot be read", over: anyProto, holds: func(e *env) {
			srv := e.serve(compresses(good))
			resp, err := e.roundTrip(e.request("GET", srv.URL, nil))
			require.NoError(e, err)
			e.note("close %v", resp.Body.Close())
			_, err = resp.Body.Read(make([]byte, 1))
			e.note("read %v", err)
			e.note("close %v", resp.Body.Close())
		}},
	})
}
