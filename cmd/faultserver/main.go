// Faultserver is an HTTP server that misbehaves on purpose:
//
//	go run ./cmd/faultserver -personality uvicorn -listen 127.0.0.1:8080
//
// See -help for the flags, -list for what it can do. It ends on SIGTERM or
// SIGINT: it stops listening, drains as the server it plays would, and prints
// what its journal has counted; a second signal ends it at once. Exit codes: 0
// it was ended and has drained, 1 it could not begin or could not write its
// journal, 2 a flag, scenario or fault is wrong, 3 it was ended before it had
// drained.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/idlewise/idlewise/faultserver"
)

const (
	exitFine    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitCutOff  = 3
	commandName = "faultserver"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], signals, os.Stdout, os.Stderr, isTerminal(os.Stderr)))
}

// run is main with its surroundings as parameters.
func run(args []string, signals <-chan os.Signal, stdout, stderr io.Writer, terminal bool) int {
	opt, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n", commandName, err)
		return exitUsage
	case opt.version:
		fmt.Fprintf(stdout, "%s %s\n", commandName, version())
		return exitFine
	case opt.list:
		list(stdout)
		return exitFine
	}
	srv, err := start(opt)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", commandName, err)
		return exitFailed
	}
	defer srv.Close()
	if opt.certOut != "" {
		if err := os.WriteFile(opt.certOut, srv.CertificatePEM(), 0o644); err != nil {
			fmt.Fprintf(stderr, "%s: -cert-out: %v\n", commandName, err)
			return exitFailed
		}
	}
	announce(stdout, stderr, srv, opt)

	stopStatus := showStatus(stderr, terminal, srv.Server)
	<-signals
	stopStatus()
	code := srv.drain(stderr, signals, opt)
	if err := srv.writeJournal(stdout); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", commandName, err)
		code = exitFailed
	}
	return code
}

// version is the module's and the toolchain's.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown) " + runtime.Version()
	}
	return info.Main.Version + " " + info.GoVersion
}

// server is the server with what the command adds to it.
type server struct {
	*faultserver.Server
	journal *os.File // nil: none
}

// start opens what can fail to open, and begins to serve. The configuration
// has been found right before.
func start(opt *options) (srv *server, err error) {
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, c := range opened {
				c.Close()
			}
		}
	}()
	srv = &server{}
	if opt.journal != "" {
		if srv.journal, err = os.Create(opt.journal); err != nil {
			return nil, fmt.Errorf("-journal: %w; name a file that may be written, in a folder that is there", err)
		}
		opened = append(opened, srv.journal)
	}
	cfg := opt.config
	if opt.control != "" {
		if cfg.Control, err = net.Listen("tcp", opt.control); err != nil {
			return nil, fmt.Errorf("-control: %w", err)
		}
		opened = append(opened, cfg.Control)
	}
	if srv.Server, err = faultserver.New(cfg); err != nil {
		return nil, inFlags(errors.New(strings.Replace(err.Error(), "faultserver: listen on "+cfg.Addresses[0]+":", "-listen:", 1)))
	}
	return srv, nil
}

func announce(stdout, stderr io.Writer, srv *server, opt *options) {
	fmt.Fprintf(stdout, "listening on %s\n", srv.URL)
	if srv.ControlURL != "" {
		fmt.Fprintf(stdout, "control on %s\n", srv.ControlURL)
	}
	if !isLoopback(opt.listen) {
		fmt.Fprintf(stderr, "%s: warning: -listen %s can be reached from other machines; this server misbehaves for all of them\n",
			commandName, opt.listen)
	}
	if opt.control != "" && !isLoopback(opt.control) {
		fmt.Fprintf(stderr, "%s: warning: whoever reaches -control %s can do to this server what you can\n", commandName, opt.control)
	}
}

// drain ends the server as the one it plays ends: it stops listening, lets
// what runs finish, and closes.
func (srv *server) drain(stderr io.Writer, signals <-chan os.Signal, opt *options) int {
	fmt.Fprintf(stderr, "%s: draining, at most %v; a second signal ends at once\n", commandName, opt.drainTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), opt.drainTimeout)
	defer cancel()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := srv.Stop(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "%s: cut off: %v\n", commandName, inFlags(err))
		srv.Kill()
		srv.Close()
		return exitCutOff
	}
	srv.Close()
	return exitFine
}

func (srv *server) writeJournal(stdout io.Writer) error {
	j := srv.Journal()
	fmt.Fprint(stdout, j.Summary())
	for _, w := range j.Warnings() {
		fmt.Fprintf(stdout, "note: %s\n", w)
	}
	if srv.journal == nil {
		return nil
	}
	if err := errors.Join(j.WriteJSONL(srv.journal), srv.journal.Close()); err != nil {
		return fmt.Errorf("-journal: %w", err)
	}
	return nil
}
