package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// isTerminal reports whether a line written to f can be written over.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// startProgress shows how far the comparison is until stop is called: on a
// terminal in a line that is written over and removed at the end, elsewhere in
// one line at the beginning.
func startProgress(w io.Writer, terminal bool, sc *scene) (stop func()) {
	if !terminal {
		fmt.Fprintf(w, "Sending %d requests through each, about %v ...\n", sc.opt.requests, sc.about())
		return func() {}
	}
	began := time.Now()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		width := 0
		for {
			line := progressLine(sc, time.Since(began))
			width = max(width, len(line))
			fmt.Fprintf(w, "\r%-*s", width, line)
			select {
			case <-ticker.C:
			case <-done:
				fmt.Fprintf(w, "\r%s\r", strings.Repeat(" ", width))
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// progressLine fits in 79 columns, since a line that wraps cannot be written
// over.
func progressLine(sc *scene, took time.Duration) string {
	theirs, theirErrors := sc.contenders[0].tally.soFar()
	ours, ourErrors := sc.contenders[1].tally.soFar()
	return fmt.Sprintf("%d of %d, %.0f of ~%.0f s; errors: http.Transport %d, idlewise %d",
		min(theirs, ours), sc.opt.requests, took.Seconds(), sc.about().Seconds(), theirErrors, ourErrors)
}
