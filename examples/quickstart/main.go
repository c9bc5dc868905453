// Quickstart shows what idlewise is for. It starts servers that close idle
// connections as uvicorn does, sends requests at gaps around that moment
// through http.Transport and through idlewise, and prints what became of them:
//
//	go run ./examples/quickstart
//
// With -url it compares the two against a server of your own:
//
//	go run ./examples/quickstart -url https://api.example.com/health
//
// It exits with 0 if idlewise had no error and no POST was executed twice,
// with 1 if not, and with 2 if it could not begin; "go run" prints the code and
// turns each but 0 into 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

const (
	exitFine   = 0
	exitBroken = 1 // idlewise had an error, or a POST was executed twice
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, isTerminal(os.Stdout)))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, terminal bool) int {
	opt, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitFine
	}
	var sc *scene
	if err == nil {
		sc, err = newScene(ctx, opt)
	}
	if err != nil {
		fmt.Fprintf(stderr, "quickstart: %v\n", err)
		return exitUsage
	}
	defer sc.close()
	sc.describe(stdout)

	stopProgress := startProgress(stdout, terminal, sc)
	drive(ctx, sc)
	stopProgress()

	end := sc.ending(ctx.Err() != nil)
	fmt.Fprintln(stdout)
	printTable(stdout, end.theirs, end.ours)
	fmt.Fprintln(stdout)
	printStory(stdout, end)
	if len(end.ours.causes) > 0 || end.ours.postTwice > 0 || end.theirs.postTwice > 0 {
		return exitBroken
	}
	return exitFine
}
