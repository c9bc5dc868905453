package netlab

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// whereVariable makes this program print which namespace it runs in, and exit.
const whereVariable = "NETLAB_PRINT_NAMESPACE"

func TestMain(m *testing.M) {
	if os.Getenv(whereVariable) != "" {
		where, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Print(where)
		return
	}
	goleak.VerifyTestMain(m)
}
