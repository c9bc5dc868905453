package idleprom

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idlewise/idlewise"
)

// A Source gives the numbers: a *idlewise.Transport.
type Source interface {
	Stats() idlewise.Stats
}

// A Collector is a prometheus.Collector over a Transport's Stats. It may be
// registered with any number of registries; they see the same numbers.
//
// Registered twice with one registry, it or another Collector with the same
// ConstLabels is refused with a prometheus.AlreadyRegisteredError. Once it is
// unregistered nothing of it is left there. It holds no resource but the
// Transport, which it keeps alive.
type Collector struct {
	source  Source
	metrics metrics
	limit   int

	mu       sync.Mutex // guards what follows; held while a scrape is computed
	upstream map[string]*labeled
	other    vector
	hasOther bool
}

// An Option sets something of a Collector.
type Option func(*options)

type options struct {
	labels prometheus.Labels
	limit  int
}

// ConstLabels gives all metrics of a Collector these labels, to tell several
// Transports of a program apart. Default: none. A name that is not a valid
// label's, or is one of the metrics' own, makes registering fail.
func ConstLabels(labels prometheus.Labels) Option {
	return func(o *options) { o.labels = labels }
}

// DefaultMaxUpstreams is how many upstreams have metrics of their own unless
// MaxUpstreams says otherwise.
const DefaultMaxUpstreams = 100

// MaxUpstreams is how many upstreams have metrics of their own. Those beyond
// are added up as upstream="other". Default: 100; below 0 counts as 0.
//
// Each has about 190 series, 116 of them buckets. An upstream that has metrics
// of its own keeps them for the Collector's life, also while
// the Transport has forgotten it, so that no counter ever goes down; of those
// first seen in the same scrape, the ones with the most requests come first.
func MaxUpstreams(n int) Option {
	return func(o *options) { o.limit = n }
}

// NewCollector returns a Collector over source.
func NewCollector(source Source, opts ...Option) *Collector {
	o := options{limit: DefaultMaxUpstreams}
	for _, opt := range opts {
		opt(&o)
	}
	return &Collector{
		source:   source,
		metrics:  newMetrics(o.labels),
		limit:    max(0, o.limit),
		upstream: make(map[string]*labeled),
	}
}

// Describe sends the descriptions of all metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) { c.metrics.describe(ch) }

// Collect sends the metrics as they are now.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.source.Stats()
	other := gauges{}
	current := make(map[string]*gauges)
	for _, u := range mostRequestsFirst(stats.Upstreams) {
		name := strings.ToValidUTF8(u.Name, "\uFFFD")
		l := c.upstream[name]
		if l == nil && len(c.upstream) < c.limit {
			l = newLabeled()
			c.upstream[name] = l
		}
		if l == nil {
			other.add(u)
			continue
		}
		if current[name] == nil {
			current[name] = new(gauges)
		}
		current[name].add(u)
		l.see(u)
	}

	s := c.metrics.begin(ch, &stats.Total)
	rest := vectorOf(&stats.Total)
	for name, l := range c.upstream {
		v := l.value()
		rest.sub(v)
		g := current[name]
		if g == nil {
			g = new(gauges)
		}
		s.counters(name, &v)
		s.gauges(name, g)
		s.own(name, g)
	}
	c.other.raise(rest)
	if c.hasOther = c.hasOther || other.upstreams > 0 || !c.other.isZero(); c.hasOther {
		s.counters(otherUpstreams, &c.other)
		s.gauges(otherUpstreams, &other)
	}
	s.whole(&stats)
}

// otherUpstreams is the label of those that have no metrics of their own.
const otherUpstreams = "other"

func mostRequestsFirst(all []idlewise.UpstreamStats) []*idlewise.UpstreamStats {
	sorted := make([]*idlewise.UpstreamStats, len(all))
	for i := range all {
		sorted[i] = &all[i]
	}
	slices.SortStableFunc(sorted, func(a, b *idlewise.UpstreamStats) int { return cmp.Compare(b.Requests, a.Requests) })
	return sorted
}
