package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/idlewise/idlewise/faultserver"
)

// The service charges a card and the answer is lost. A client that simply asks
// again charges twice; the journal finds it.
func Example() {
	charge := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "charged") })
	s, err := faultserver.New(faultserver.Config{
		Handler: charge,
		Faults:  []faultserver.Fault{{Kind: faultserver.FinAfterRequest, Path: "/charge", Executed: true, Times: 1}},
	})
	if err != nil {
		panic(err)
	}
	defer s.Close()

	send := func() {
		req, _ := http.NewRequest("POST", s.URL+"/charge", strings.NewReader("5 EUR"))
		req.Header.Set("X-Fault-Key", "order 17")
		resp, err := s.Client().Do(req)
		if err != nil {
			fmt.Println("no answer")
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(string(body))
	}
	send()
	send()
	fmt.Println("executed twice:", s.Journal().ExecutedTwice("POST"))
	fmt.Print(s.Journal().Summary())
	// Output:
	// no answer
	// charged
	// executed twice: [order 17]
	// 2 connections: 1 open, 1 server-fin (fault fin-after-request)
	// 2 requests, 2 executions, 1 keys executed more than once: 1 executed, 1 answered
	// faults: 1 fin-after-request
}
