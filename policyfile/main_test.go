package policyfile

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func baseWithLimit(n int) *http.Transport { return &http.Transport{MaxConnsPerHost: n} }

// noSuchFile is what the system says of a file that is not there.
func noSuchFile() string {
	_, err := os.Stat("no-such-file")
	var path *fs.PathError
	if !errors.As(err, &path) {
		return "?"
	}
	return path.Err.Error()
}
