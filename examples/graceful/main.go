// Graceful shows in which order a service ends that calls another one: first its
// server, then its transport. It drains a service with requests under way, in
// that order and in the other, while its upstream closes connections under it.
//
//	go run ./examples/graceful
//
// It exits with 1 unless the right order answers everything and leaves no
// connection open, and the wrong one does not.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	requests = 20 // under way when the service is told to end

	attempt = "X-Attempt" // the header in which idlewise counts a request's attempts
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("graceful: ", err)
	}
}

// drain is what a service does when it gets SIGTERM.
func drain(ctx context.Context, s *service) error {
	err := s.server.Shutdown(ctx) // waits for the handlers, which call the upstream
	return errors.Join(err, s.transport.Shutdown(ctx))
}

// drainWrongly ends the transport before those who need it.
func drainWrongly(ctx context.Context, s *service) error {
	err := s.transport.Shutdown(ctx)
	return errors.Join(err, s.server.Shutdown(ctx))
}

func run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	right, err := try(ctx, drain)
	if err != nil {
		return err
	}
	wrong, err := try(ctx, drainWrongly)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "order                     under way  answered  failed  faults of the upstream  left open\n")
	fmt.Fprintf(out, "server, then transport    %9d  %8d  %6d  %22d  %9d\n", requests, right.answered, right.failed, right.faults, right.open)
	fmt.Fprintf(out, "transport, then server    %9d  %8d  %6d  %22d  %9d\n", requests, wrong.answered, wrong.failed, wrong.faults, wrong.open)
	fmt.Fprintf(out, "\nIn the wrong order the clients got: %s\n", wrong.said)
	switch {
	case right.failed > 0 || right.answered != requests:
		return fmt.Errorf("%d of %d requests failed in the right order: %s", right.failed, requests, right.said)
	case right.open > 0:
		return fmt.Errorf("%d connections to the upstream were left open", right.open)
	case right.faults == 0:
		return errors.New("no fault struck: it proves nothing")
	case wrong.failed == 0:
		return errors.New("nothing failed in the wrong order: it proves nothing")
	}
	return nil
}

// An outcome is what came of a drain.
type outcome struct {
	answered, failed, faults, open int
	said                           string // the last failure
}

// try drains a service with requests under way.
func try(ctx context.Context, drain func(context.Context, *service) error) (outcome, error) {
	upstream, err := faultserver.New(faultserver.Config{
		// Up to half of the calls that are made during the drain meet a closed
		// connection, but no resend.
		Faults: []faultserver.Fault{{
			Kind: faultserver.FinAfterRequest, Path: "/second/*", Header: attempt + ": 1", ReusedOnly: true, Times: requests / 2,
		}},
	})
	if err != nil {
		return outcome{}, err
	}
	defer upstream.Close()
	transport, err := idlewise.New(idlewise.Config{Policies: idlewise.Policies{
		Default: idlewise.Policy{Retry: idlewise.Retry{AttemptHeader: attempt}},
	}})
	if err != nil {
		return outcome{}, err
	}
	defer transport.Close()
	s, err := newService(upstream.URL, transport)
	if err != nil {
		return outcome{}, err
	}
	defer s.server.Close()

	answers := s.clients(ctx, requests)
	if err := s.await(ctx, requests); err != nil {
		return outcome{}, err
	}
	if err := drain(ctx, s); err != nil {
		return outcome{}, err
	}

	var o outcome
	for range requests {
		if err := <-answers; err != nil {
			o.failed++
			o.said = err.Error()
		} else {
			o.answered++
		}
	}
	// The transport has closed its connections; the upstream gets to know.
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	journal := upstream.Journal()
	journal.Wait(soon, func() bool { return journal.Totals().Open == 0 })
	o.open, o.faults = journal.Totals().Open, journal.Totals().Struck
	return o, nil
}
