package debugpage_test

import (
	"net/http"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/debugpage"
)

func ExampleHandler() {
	transport, err := idlewise.New(idlewise.Config{})
	if err != nil {
		panic(err)
	}
	http.Handle("/debug/idlewise", debugpage.Handler(transport, debugpage.WithTitle("checkout")))
	go http.ListenAndServe("localhost:6060", nil) // an address that strangers do not reach
}
