//go:build linux

package servers

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

const (
	posts       = 10  // of each caller
	callers     = 200 // in the client that must not fail
	bystanders  = 50  // in each of the others
	coarseTicks = 12  // closes from which a coarse timeout is learned here
)

func TestPOSTsAtGapsAroundTheIdleTimeoutDoNotFail(t *testing.T) {
	var rows table
	t.Run("servers", func(t *testing.T) {
		for _, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				rows.add(s.name, aroundTheTimeout(t, s))
			})
		}
	})
	t.Log("\n" + rows.text("| server | configured | announced | closes after | idlewise knows | retires at | net/http: POSTs failed | idlewise | told ServerKeepAlive |"))
}

func aroundTheTimeout(t *testing.T, s server) string {
	site := s.start(t)
	first, last := closingAges(t, site)
	know, learned := learn(t, s, site, last)
	t.Logf("bare sockets were closed after %v to %v; %v%+v", first, last, know, know.Learned)
	require.GreaterOrEqual(t, know.ServerKeepAlive, s.promised()*8/10)
	require.LessOrEqual(t, know.ServerKeepAlive, last*12/10)

	// Each caller is a process of its own that knows what an earlier one has
	// learned, and sends one request at a time.
	gaps := gaps{limit: know.IdleLimit, first: first, last: last}
	var load sync.WaitGroup
	theirs := newClient("net-http", site)
	gaps.load(t, &load, theirs, bystanders, func() http.RoundTripper { return plain(t) })
	ours, told := newClient("idlewise", site), newClient("told", site)
	var wises []*idlewise.Transport
	knowing := func() http.RoundTripper {
		tr := wise(t, idlewise.Config{Learned: learned})
		wises = append(wises, tr)
		return tr
	}
	gaps.load(t, &load, ours, callers, knowing)
	asserted := []*client{ours}
	if s.coarse { // what the operator's word brings
		asserted = append(asserted, told)
		gaps.limit = s.configured - s.configured/8
		gaps.load(t, &load, told, bystanders, func() http.RoundTripper {
			tr := wise(t, idlewise.Config{Policies: idlewise.Policies{Default: idlewise.Policy{ServerKeepAlive: s.configured}}})
			wises = append(wises, tr)
			return tr
		})
	}
	load.Wait()

	t.Logf("net/http: %s; idlewise: %s; told: %s; %s", theirs.outcome(), ours.outcome(), told.outcome(), attempts(wises))
	for _, c := range []*client{theirs, ours, told} {
		c.holdsOnce(t, site.ledger)
	}
	require.Equal(t, callers*posts, ours.sent)
	// Where the announcement is less than the truth, canaries find that out.
	limit := max(gaps.limit, last*7/8)
	for _, c := range asserted {
		c.failedOnlyByStarvation(t, limit, know.Margin, theirs)
	}
	return fmt.Sprintf("| %s | %s | %s | %s to %s | %s, %s | %s | %s | %s | %s |", s.name, seconds(s.configured), s.announces(),
		seconds(first), seconds(last), seconds(know.ServerKeepAlive), know.Source, seconds(know.IdleLimit), theirs.outcome(), ours.outcome(), told.outcome())
}

// learn lets an idlewise without any configuration find out the deadline, from
// connections that the server closes and from canaries, and returns what it
// then knows.
func learn(t *testing.T, s server, site *site, last time.Duration) (idlewise.Explanation, *idlewise.Knowledge) {
	// The server has other clients, too: alone, some look at their
	// connections at other times.
	others := &http.Transport{DisableKeepAlives: true}
	enough := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(enough)
	wg.Go(func() {
		for {
			select {
			case <-enough:
				return
			case <-time.After(between(0, 200*time.Millisecond)):
				try(t, others, http.MethodGet, site.url())
			}
		}
	})

	c := newClient("learner", site)
	tr := wise(t, idlewise.Config{})
	want, lessons := idlewise.DeadlineLearned, 1
	if s.announced > 0 {
		want = idlewise.DeadlineHint
	}
	if s.coarse {
		lessons = coarseTicks
	}
	for lesson := 1; ; lesson++ {
		c.send(t, tr, http.MethodPost)
		pause(t, last+between(100*time.Millisecond, time.Second))
		know := tr.Explain(site.url())
		learned := tr.Knowledge()
		if lesson >= lessons && (know.Source == want || s.coarse && know.ServerKeepAlive > 0) {
			require.Empty(t, c.errors)
			return know, learned
		}
		if s.coarse {
			// For a process that was only told of a deadline it is provisional, and
			// each connection becomes a canary, where of one that has confirmed it
			// most would not live to see the close.
			tr = wise(t, idlewise.Config{Learned: learned})
		}
		require.Less(t, lesson, 20, "the deadline is not known: %v", know)
	}
}

// Gaps are between the ages at which the server closes connections, and some
// up to the limit until which idlewise uses one.
type gaps struct{ limit, first, last time.Duration }

