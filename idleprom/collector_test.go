package idleprom

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// series are the samples of a scrape by name and labels; of a histogram each
// bucket, its count and its sum.
type series map[string]float64

func gather(t testing.TB, g prometheus.Gatherer) (all series, counters map[string]bool) {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	all, counters = make(series), make(map[string]bool)
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			count := func(key string, v float64) { all[key], counters[key] = v, true }
			switch {
			case m.Counter != nil:
				count(key, m.Counter.GetValue())
			case m.Gauge != nil:
				all[key] = m.Gauge.GetValue()
			case m.Histogram != nil:
				count(key+" count", float64(m.Histogram.GetSampleCount()))
				count(key+" sum", m.Histogram.GetSampleSum())
				for _, b := range m.Histogram.Bucket {
					count(fmt.Sprintf("%s le %v", key, b.GetUpperBound()), float64(b.GetCumulativeCount()))
				}
			}
		}
	}
	return all, counters
}

func registered(t testing.TB, cs ...*Collector) *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	for _, c := range cs {
		require.NoError(t, r.Register(c))
	}
	return r
}

// A fake is a Source that a test writes.
type fake struct {
	mu    sync.Mutex
	stats idlewise.Stats
}

func (f *fake) Stats() idlewise.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

func (f *fake) add(u idlewise.UpstreamStats) {
	f.stats.Upstreams = append(f.stats.Upstreams, u)
	f.stats.Total.Requests += u.Requests
}

