// Command bench measures idlewise beside http.Transport: time and allocations
// per request, memory per idle connection, and the time it takes to get a
// connection when many are idle.
//
// The server runs in another process. Both transports are measured in one
// run, in turns, and each row gives the median of the pairs. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/server"
)

func main() {
	if ran, err := child.Run(roles); ran {
		exitOn(err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exitOn(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// roles are what the command starts itself for.
var roles = map[string]child.Role{server.Role: server.Serve, roleIdle: sampleIdle}

func exitOn(err error) {
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the command. The tables go to out, progress and reasons to progress.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseOptions(args, progress)
	if err != nil {
		return err
	}
	if o.profile != "" {
		return profileAll(ctx, o, progress)
	}
	if len(o.workloads()) > 0 {
		rows, err := compareAll(ctx, o, progress)
		if err != nil {
			return err
		}
		if err := requestTable(rows).Write(out, o.csv); err != nil {
			return err
		}
	}
	if o.idle > 0 {
		row, err := measureMemory(ctx, o, progress)
		if err != nil {
			return err
		}
		if row != nil {
			if err := memoryTable(row).Write(out, o.csv); err != nil {
				return err
			}
		}
	}
	if len(o.checkout) > 0 {
		rows, err := measureCheckouts(ctx, o, progress)
		if err != nil {
			return err
		}
		if err := checkoutTable(rows).Write(out, o.csv); err != nil {
			return err
		}
	}
	return nil
}
