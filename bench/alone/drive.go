package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// drive sends n requests, one after the other.
func (w workload) drive(ctx context.Context, rt http.RoundTripper, n int) error {
	if !w.fresh {
		return inGoroutine(func() error {
			for range n {
				if err := w.send(ctx, rt); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range n {
		if err := inGoroutine(func() error { return w.send(ctx, rt) }); err != nil {
			return err
		}
	}
	return nil
}

func inGoroutine(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// send makes one request as a program would, and reads the response.
func (w workload) send(ctx context.Context, rt http.RoundTripper) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	own := context.Background()
	if w.cancelable {
		var cancel context.CancelFunc
		own, cancel = context.WithCancel(own)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(own, http.MethodGet, "http://memory.test/", nil)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
