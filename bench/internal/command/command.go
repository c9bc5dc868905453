// Package command is what the commands of this module have in common: how they
// begin, and how they end.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/idlewise/idlewise/bench/internal/child"
)

// A Run does a command's work. Tables go to out, progress and usage to progress.
type Run func(ctx context.Context, args []string, out, progress io.Writer) error

// Main is the main function of the command called name: it does this process's role,
// if it was started for one of roles, or else runs run until that is done or Ctrl-C
// is pressed.
func Main(name string, roles map[string]child.Role, run Run) {
	if InRole(name, roles) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exitOn(name, run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// InRole does this process's role and reports whether it has one. With it, the
// binary of a command's tests can be the children that the command starts.
func InRole(name string, roles map[string]child.Role) bool {
	ran, err := child.Run(roles)
	if ran {
		exitOn(name, err)
	}
	return ran
}

func exitOn(name string, err error) {
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
