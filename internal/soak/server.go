package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/idlewise/idlewise/faultserver"
)

// A served is a server as its process tells of it.
type served struct {
	URL  string
	Cert []byte // PEM; none without TLS
	H2   bool
}

// An account is what the servers say of themselves since the last one.
type account struct {
	Requests int
	Posts    int      // executions, from the start
	Twice    []string // POSTs that were executed twice, at most maxTwice, from the start
	Faults   map[string]int
}

const maxTwice = 10

// serve runs the servers until stdin ends, and gives an account for each line of
// it.
func serve(seed string, stdin io.Reader, stdout io.Writer) (err error) {
	first, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	posts := new(ledger)
	var servers []*faultserver.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Close())
		}
	}()
	var ready []served
	for i, kind := range []struct{ tls, h2 bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!kind.h2)
		protocols.SetHTTP2(kind.h2 && kind.tls)
		protocols.SetUnencryptedHTTP2(kind.h2 && !kind.tls)
		s, err := faultserver.New(faultserver.Config{
			Handler: posts, Protocols: protocols, TLS: kind.tls, Scenario: chaos(kind.h2, 4*first+uint64(i)),
		})
		if err != nil {
			return err
		}
		servers = append(servers, s)
		ready = append(ready, served{s.URL, s.CertificatePEM(), kind.h2})
	}
	out := json.NewEncoder(stdout)
	if err := out.Encode(ready); err != nil {
		return err
	}
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		if err := out.Encode(posts.account(servers)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// A ledger answers requests, and knows of every POST that was executed, by its
// number, however long ago: a bit each.
type ledger struct {
	mu    sync.Mutex
	bits  []uint64
	posts int
	twice []string
}

// pathPrefix is what stands before a request's number.
const pathPrefix = "/n/"

// ServeHTTP answers with the request's number, the length of its body, and as many
// bytes more as it wants.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseUint(strings.TrimPrefix(r.URL.Path, pathPrefix), 10, 40)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPost {
		l.executed(n) // whatever becomes of its body
	}
	size, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	want, _ := strconv.Atoi(r.Header.Get("X-Want"))
	io.WriteString(w, answer(n, size)+strings.Repeat("x", want))
}

// answer is what the response to a request begins with.
func answer(n uint64, size int64) string { return fmt.Sprintf("%d %d\n", n, size) }

func (l *ledger) executed(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posts++
	at, bit := int(n/64), uint64(1)<<(n%64)
	for at >= len(l.bits) {
		l.bits = append(l.bits, make([]uint64, at+1-len(l.bits))...)
	}
	if l.bits[at]&bit != 0 && len(l.twice) < maxTwice {
		l.twice = append(l.twice, fmt.Sprintf("POST %d was executed twice", n))
	}
	l.bits[at] |= bit
}

// account also asks the journals, which can show the attempts, and empties them:
// they remember everything. What a journal misses since it was emptied between two
// attempts, the ledger has.
func (l *ledger) account(servers []*faultserver.Server) account {
	a := account{Faults: make(map[string]int)}
	var shown complaints
	for _, s := range servers {
		s.Journal().AssertNoneExecutedTwice(&shown, http.MethodPost)
		totals := s.Journal().Totals()
		s.Journal().Reset()
		a.Requests += totals.Requests
		for kind, n := range totals.Faults {
			a.Faults[kind] += n
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range shown {
		if len(l.twice) < 2*maxTwice {
			l.twice = append(l.twice, text)
		}
	}
	a.Posts, a.Twice = l.posts, l.twice
	return a
}

// complaints are a faultserver.TB that collects what it is told.
type complaints []string

func (c *complaints) Helper()        {}
func (c *complaints) Cleanup(func()) {}
func (c *complaints) Errorf(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}
func (c *complaints) Fatalf(format string, args ...any) { c.Errorf(format, args...) }