// load starts callers, each with a transport of its own.
func (g gaps) load(t *testing.T, load *sync.WaitGroup, c *client, callers int, transport func() http.RoundTripper) {
	for range callers {
		rt := transport()
		load.Go(func() {
			pause(t, between(0, time.Second))
			for i := range posts {
				c.send(t, rt, http.MethodPost)
				if i%4 == 0 {
					pause(t, between(g.limit*9/10, g.limit))
				} else {
					pause(t, between(g.first-10*time.Millisecond, g.last+10*time.Millisecond))
				}
			}
		})
	}
}

// outcome says how many failed of how many.
func (c *client) outcome() string {
	if c.sent == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", len(c.errors), c.sent)
}

// failedOnlyByStarvation asserts that no request failed. One may where the
// machine kept the server, or this process, from running for so long that it
// shows in the responses' times: then a server closes on time and reads late
// what had been sent in time. And it closes other connections as late, so that
// the limit may have been learned to be later by that.
func (c *client) failedOnlyByStarvation(t *testing.T, limit, margin time.Duration, other *client) {
	starved := max(c.slowest, other.slowest)
	for i, f := range c.errors {
		if i < 3 {
			t.Logf("responses took up to %v; %s: %+v", starved, f.key, f.err)
		}
		var ours *idlewise.Error
		require.ErrorAs(t, f.err, &ours)
		require.Greater(t, starved, margin/2)
		require.LessOrEqual(t, ours.Attempts[len(ours.Attempts)-1].IdleAge, limit+starved)
	}
}

// attempts sums up how often connections were used again, and what became of
// attempts that failed.
func attempts(all []*idlewise.Transport) string {
	var reused uint64
	failed, resent := make(map[idlewise.Evidence]uint64), make(map[idlewise.Evidence]uint64)
	for _, tr := range all {
		total := tr.Stats().Total
		reused += total.IdleAtReuse.Count()
		for e := range total.Failed {
			failed[e] += total.Failed[e]
			resent[e] += total.Resent[e]
		}
	}
	return fmt.Sprintf("connections used again %d times, attempts that failed %v, resent %v", reused, failed, resent)
}

// promised is for how long a client can be sure of a connection.
func (s server) promised() time.Duration {
	if s.announced > 0 {
		return s.announced
	}
	return s.configured
}

func (s server) announces() string {
	switch {
	case s.announced > 0:
		return "always"
	case s.elicited > 0:
		return "if asked"
	}
	return "no"
}

func TestAnAnnouncementIsElicitedWhereThereIsOne(t *testing.T) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			site := s.start(t)
			for _, c := range []struct {
				elicit idlewise.Toggle
				want   time.Duration
			}{{idlewise.Off, s.announced}, {idlewise.On, s.elicited}} {
				tr := wise(t, idlewise.Config{Policies: idlewise.Policies{Default: idlewise.Policy{ElicitHint: c.elicit}}})
				require.NoError(t, try(t, tr, http.MethodPost, site.url()))
				know := tr.Explain(site.url())
				require.Equal(t, c.want, know.ServerKeepAlive, "%v: %v", c.elicit, know)
			}
		})
	}
}

// closingAges measures by bare sockets at what idle ages the server closes
// connections, the first and the last. They begin at different moments of a
// second, in which some servers count.
func closingAges(t *testing.T, s *site) (first, last time.Duration) {
	const sockets = 12
	var mu sync.Mutex
	var ages []time.Duration
	var all sync.WaitGroup
	for i := range sockets {
		all.Go(func() {
			pause(t, time.Duration(i)*time.Second/sockets)
			age, err := closingAge(s.addr)
			mu.Lock()
			defer mu.Unlock()
			if ages = append(ages, age); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return slices.Min(ages), slices.Max(ages)
}

func closingAge(addr string) (time.Duration, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET /?key=measured HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return 0, err
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	since := time.Now()
	if _, err = r.ReadByte(); err != io.EOF {
		return 0, fmt.Errorf("the server should close: %w", err)
	}
	return time.Since(since), nil
}

func between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(rand.Int64N(max(1, int64(hi-lo))))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// A table gathers rows of Markdown, in the order of the servers.
type table struct {
	mu   sync.Mutex
	rows [][2]string // the server, the row
}

func (b *table) add(name, row string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, [2]string{name, row})
}

func (b *table) text(head string) string {
	order := func(row [2]string) int { return slices.IndexFunc(all, func(s server) bool { return s.name == row[0] }) }
	slices.SortFunc(b.rows, func(x, y [2]string) int { return cmp.Compare(order(x), order(y)) })
	lines := []string{head, strings.Repeat("|---", strings.Count(head, "|")-1) + "|"}
	for _, row := range b.rows {
		lines = append(lines, row[1])
	}
	return strings.Join(lines, "\n")
}
