package main

import (
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/server"
)

// The roles of processes that measure.
const (
	roleIdle      = "idle"
	roleUpstreams = "upstreams"
)

// orderVariable holds what a child that measures is to measure.
const orderVariable = "IDLEWISE_BENCH_ORDER"

// sampling makes the role of a child that measures.
func sampling(work func(order string, stdout io.Writer) error) child.Role {
	return func(stdin io.Reader, stdout io.Writer) error {
		go func() {
			io.Copy(io.Discard, stdin)
			os.Exit(1) // the parent is gone
		}()
		return work(os.Getenv(orderVariable), stdout)
	}
}

// ask has one sample taken, by a process of its own from a server of its own.
func ask[T any](ctx context.Context, role string, order func(server.Ready) any) (answer T, err error) {
	srv, err := server.Start(ctx)
	if err != nil {
		return answer, err
	}
	defer srv.Stop()
	o, err := json.Marshal(order(srv.Ready))
	if err != nil {
		return answer, err
	}
	c, err := child.Start(ctx, role, orderVariable+"="+string(o))
	if err != nil {
		return answer, err
	}
	err = c.Read(&answer)
	c.Stop() // it may not have got to its end; its answer is what counts
	return answer, err
}
