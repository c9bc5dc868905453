package faultserver

import (
	"fmt"
	"io"
	"net/http"
)

// Echo answers 200 with the method, the path and the number of bytes of the
// request's body: "POST /a 12".
var Echo http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s %s %d\n", r.Method, r.URL.Path, n)
})
