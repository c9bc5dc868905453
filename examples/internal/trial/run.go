// Package trial is what the examples share: it leads an SDK's calls through a
// fault server, once with http.Transport beneath the SDK and once with
// idlewise, and says what the SDK saw of the faults.
package trial

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

// A Run is a program's calls with one transport, to a fault server of their
// own. Its methods may be called concurrently.
type Run struct {
	Name   string // of the transport
	Above  string // what uses the transport
	Twice  bool   // POSTs may be executed twice: the program has vouched for them
	Server *faultserver.Server

	mu         sync.Mutex
	began      time.Time
	took       time.Duration
	operations int
	failures   []error
	attempts   int
	saw        map[string]int // errors of attempts, by their texts
}

// Start starts the run's server.
func Start(name string, cfg faultserver.Config) (*Run, error) {
	s, err := faultserver.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Run{Name: name, Above: "SDK", Server: s, began: time.Now(), saw: make(map[string]int)}, nil
}

// Close stops the run's server.
func (r *Run) Close() { r.Server.Close() }

// Do makes one call of the program to the SDK, and counts it.
func (r *Run) Do(what string, call func() error) {
	err := call()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations++
	r.took = time.Since(r.began)
	if err != nil {
		r.failures = append(r.failures, fmt.Errorf("%s: %w", what, err))
	}
}

// Watch returns a RoundTripper for the SDK that notes what the SDK does with
// its transport, rt, and gets from it.
func (r *Run) Watch(rt http.RoundTripper) http.RoundTripper { return &watched{r, rt} }

type watched struct {
	run  *Run
	next http.RoundTripper
}

func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	w.run.attempts++
	if err != nil {
		w.run.saw[cause(err)]++
	}
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (w *watched) CloseIdleConnections() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Unwrap leads to the transport, for those who look for it.
func (w *watched) Unwrap() http.RoundTripper { return w.next }

// Callers lets n callers call at the same time, and returns when all are done.
func Callers(n int, call func(caller int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { call(i) })
	}
	wg.Wait()
}

// Compare makes the calls of both runs, at the same time, and reports on them.
func Compare(out io.Writer, theirs, ours *Run, calls func(*Run) error) error {
	errs := make([]error, 2)
	Callers(2, func(i int) { errs[i] = calls([]*Run{theirs, ours}[i]) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return Report(out, theirs, ours)
}
