package faultserver_test

import (
	"fmt"
	"net/http"

	"github.com/idlewise/idlewise/faultserver"
)

// A service is down for the first two requests, executes the third and loses
// its answer, and is well again.
func ExampleParseScenario() {
	outage, err := faultserver.ParseScenario([]byte(`
name: outage
phases:
  - name: down
    until: {requests: 2}
    faults:
      - {kind: status, code: 503, value: "1"}
  - name: hiccup
    until: {requests: 1}
    faults:
      - {kind: fin-after-request, executed: true}
  - name: well
`), "outage.yaml")
	if err != nil {
		panic(err)
	}
	s, err := faultserver.New(faultserver.Config{Scenario: outage})
	if err != nil {
		panic(err)
	}
	defer s.Close()

	for range 4 {
		resp, err := s.Client().Post(s.URL, "", nil)
		if err != nil {
			fmt.Println("no answer")
			continue
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	fmt.Println(s.Phase())
	// Output:
	// 503 Service Unavailable
	// 503 Service Unavailable
	// no answer
	// 200 OK
	// outage 3/3 well
}

// Every mistake is reported, where it is, with what was probably meant.
func ExampleParseScenario_mistakes() {
	_, err := faultserver.ParseScenario([]byte(`
name: typing in a hurry
phases:
  - name: down
    durration: 5s
    faults:
      - {kind: fin-after-requst}
      - {kind: delay, after: 5}
      - {kind: silent-close, nth_on_conn: 1, reused_only: true}
`), "hurry.yaml")
	fmt.Println(err)
	// Output:
	// hurry.yaml:5:5: phases[0].durration: unknown field "durration"; did you mean duration?
	// hurry.yaml:7:16: phases[0].faults[0].kind: unknown kind of fault "fin-after-requst"; did you mean fin-after-request?
	// hurry.yaml:8:30: phases[0].faults[1].after: "5" is not a duration, such as 5s, 250ms or 1m30s
	// hurry.yaml:9:59: phases[0].faults[2].reused_only: contradicts nth_on_conn 1: a connection's first request is not on a reused one
}

// A request asks for its own fault.
func ExampleFault_String() {
	s, err := faultserver.New(faultserver.Config{HeaderFaults: true})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	fault := faultserver.Fault{Kind: faultserver.Status, Code: 429, Value: "7"}
	req, _ := http.NewRequest("GET", s.URL, nil)
	req.Header.Set(faultserver.FaultHeader, fault.String())
	resp, err := s.Client().Do(req)
	if err != nil {
		panic(err)
	}
	resp.Body.Close()
	fmt.Println(fault)
	fmt.Println(resp.Status, resp.Header.Get("Retry-After"))
	// Output:
	// status value=7 code=429
	// 429 Too Many Requests 7
}
