package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/clients"
)

// hold is the child's work: it makes connections idle and says what one takes.
func hold(stdin io.Reader, stdout io.Writer) error {
	go func() {
		io.Copy(io.Discard, stdin)
		os.Exit(1) // the parent is gone
	}()
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o); err != nil {
		return fmt.Errorf("%s: %w", orderVariable, err)
	}
	var dials atomic.Int64
	client, err := kinds()[o.Kind].Make(clients.Env{Address: o.Server.Plain, Dials: &dials})
	if err != nil {
		return err
	}
	url := o.Server.URL(false)
	if err := client.Do(&clients.Request{Method: http.MethodGet, URL: url}, new(bytes.Buffer)); err != nil {
		return err // this one makes whatever is made once
	}
	before, had := child.MemoryInUse(), dials.Load()
	if err := together(client, fmt.Sprintf("%stogether?n=%d", url, o.Conns), o.Conns); err != nil {
		return err
	}
	after := child.MemoryInUse()
	opened := dials.Load() - had
	if opened < int64(o.Conns)-1 {
		return fmt.Errorf("%d connections were opened instead of %d", opened, o.Conns)
	}
	runtime.KeepAlive(client)
	return json.NewEncoder(stdout).Encode(float64(after-before) / float64(opened))
}

// together makes n requests at once.
func together(client clients.Client, url string, n int) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			errs[i] = client.Do(&clients.Request{Method: http.MethodGet, URL: url}, new(bytes.Buffer))
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
