//go:build unix

// Command measure runs the real servers that are installed and prints how they
// end connections: the facts behind the fault server's personalities.
//
//	go run ./faultserver/internal/measure                  # all that are installed
//	go run ./faultserver/internal/measure -server nginx,go # some
//
// Each server is started on free ports of 127.0.0.1 with short timeouts, where
// it lets one choose, asked over plain sockets, and stopped by a signal to its
// own process. What is not installed is named with the reason. The times are
// those of the machine it runs on.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("server", "", "names, separated by commas (default: all)")
	verbose := flag.Bool("v", false, "show what the servers print")
	flag.Parse()
	backend, stop := startBackend()
	defer stop()
	var rows [][]string
	for _, k := range servers() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), k.name) {
			continue
		}
		row, err := measure(k, backend, *verbose)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: not measured: %v\n", k.name, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: measured\n", k.name)
		rows = append(rows, row)
	}
	printTable(rows)
}

var columns = []string{
	"server", "idle timeout set", "closed idle after", "how", "Keep-Alive sent (asked)", "half a request",
	"HTTP/2 idle", "PING resets", "shutdown: idle", "fresh connection's request", "request on an idle connection", "busy", "HTTP/2",
}

func printTable(rows [][]string) {
	fmt.Println("| " + strings.Join(columns, " | ") + " |")
	fmt.Println("|" + strings.Repeat("---|", len(columns)))
	for _, r := range rows {
		fmt.Println("| " + strings.Join(r, " | ") + " |")
	}
}

// startBackend is what the proxies among the servers stand before.
func startBackend() (addr string, stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(answer)}
	go s.Serve(ln)
	return ln.Addr().String(), func() { s.Close() }
}

const slowness = 1500 * time.Millisecond

// answer is the application: /slow takes its time.
func answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/slow" {
		time.Sleep(slowness)
	}
	fmt.Fprint(w, "ok\n")
}

// measure starts a server three times: for its timeouts, and for a shutdown over
// each protocol.
func measure(k kind, backend string, verbose bool) ([]string, error) {
	run, err := start(k, backend, verbose)
	if err != nil {
		return nil, err
	}
	defer func() { run.kill() }()
	row := []string{k.name + " " + run.version, k.idle.String()}

	idle := make(chan []string, 1)
	go func() { idle <- probeIdle(run.http1, k.idle) }()
	half := make(chan string, 1)
	go func() { half <- probeHalf(run.http1, k.half) }()
	frames := []string{"", ""}
	if run.http2 != "" {
		frames = probePing(run.http2, k.idle)
	}
	row = append(row, <-idle...)
	row = append(row, <-half)
	row = append(row, frames...)
	run.kill()

	if run, err = start(k, backend, verbose); err != nil {
		return nil, err
	}
	row = append(row, probeShutdown(run)...)
	run.kill()
	if run.http2 == "" {
		return append(row, ""), nil
	}
	if run, err = start(k, backend, verbose); err != nil {
		return nil, err
	}
	return append(row, probeGoAway(run)), nil
}
