package faultserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAPaymentWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	s.Inject(faultserver.Fault{Kind: faultserver.FinAfterRequest, Executed: true, ReusedOnly: true, Times: 1})
	client := s.Client() // your client in its place

	for _, order := range []string{"order 16", "order 17"} { // the second on the connection of the first
		req, _ := http.NewRequest("POST", s.URL+"/payments", strings.NewReader("5 EUR"))
		req.Header.Set("X-Fault-Key", order) // for the journal; it means nothing to the client
		if resp, err := client.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	s.Journal().AssertNoneExecutedTwice(t, "POST")
}
