package faultserver_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
	// 2 requests, 2 executions, 1 key executed more than once: 1 executed, 1 answered
	// faults: 1 fin-after-request
}

// A fault takes effect at once, on connections that exist, too, and can be taken
// out again.
func ExampleServer_Inject() {
	s, err := faultserver.New(faultserver.Config{})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	get := func(path string) {
		resp, err := s.Client().Get(s.URL + path)
		if err != nil {
			panic(err)
		}
		defer resp.Body.Close()
		fmt.Println(path, resp.Status)
		io.Copy(io.Discard, resp.Body)
	}
	get("/a")
	remove := s.Inject(faultserver.Fault{Kind: faultserver.Status, Code: 503, Path: "/a*", Times: 10})
	get("/a")
	get("/b")
	remove()
	get("/a")
	fmt.Println(len(s.Journal().Conns()), "connection")
	// Output:
	// /a 200 OK
	// /a 503 Service Unavailable
	// /b 200 OK
	// /a 200 OK
	// 1 connection
}

// The journal knows what the client cannot: whether the handler ran.
func ExampleServer_Journal() {
	s, err := faultserver.New(faultserver.Config{Faults: []faultserver.Fault{
		{Kind: faultserver.RstAfterRequest, Path: "/lost"},
		{Kind: faultserver.RstAfterRequest, Path: "/answer-lost", Executed: true},
	}})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	for _, path := range []string{"/fine", "/lost", "/answer-lost"} {
		if resp, err := s.Client().Post(s.URL+path, "text/plain", strings.NewReader("x")); err == nil {
			resp.Body.Close()
		}
	}
	for _, r := range s.Journal().Requests() {
		fmt.Println(r.Path, r.Phase, r.Executed, r.Answered)
	}
	// Output:
	// /fine answered 1 true
	// /lost body 0 false
	// /answer-lost executed 1 false
}

func ExampleDescribePersonality() {
	d, err := faultserver.DescribePersonality("node20")
	if err != nil {
		panic(err)
	}
	fmt.Println(d.Name, "says", d.KeepAlive, d.KeepAliveIf)
	fmt.Println("and closes after", d.IdleTimeout)
	// Output:
	// node says timeout=5 always
	// and closes after 6.03s
}

// Faults stand before a server that knows nothing of them.
func ExampleProxy() {
	sandbox := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "booked")
	}))
	defer sandbox.Close()

	p, err := faultserver.Proxy(sandbox.URL, faultserver.ProxyOptions{})
	if err != nil {
		panic(err)
	}
	s, err := faultserver.New(faultserver.Config{Handler: p, Faults: []faultserver.Fault{
		{Kind: faultserver.CloseInBody, Bytes: 4, NthOnConn: 1, Times: 1},
	}})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	for range 2 {
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s, %v\n", body, err)
	}
	// Output:
	// book, unexpected EOF
	// booked, <nil>
}
