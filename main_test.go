package idlewise

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if hold := os.Getenv(holdVariable); hold != "" {
		n, err := strconv.Atoi(hold)
		if err == nil {
			err = holdServer(n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
