package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"

	"github.com/idlewise/idlewise/bench/internal/server"
)

// profileAll writes a CPU and an allocation profile for each workload and
// side.
func profileAll(ctx context.Context, o *options, progress io.Writer) error {
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return fmt.Errorf("-profile: %w", err)
	}
	srv, err := server.Start(ctx)
	if err != nil {
		return err
	}
	defer srv.Stop()
	for _, w := range o.workloads() {
		for _, s := range bothSides {
			name := filepath.Join(o.profile, w.String()+"-"+strings.ReplaceAll(string(s), "/", ""))
			if err := profile(ctx, o, srv, w, s, name); err != nil {
				return fmt.Errorf("%v: %s: %w", w, s, err)
			}
			fmt.Fprintf(progress, "%s.cpu and .allocs\n", name)
		}
	}
	return nil
}

// profile drives one side: first for its time, then for its allocations,
// every one of which is recorded.
func profile(ctx context.Context, o *options, srv *server.Server, w workload, s side, name string) error {
	rt, err := newTransport(s, w.protocol, &srv.Ready)
	if err != nil {
		return err
	}
	defer closeTransport(rt)
	url := srv.URL(w.protocol.overTLS())
	if _, err := w.drive(ctx, rt, url, o.requests, false); err != nil {
		return err
	}
	err = writing(name+".cpu", func(f *os.File) error {
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		_, err := w.drive(ctx, rt, url, o.requests*o.pairs, false)
		return err
	})
	if err != nil {
		return err
	}
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	// The profile has what was allocated since the program began. What was
	// before is taken away with: go tool pprof -diff_base name.before
	runtime.GC()
	if err := writing(name+".before", allocations); err != nil {
		return err
	}
	if _, err := w.drive(ctx, rt, url, o.requests, false); err != nil {
		return err
	}
	runtime.GC()
	return writing(name+".allocs", allocations)
}

func allocations(f *os.File) error { return pprof.Lookup("allocs").WriteTo(f, 0) }

func writing(name string, write func(*os.File) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = write(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
