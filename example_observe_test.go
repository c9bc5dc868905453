package idlewise_test

import (
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// A program as it is, and a server that closes each connection when it is used
// again.
func ExampleObserve() {
	server, err := faultserver.New(faultserver.Config{
		Faults: []faultserver.Fault{{Kind: faultserver.CloseOnReuse}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	observer := idlewise.Observe(&http.Transport{}, idlewise.ObserveConfig{})
	defer observer.CloseIdleConnections()
	client := &http.Client{Transport: observer}
	for range 10 {
		resp, err := client.Post(server.URL, "text/plain", nil)
		if err != nil {
			continue // as before
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}

	seen := observer.Report().Total
	fmt.Printf("%d of %d requests met a connection that the server had closed, %d got an error\n", seen.Stale(), seen.Requests, seen.Failed)
	// Output: 5 of 10 requests met a connection that the server had closed, 5 got an error
}
