//go:build linux

package servers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A ledger counts how often each request was executed, by the key in its URL.
type ledger interface {
	executed(t *testing.T) map[string]int
}

// A handlerLedger is kept by a handler of the test's own process: of the server
// itself, or of what stands behind a proxy.
type handlerLedger struct {
	mu    sync.Mutex
	count map[string]int
}

func (l *handlerLedger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	l.mu.Lock()
	if l.count == nil {
		l.count = make(map[string]int)
	}
	l.count[r.URL.Query().Get("key")]++
	l.mu.Unlock()
	io.WriteString(w, "ok")
}

func (l *handlerLedger) executed(*testing.T) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := make(map[string]int, len(l.count))
	for k, n := range l.count {
		count[k] = n
	}
	return count
}

// backend starts what stands behind a proxy. It keeps no connection, so that
// the proxies have no race of their own.
func backend(t *testing.T) (addr string, l *handlerLedger) {
	l = &handlerLedger{}
	srv := httptest.NewUnstartedServer(l)
	srv.Config.SetKeepAlivesEnabled(false)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), l
}

// A fileLedger is a file to which the program appends a line for each request.
type fileLedger string

func newFileLedger(dir string) fileLedger { return fileLedger(filepath.Join(dir, "ledger")) }

func (l fileLedger) executed(t *testing.T) map[string]int {
	text, err := os.ReadFile(string(l))
	require.NoError(t, err)
	count := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		count[strings.TrimSpace(line)]++
	}
	return count
}
