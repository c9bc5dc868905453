// Observability is a live system to look at: three servers that close connections
// under their clients, a program that calls them, its metrics for Prometheus, and
// the page.
//
//	go run ./examples/observability
//
// It runs until Ctrl-C, or for as long as -for says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/debugpage"
	"github.com/idlewise/idlewise/idleprom"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, logs io.Writer) error {
	fs := flag.NewFlagSet("observability", flag.ContinueOnError)
	fs.SetOutput(logs)
	listen := fs.String("listen", "127.0.0.1:9464", "where to serve the page and /metrics")
	lasts := fs.Duration("for", 0, "how long to run; 0: until Ctrl-C")
	verbose := fs.Bool("v", false, "log what happens to connections, too")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; only flags are taken", fs.Arg(0))
	}
	if *lasts > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *lasts)
		defer cancel()
	}

	upstreams, err := startUpstreams()
	if err != nil {
		return err
	}
	defer upstreams.close()

	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	transport, err := idlewise.New(idlewise.Config{
		Policies: upstreams.policies(),
		Logger:   slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	defer transport.Close()

	registry := prometheus.NewRegistry()
	if err := registry.Register(idleprom.NewCollector(transport)); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/debug/idlewise", debugpage.Handler(transport))
	mux.Handle("/{$}", http.RedirectHandler("/debug/idlewise", http.StatusFound))
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("-listen: %w; give another address, such as 127.0.0.1:0", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(out, "The page:  http://%s/debug/idlewise\nMetrics:   http://%s/metrics\n", listener.Addr(), listener.Addr())

	upstreams.call(ctx, transport)
	server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	fmt.Fprintln(out, upstreams.story(transport))
	return nil
}
