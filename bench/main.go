// Command bench measures idlewise beside http.Transport: time and allocations
// per request, memory per idle connection, the time it takes to get a
// connection when many are idle, what many upstreams take, and what a new
// connection costs.
//
// The server runs in another process. Both transports are measured in one
// run, in turns, and each row gives the median of the pairs. See README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/idlewise/idlewise/bench/internal/child"
	"github.com/idlewise/idlewise/bench/internal/command"
	"github.com/idlewise/idlewise/bench/internal/server"
)

func main() { command.Main("bench", roles, run) }

// roles are what the command starts itself for.
var roles = map[string]child.Role{
	server.Role:   server.Serve,
	roleIdle:      sampling(sampleIdle),
	roleUpstreams: sampling(sampleUpstreams),
}

// run is the command. The tables go to out, progress and reasons to progress.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	o, err := parseOptions(args, progress)
	if err != nil {
		return err
	}
	if o.profile != "" {
		return profileAll(ctx, o, progress)
	}
	r := report{out: out}
	switch o.csv {
	case "":
	case "-":
		r = report{out: io.Discard, csv: out}
	default:
		f, err := os.Create(o.csv)
		if err != nil {
			return fmt.Errorf("-csv: %w", err)
		}
		defer func() {
			if closed := f.Close(); err == nil {
				err = closed
			}
		}()
		r.csv = f
	}
	return measureAll(ctx, o, r, progress)
}

// measureAll measures what the flags choose, one table after the other.
func measureAll(ctx context.Context, o *options, r report, progress io.Writer) error {
	if len(o.workloads()) > 0 {
		rows, err := compareAll(ctx, o, progress)
		if err == nil {
			err = r.add(requestTable(rows, o.control))
		}
		if err != nil {
			return err
		}
	}
	if o.idle > 0 {
		row, err := measureMemory(ctx, o, progress)
		if err == nil && row != nil {
			err = r.add(memoryTable(row))
		}
		if err != nil {
			return err
		}
	}
	if len(o.checkout) > 0 {
		rows, err := measureCheckouts(ctx, o, progress)
		if err == nil {
			err = r.add(checkoutTable(rows))
		}
		if err != nil {
			return err
		}
	}
	if len(o.upstreams) > 0 {
		rows, err := measureUpstreams(ctx, o, progress)
		if err == nil {
			err = r.add(upstreamsTable(rows))
		}
		if err != nil {
			return err
		}
	}
	if len(o.redials) > 0 {
		rows, err := measureRedials(ctx, o, progress)
		if err == nil {
			err = r.add(redialTable(rows))
		}
		return err
	}
	return nil
}
