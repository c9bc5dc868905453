package memnet_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idlewise/idlewise/faultserver/memnet"
)

// The race of keep-alive connections: the server closes an idle one at the
// moment at which the client sends another request. A minute passes in no time.
func Example() {
	// In a test of your own: func TestX(t *testing.T), and t in its place.
	inBubble(func(t *testing.T) {
		network := memnet.New(memnet.Options{Latency: 25 * time.Millisecond})
		listener, err := network.Listen("api.example.com:80")
		if err != nil {
			t.Fatal(err)
		}
		served := 0
		server := &http.Server{IdleTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			served++
		})}
		go server.Serve(listener)

		transport := &http.Transport{DialContext: network.DialContext}
		post := func() error {
			resp, err := transport.RoundTrip(newPost("http://api.example.com/claim"))
			if err != nil {
				return err
			}
			io.Copy(io.Discard, resp.Body)
			return resp.Body.Close()
		}
		fmt.Println("first:", post())
		time.Sleep(time.Minute - 30*time.Millisecond) // the FIN is on its way
		err = post()
		fmt.Println("second:", errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET))
		fmt.Println("third:", post())
		fmt.Println("served:", served)

		transport.CloseIdleConnections()
		server.Close()
		time.Sleep(time.Second) // let what was sent last arrive
	})
	// Output:
	// first: <nil>
	// second: true
	// third: <nil>
	// served: 2
}

func newPost(url string) *http.Request {
	req, err := http.NewRequest("POST", url, strings.NewReader("all of it"))
	if err != nil {
		panic(err)
	}
	return req
}

// inBubble stands in for a test: an example has no *testing.T to begin a bubble
// with.
func inBubble(test func(t *testing.T)) {
	// Under -v it would print in the example's output, with -count do so again.
	for name, value := range map[string]string{"test.v": "false", "test.count": "1"} {
		defer flag.Set(name, flag.Lookup(name).Value.String())
		flag.Set(name, value)
	}
	passed := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: "Example", F: func(t *testing.T) { synctest.Test(t, test) },
	}})
	if !passed {
		panic("the test failed; its output says why")
	}
}
