package idlewise

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
)

// anyName lets every name lead to the world's server.
func anyName(b *http.Transport) {
	dial := b.DialContext
	b.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, worldAddr) }
}

// post sends a request to a host that is one of the names of the world's server.
func (w *world) post(ctx context.Context, host string) error {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+host+"/", http.NoBody)
	require.NoError(w, err)
	_, err = w.send(req)
	return err
}

func (w *world) mustPost(host string) {
	w.Helper()
	require.NoError(w, w.post(context.Background(), host))
	synctest.Wait()
}

func (w *world) source(host string) DeadlineSource {
	return w.tr.Explain("http://" + host + "/").Source
}

// teach lets the server's timeout of 5 s be learned.
func (w *world) teach(host string) {
	for range 10 {
		w.mustPost(host)
		time.Sleep(20 * time.Second)
	}
	require.Equal(w, DeadlineLearned, w.source(host))
}

func named(client Config) worldConfig {
	cfg := fiveSeconds(client)
	cfg.base = anyName
	return cfg
}

var (
	grouped   = Policies{Upstreams: map[string]Policy{"*.example": {Group: "example"}}}
	ungrouped = Policies{}
)

func TestMembersOfAGroupShareWhatIsLearned(t *testing.T) {
	inWorld(t, named(Config{Policies: grouped}), func(t *testing.T, w *world) {
		w.teach("a.example")
		require.Equal(t, DeadlineLearned, w.source("b.example"), "though nothing was sent there")
		require.Equal(t, DeadlineMaxIdleTime, w.source("b.elsewhere"))
		w.mustPost("b.example")
		time.Sleep(4900 * time.Millisecond)
		opened := w.tr.Stats().Total.Opened
		w.mustPost("b.example")
		require.Equal(t, opened+1, w.tr.Stats().Total.Opened, "the first was retired in time")
		require.Contains(t, w.tr.Explain("http://b.example/").String(), `group: "example"`)

		k := w.tr.Knowledge()
		require.Len(t, k.Upstreams, 2)
		require.Equal(t, k.Upstreams[0].Timeouts, k.Upstreams[1].Timeouts)
	})
}

// What a member learns holds for the connections that others have idle.
func TestNoConnectionIsUsedBeyondADeadlineThatAnotherMemberHasLearned(t *testing.T) {
	inWorld(t, named(Config{Policies: grouped}), func(t *testing.T, w *world) {
		w.mustPost("b.example")
		b := &w.tr.registry.all()[0].pool
		b.mu.Lock()
		require.Equal(t, DeadlineMaxIdleTime, b.newest.limit.source)
		b.mu.Unlock()
		g := b.u.group()
		g.lock()
		g.learned = new(experience)
		for i := range 3 {
			g.learned.name.Closed(time.Now().Add(time.Duration(i)*time.Minute), 5*time.Second)
		}
		g.taught.Add(1)
		g.unlock()
		time.Sleep(4900 * time.Millisecond)
		w.mustPost("b.example")
		require.EqualValues(t, 1, w.tr.Stats().Total.Closed[ClosedIdleDeadline])
	})
}

func TestSetPoliciesMovesAnUpstreamWithWhatItKnows(t *testing.T) {
	inWorld(t, named(Config{}), func(t *testing.T, w *world) {
		w.teach("a.example")
		w.mustPost("b.example")
		require.NotEqual(t, DeadlineLearned, w.source("b.example"))

		require.NoError(t, w.tr.SetPolicies(grouped))
		require.Equal(t, DeadlineLearned, w.source("a.example"))
		require.Equal(t, DeadlineLearned, w.source("b.example"), "the group begins with what its first member knows")
		w.teach("b.example")

		require.NoError(t, w.tr.SetPolicies(ungrouped))
		require.Equal(t, DeadlineLearned, w.source("a.example"))
		require.Equal(t, DeadlineLearned, w.source("b.example"), "who leaves takes a copy along")
		k := w.tr.Knowledge().Upstreams
		require.Equal(t, k[0].Timeouts, k[1].Timeouts, "also of what others have learned")
		require.Empty(t, w.tr.groups.named)
	})
}

func TestKnowledgeOfAnEarlierProcessIsTheGroups(t *testing.T) {
	var k *Knowledge
	inWorld(t, named(Config{Policies: grouped}), func(t *testing.T, w *world) {
		w.teach("a.example")
		k = w.tr.Knowledge()
	})
	inWorld(t, named(Config{Policies: grouped, Learned: k}), func(t *testing.T, w *world) {
		require.Equal(t, DeadlineProvisional, w.source("a.example"))
		w.mustPost("a.example")
		require.Equal(t, DeadlineProvisional, w.source("b.example"))
	})
}

func TestMembersOfAGroupShareThePaceOfDials(t *testing.T) {
	var log dialLog
	cfg := named(Config{Policies: Policies{Upstreams: map[string]Policy{
		"a.example": {Group: "x", DialRate: 1, DialBurst: 1},
		"b.example": {Group: "x", DialRate: 1000},
		"c.example": {Group: "x"},
		"d.example": {},
	}}})
	cfg.base = func(b *http.Transport) { anyName(b); log.on(b) }
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustPost("a.example") // its policy is the group's
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				if err := w.post(WithFreshConn(context.Background()), string(rune('b'+i%2))+".example"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, log.most(), 2, "a turn may be taken late by as much as the next one's")
		began := time.Now()
		w.mustPost("d.example")
		require.Less(t, time.Since(began), 100*time.Millisecond, "it is in no group")
	})
}

