//go:build !unix

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "measure: the servers are started and stopped with Unix signals; run it on Linux, macOS or a BSD")
	os.Exit(1)
}