func named(name string, requests uint64) idlewise.UpstreamStats {
	return idlewise.UpstreamStats{Name: name, Since: epoch, Counters: idlewise.Counters{Requests: requests}}
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// used is a Transport that has sent n requests to a server that closes idle
// connections, and that server.
func used(t testing.TB, n int) (*idlewise.Transport, *faultserver.Server) {
	s := faultserver.Start(t, faultserver.Config{})
	tr, err := idlewise.New(idlewise.Config{Base: &http.Transport{}})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	for range n {
		get(t, tr, s.URL)
	}
	return tr, s
}

func get(t testing.TB, tr *idlewise.Transport, url string) {
	resp, err := (&http.Client{Transport: tr}).Get(url)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
}

func TestTheMetricsSatisfyPrometheusLinter(t *testing.T) {
	tr, _ := used(t, 2)
	problems, err := testutil.CollectAndLint(NewCollector(tr, MaxUpstreams(0)))
	require.NoError(t, err)
	require.Empty(t, problems)
	problems, err = testutil.CollectAndLint(NewCollector(tr, ConstLabels(prometheus.Labels{"transport": "a"})))
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestTheNumbersAreThoseOfTheServersJournal(t *testing.T) {
	tr, s := used(t, 5)
	tr.CloseIdleConnections()
	get(t, tr, s.URL)
	r := registered(t, NewCollector(tr))
	all, _ := gather(t, r)
	up := "upstream=" + strings.Replace(s.URL, "http://localhost", "http://127.0.0.1", 1) + "}"
	require.EqualValues(t, len(s.Journal().Requests()), all["idlewise_requests_total{"+up])
	require.EqualValues(t, len(s.Journal().Conns()), all["idlewise_connections_opened_total{"+up])
	require.EqualValues(t, 4, all["idlewise_idle_age_at_reuse_seconds{"+up+" count"], "all but the first on each connection")
	require.EqualValues(t, 2, all["idlewise_dial_duration_seconds{"+up+" count"])
	require.EqualValues(t, 1, all["idlewise_connections_closed_total{reason=shutdown,"+up])
	require.EqualValues(t, 1, all["idlewise_connections{state=idle,"+up])
	require.EqualValues(t, 90, all["idlewise_idle_deadline_seconds{source=max_idle_time,"+up])
	require.EqualValues(t, 1, all["idlewise_upstreams{}"])
}

// full has another number in each counter, also in those that are yet to be
// invented.
func full() (c idlewise.Counters) {
	n := uint64(100)
	next := func() uint64 { n++; return n }
	c = idlewise.Counters{
		Closed: map[idlewise.CloseReason]uint64{}, Failed: map[idlewise.Evidence]uint64{}, Resent: map[idlewise.Evidence]uint64{},
		ResendsAnswered: map[idlewise.Evidence]uint64{}, Lost: map[idlewise.Evidence]uint64{}, UpgradesEnded: map[idlewise.EndedBy]uint64{},
	}
	for r := idlewise.CloseReason(1); !strings.HasPrefix(r.String(), "CloseReason("); r++ {
		c.Closed[r] = next()
	}
	for e := idlewise.Unsent; !strings.HasPrefix(e.String(), "Evidence("); e++ {
		c.Failed[e], c.Resent[e], c.ResendsAnswered[e], c.Lost[e] = next(), next(), next(), next()
	}
	for b := idlewise.EndedBy(0); !strings.HasPrefix(b.String(), "EndedBy("); b++ {
		c.UpgradesEnded[b] = next()
	}
	fields := reflect.ValueOf(&c).Elem()
	for i := range fields.NumField() {
		switch f := fields.Field(i).Addr().Interface().(type) {
		case *uint64:
			*f = next()
		case *idlewise.Histogram:
			*f = idlewise.Histogram{Bounds: []time.Duration{time.Second, time.Minute}, Counts: []uint64{next(), next(), next()}, Sum: float64(next())}
		}
	}
	return c
}

// numbers are those that full made.
func numbers(c idlewise.Counters) (all []float64) {
	fields := reflect.ValueOf(c)
	for i := range fields.NumField() {
		switch f := fields.Field(i).Interface().(type) {
		case uint64:
			all = append(all, float64(f))
		case idlewise.Histogram:
			all = append(all, float64(f.Count()), f.Sum, float64(f.Counts[0]), float64(f.Counts[0]+f.Counts[1]))
		default: // a map
			for _, v := range reflect.ValueOf(f).Seq2() {
				all = append(all, float64(v.Uint()))
			}
		}
	}
	return all
}

func TestEveryCounterOfStatsHasItsSeries(t *testing.T) {
	c := full()
	want := append(numbers(c), 7)
	f := &fake{stats: idlewise.Stats{Total: c, EventsDropped: 7, Upstreams: []idlewise.UpstreamStats{{Name: "http://a:80", Since: epoch, Counters: c}}}}
	all, counters := gather(t, registered(t, NewCollector(f)))
	var got []float64
	for key := range counters {
		got = append(got, all[key])
	}
	require.ElementsMatch(t, want, got)

	f.stats.Upstreams = nil
	all, counters = gather(t, registered(t, NewCollector(f)))
	got = nil
	for key := range counters {
		require.True(t, strings.Contains(key, "upstream=other") || key == "idlewise_events_dropped_total{}", key)
		got = append(got, all[key])
	}
	require.ElementsMatch(t, want, got, "those that were forgotten before")
}

func TestUpstreamsBeyondTheLimitAreAddedUpAndTheChoiceStays(t *testing.T) {
	f := &fake{}
	for i := range 150 {
		f.add(named(fmt.Sprintf("http://host%03d:80", i), uint64(i)))
	}
	r := registered(t, NewCollector(f))
	labels := func() (names []string, sum float64) {
		all, _ := gather(t, r)
		for key, v := range all {
			if name, ok := strings.CutPrefix(key, "idlewise_requests_total{upstream="); ok {
				names = append(names, name)
				sum += v
			}
		}
		slices.Sort(names)
		return names, sum
	}
	names, sum := labels()
	require.Len(t, names, 101)
	require.Contains(t, names, "other}")
	require.Contains(t, names, "http://host149:80}", "those with the most requests")
	require.NotContains(t, names, "http://host049:80}")
	require.EqualValues(t, f.stats.Total.Requests, sum)

	f.stats.Upstreams[0].Requests += 1000
	f.stats.Total.Requests += 1000
	again, sum := labels()
	require.Equal(t, names, again)
	require.EqualValues(t, f.stats.Total.Requests, sum)
}

// A Transport that forgets upstreams and meets them again, as it goes.
func TestNoCounterGoesDownWhenUpstreamsAreForgottenAndMetAgain(t *testing.T) {
	bounds := []time.Duration{time.Second, time.Minute}
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 0))
		records := make(map[string]*idlewise.UpstreamStats)
		past, now := idlewise.Counters{}, epoch
		plus := func(to *idlewise.Counters, from *idlewise.Counters) {
			to.Requests += from.Requests
			if from.DialTime.Counts != nil {
				if to.DialTime.Counts == nil {
					to.DialTime.Counts = make([]uint64, 3)
				}
				for i, n := range from.DialTime.Counts {
					to.DialTime.Counts[i] += n
				}
			}
			to.DialTime.Sum += from.DialTime.Sum
			to.DialTime.Bounds = bounds
		}
		f := &fake{}
		r := registered(t, NewCollector(f, MaxUpstreams(5)))
		last := series{}
		for range 50 {
			for range rng.IntN(30) {
				now = now.Add(time.Second)
				name := fmt.Sprintf("http://host%d:80", rng.IntN(12))
				switch u := records[name]; {
				case u == nil:
					records[name] = &idlewise.UpstreamStats{Name: name, Since: now}
				case rng.IntN(6) == 0:
					plus(&past, &u.Counters)
					delete(records, name)
				default:
					one := idlewise.Counters{Requests: uint64(rng.IntN(5)), DialTime: idlewise.Histogram{Counts: make([]uint64, 3), Sum: rng.Float64()}}
					one.DialTime.Counts[rng.IntN(3)]++
					plus(&u.Counters, &one)
				}
			}
			f.stats = idlewise.Stats{}
			plus(&f.stats.Total, &past)
			for _, u := range records {
				plus(&f.stats.Total, &u.Counters)
				copied := *u
				copied.DialTime.Counts = slices.Clone(u.DialTime.Counts)
				f.stats.Upstreams = append(f.stats.Upstreams, copied)
			}
			all, counters := gather(t, r)
			sum := 0.0
			for key := range counters {
				if all[key] < last[key] {
					t.Fatalf("%s went down from %v to %v", key, last[key], all[key])
				}
				if strings.HasPrefix(key, "idlewise_requests_total") {
					sum += all[key]
				}
			}
			for key := range last {
				if !counters[key] && strings.Contains(key, "_total") {
					t.Fatalf("%s has disappeared", key)
				}
			}
			require.EqualValues(t, f.stats.Total.Requests, sum, "nothing is counted twice or not at all")
			last = all
		}
	}
}