func TestDialsThatFailSlowDownTheWholeGroupUntilOneSucceeds(t *testing.T) {
	inWorld(t, named(Config{Policies: grouped}), func(t *testing.T, w *world) {
		w.refuse.Store(20)
		for range 20 {
			require.ErrorIs(t, w.post(context.Background(), "a.example"), errRefused)
			time.Sleep(time.Microsecond)
		}
		w.mustPost("b.example")
		w.mustPost("c.elsewhere")
		for _, u := range w.tr.Stats().Upstreams {
			want := map[string]int{"http://a.example:80": 18, "http://b.example:80": 1, "http://c.elsewhere:80": 0}
			require.EqualValues(t, want[u.Name], u.DialWaits, u.Name)
		}
	})
}

func TestAGroupEndsWithItsLastUpstream(t *testing.T) {
	policies := Policies{Upstreams: map[string]Policy{}}
	for i := range 100 {
		policies.Upstreams[fmt.Sprintf("*.g%d", i)] = Policy{Group: fmt.Sprint("group ", i)}
	}
	inWorld(t, named(Config{MaxUpstreams: 16, Policies: policies}), func(t *testing.T, w *world) {
		for i := range 100 {
			for _, name := range []string{"a", "b"} {
				w.tr.Explain(fmt.Sprintf("http://%s.g%d/", name, i))
				w.mustPost(fmt.Sprintf("%s.g%d", name, i))
				w.tr.CloseIdleConnections()
				synctest.Wait()
			}
		}
		require.LessOrEqual(t, len(w.tr.groups.named), 16)
		members := 0
		for _, g := range w.tr.groups.named {
			members += g.size
		}
		require.Equal(t, len(w.tr.registry.upstreams), members)
	})
}

func TestGroupsMayChangeUnderLoad(t *testing.T) {
	client := Config{Policies: grouped}
	inWorld(t, named(client), func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for n := range 30 {
					if err := w.post(context.Background(), fmt.Sprintf("%c.example", 'a'+(i+n)%5)); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Duration(n*i) * 17 * time.Millisecond)
				}
			})
		}
		for i := range 500 {
			policies := []Policies{grouped, ungrouped, {Default: Policy{Group: "other", DialRate: 100}}}[i%3]
			require.NoError(t, w.tr.SetPolicies(policies))
			w.tr.Explain("http://a.example/")
			w.tr.Knowledge()
			time.Sleep(20 * time.Millisecond)
		}
		wg.Wait()
		require.NoError(t, w.tr.SetPolicies(ungrouped))
		require.Empty(t, w.tr.groups.named)
	})
}

func TestMembersOfAGroupShareTheirBudgetAndTheirBreaker(t *testing.T) {
	hair := &Breaker{Settings: gobreaker.Settings{ReadyToTrip: tripAtOnce}}
	both := Policies{Upstreams: map[string]Policy{"*.example": {Group: "example", Breaker: hair}, "*.other": {Breaker: hair}}}
	inWorld(t, named(Config{Policies: both}), func(t *testing.T, w *world) {
		w.mustPost("a.example")
		w.mustPost("b.example")
		w.mustPost("c.other")
		group := func(host string) *group {
			u, err := url.Parse("http://" + host + "/")
			require.NoError(t, err)
			up := w.tr.upstreamFor(u, nil, false)
			up.inFlight.Add(-1)
			return up.group()
		}
		for range 4 {
			require.True(t, group("a.example").budget.withdraw(time.Now()))
		}
		require.Equal(t, 6, group("b.example").budget.remaining(time.Now()))
		require.Equal(t, 10, group("c.other").budget.remaining(time.Now()))

		w.tr.CloseIdleConnections()
		w.refuse.Store(1)
		require.ErrorIs(t, w.post(t.Context(), "a.example"), errRefused)
		require.ErrorIs(t, w.post(t.Context(), "b.example"), ErrCircuitOpen)
		require.NoError(t, w.post(t.Context(), "c.other"))
	})
}

// The policy of a group is its first member's.
func TestAGroupsPolicyGoesToTheNextMemberWhenTheFirstLeaves(t *testing.T) {
	member := func(a string, rate float64) Policies {
		return Policies{Upstreams: map[string]Policy{
			"a.example": {Group: a, DialRate: 1},
			"b.example": {Group: "x", DialRate: rate},
		}}
	}
	inWorld(t, named(Config{}), func(t *testing.T, w *world) {
		w.mustPost("a.example")
		w.mustPost("b.example")
		for i := range 30 { // which of the two is looked at first is chance
			require.NoError(t, w.tr.SetPolicies(ungrouped))
			require.NoError(t, w.tr.SetPolicies(member("x", 1000)))
			require.NoError(t, w.tr.SetPolicies(member("y", 2000)))
			require.EqualValues(t, 2000, w.tr.groups.named["x"].policy.DialRate, i)
		}
	})
}
