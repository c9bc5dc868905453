package faultserver_test

import (
	"fmt"
	"net"
	"net/http"

	"github.com/idlewise/idlewise/faultserver"
)

// A client that finds the server by name, until the name is gone.
func ExampleServer_Resolver() {
	s, err := faultserver.New(faultserver.Config{Names: map[string][]string{"api.example.test": {"127.0.0.1"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Resolver: s.Resolver()}).DialContext,
	}}
	defer client.CloseIdleConnections()
	url := fmt.Sprintf("http://api.example.test:%d/", s.Addr().(*net.TCPAddr).Port)

	resp, err := client.Get(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)

	client.CloseIdleConnections()
	s.Inject(faultserver.Fault{Kind: faultserver.LookupNXDomain, Value: "api.example.test"})
	_, err = client.Get(url)
	fmt.Println(err != nil)
	// Output:
	// 200 OK
	// true
}