func TestSeveralRecordsOfOneNameAreOneUpstream(t *testing.T) {
	f := &fake{}
	a, b := named("http://a:80 via http://proxy:3128", 3), named("http://a:80 via http://proxy:3128", 4)
	a.Idle, b.Idle = 1, 1
	f.add(a)
	f.add(b)
	all, _ := gather(t, registered(t, NewCollector(f)))
	require.EqualValues(t, 7, all["idlewise_requests_total{upstream=http://a:80 via http://proxy:3128}"])
	require.EqualValues(t, 2, all["idlewise_connections{state=idle,upstream=http://a:80 via http://proxy:3128}"])
}

func TestANameThatIsNotUTF8IsNoError(t *testing.T) {
	f := &fake{}
	f.add(named("http://\xff:80", 1))
	all, _ := gather(t, registered(t, NewCollector(f)))
	require.EqualValues(t, 1, all["idlewise_requests_total{upstream=http://\uFFFD:80}"])
}

func TestSeveralTransportsAreToldApartByALabel(t *testing.T) {
	a, b := &fake{}, &fake{}
	a.add(named("http://x:80", 1))
	b.add(named("http://x:80", 2))
	r := registered(t, NewCollector(a, ConstLabels(prometheus.Labels{"transport": "a"})), NewCollector(b, ConstLabels(prometheus.Labels{"transport": "b"})))
	all, _ := gather(t, r)
	require.EqualValues(t, 1, all["idlewise_requests_total{transport=a,upstream=http://x:80}"])
	require.EqualValues(t, 2, all["idlewise_requests_total{transport=b,upstream=http://x:80}"])
}

func TestRegisteringTwiceIsRefusedAndUnregisteringLeavesNothing(t *testing.T) {
	f := &fake{}
	f.add(named("http://x:80", 1))
	c := NewCollector(f)
	r := registered(t, c)
	var already prometheus.AlreadyRegisteredError
	require.ErrorAs(t, r.Register(c), &already)
	require.Same(t, c, already.ExistingCollector)
	require.ErrorAs(t, r.Register(NewCollector(&fake{})), &already, "another Transport, and nothing to tell them apart")

	require.True(t, r.Unregister(c))
	all, _ := gather(t, r)
	require.Empty(t, all)
	require.NoError(t, r.Register(c))
	all, _ = gather(t, r)
	require.NotEmpty(t, all)
}

func TestALabelThatIsTheMetricsOwnIsRefused(t *testing.T) {
	for _, name := range []string{"upstream", "reason"} {
		c := NewCollector(&fake{}, ConstLabels(prometheus.Labels{name: "x"}))
		require.Error(t, prometheus.NewRegistry().Register(c), name)
	}
}

func TestScrapesMayRunAtOnce(t *testing.T) {
	tr, s := used(t, 1)
	c := NewCollector(tr)
	a, b := registered(t, c), registered(t, c)
	var wg sync.WaitGroup
	for _, r := range []*prometheus.Registry{a, b, a, b} {
		wg.Go(func() {
			last := 0.0
			for range 20 {
				all, _ := gather(t, r)
				for key, v := range all {
					if strings.HasPrefix(key, "idlewise_requests_total") {
						require.GreaterOrEqual(t, v, last)
						last = v
					}
				}
			}
		})
	}
	for range 50 {
		get(t, tr, s.URL)
	}
	wg.Wait()
	all, _ := gather(t, a)
	require.NotEmpty(t, all)
}

func BenchmarkCollect(b *testing.B) {
	for _, n := range []int{1, 100, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := &fake{}
			f.stats.Total = full()
			for i := range n {
				f.add(idlewise.UpstreamStats{Name: fmt.Sprintf("http://host%d:80", i), Since: epoch, Counters: full()})
			}
			c := NewCollector(f)
			b.ReportAllocs()
			for b.Loop() {
				ch := make(chan prometheus.Metric, 100)
				go func() { c.Collect(ch); close(ch) }()
				for range ch {
				}
			}
		})
	}
}

func TestTheBreakersStateIsOneOfThree(t *testing.T) {
	f := &fake{}
	u := named("http://a:80", 1)
	u.Breaker, u.Budget = "half-open", 12
	f.add(u)
	f.add(named("http://b:80", 1))
	all, _ := gather(t, registered(t, NewCollector(f)))
	require.EqualValues(t, 12, all["idlewise_retry_budget{upstream=http://a:80}"])
	for state, want := range map[string]float64{"closed": 0, "half-open": 1, "open": 0} {
		got, ok := all["idlewise_breaker_state{state="+state+",upstream=http://a:80}"]
		require.True(t, ok)
		require.Equal(t, want, got, state)
		require.NotContains(t, all, "idlewise_breaker_state{state="+state+",upstream=http://b:80}", "it has none")
	}
}
