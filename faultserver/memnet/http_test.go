package memnet_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestADayOfHTTPTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests = 1000
		n := memnet.New(memnet.Options{Latency: 10 * time.Millisecond, Jitter: 5 * time.Millisecond})
		l, err := n.Listen("api.example.com:80")
		require.NoError(t, err)

		var connections atomic.Int64
		s := &http.Server{
			IdleTimeout: 3 * time.Minute,
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "echo %s", body)
			}),
		}
		served := make(chan error)
		go func() { served <- s.Serve(l) }()

		transport := &http.Transport{DialContext: n.DialContext, IdleConnTimeout: 90 * time.Second}
		client := &http.Client{Transport: transport}
		start := time.Now()
		for i := range requests {
			text := fmt.Sprint("request ", i)
			resp, err := client.Post("http://api.example.com/", "text/plain", &slowReader{text: text})
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, "echo "+text, string(body))
			// In turn shorter and longer than the transport keeps a connection.
			time.Sleep([]time.Duration{30 * time.Second, 172 * time.Second}[i%2])
		}
		require.Greater(t, time.Since(start), 28*time.Hour)
		require.EqualValues(t, requests/2, connections.Load())

		transport.CloseIdleConnections()
		require.NoError(t, s.Shutdown(t.Context()))
		require.Equal(t, http.ErrServerClosed, <-served)
		time.Sleep(time.Second) // for what was sent last
	})
}

// slowReader gives a body in two parts, a second apart.
type slowReader struct {
	text  string
	begun bool
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.text == "" {
		return 0, io.EOF
	}
	if r.begun {
		time.Sleep(time.Second)
	}
	r.begun = true
	n := copy(p, r.text[:(len(r.text)+1)/2])
	r.text = r.text[n:]
	return n, nil
}
