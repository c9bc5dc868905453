// Page shows idlewise's live page on a system with traffic and faults:
//
//	go run ./examples/page                    # a storm, for 30 seconds
//	go run ./examples/page -scene quiet
//	go run ./examples/page -scene thousand -for 5m
//
// and prints the address to open in a browser. It ends after -for, or with
// Ctrl-C. Nothing but this machine's loopback is used.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/idlewise/idlewise/debugpage"
)

func main() {
	scene := flag.String("scene", "storm", "what is shown: storm, quiet, or thousand (upstreams)")
	listen := flag.String("listen", "127.0.0.1:0", "the page's address; port 0 is a free one")
	span := flag.Duration("for", 30*time.Second, "how long to run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *span)
	defer cancel()
	if err := run(ctx, *scene, *listen, os.Stdout); err != nil {
		log.Fatal("page: ", err)
	}
}

// run shows the scene until ctx ends.
func run(ctx context.Context, name, listen string, out io.Writer) error {
	set := scenes[name]
	if set == nil {
		return fmt.Errorf("-scene %q is none of storm, quiet and thousand", name)
	}
	s, err := set()
	if err != nil {
		return err
	}
	defer s.close()

	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /debug/idlewise", debugpage.Handler(s.transport, debugpage.WithTitle("example: "+name)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	fmt.Fprintf(out, "open http://%s/debug/idlewise\n", l.Addr())

	s.traffic(ctx) // until ctx ends
	server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	t := s.transport.Stats().Total
	fmt.Fprintf(out, "%d requests, %d met a connection that the server had closed\n", t.Requests, t.StaleIdempotent+t.StaleOther)
	return nil
}
