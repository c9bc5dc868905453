// Command idlewise looks at servers the way package idlewise does.
//
//	idlewise probe https://api.example.com/health
//
// measures how long a server keeps an idle connection and how it ends it, and
// prints the policy to configure. idlewise probe -help tells the rest.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes. 130 is what shells report of a program that Ctrl-C ended.
const (
	exitMeasured    = 0
	exitUnmeasured  = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, terminalWidth(os.Stderr)))
}

const overview = `Usage: idlewise probe [flags] URL...

Commands:
  probe   measure how servers end idle connections

idlewise probe -help tells about its flags and exit codes.
`

// run is the program without its process. width is that of the terminal that
// stderr is; nil: it is none.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, width func() int) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, overview)
		return exitUsage
	}
	switch args[0] {
	case "probe":
		return probe(ctx, args[1:], stdout, stderr, width)
	case "help", "-help", "--help", "-h":
		fmt.Fprint(stdout, overview)
		return exitMeasured
	}
	fmt.Fprintf(stderr, "idlewise: there is no command %q; the only one is probe\n\n%s", args[0], overview)
	return exitUsage
}
