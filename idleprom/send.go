package idleprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/idlewise/idlewise"
)

// gauges are an upstream's, or several upstreams' together.
type gauges struct {
	upstreams                           int
	dialing, idle, inUse, canary        int
	closing, probing, inFlight, waiting int
	deadline, serverTimeout, margin     float64
	source                              string // "": there is no deadline
	hasServerTimeout                    bool
	budget                              int
	breaker                             string // "": there is none
}

func (g *gauges) add(u *idlewise.UpstreamStats) {
	g.upstreams++
	g.dialing += u.Dialing
	g.idle += u.Idle
	g.inUse += u.InUse
	g.canary += u.Canaries
	g.closing += u.Closing
	g.probing += u.Probing
	g.inFlight += u.InFlight
	g.waiting += u.Waiting
	g.source = ""
	if u.Source != idlewise.DeadlineNone {
		g.source, g.deadline = u.Source.String(), u.IdleLimit.Seconds()
	}
	g.hasServerTimeout = u.ServerKeepAlive > 0
	g.serverTimeout, g.margin = u.ServerKeepAlive.Seconds(), u.Margin.Seconds()
	g.budget, g.breaker = u.Budget, u.Breaker
}

// A scrape is what one call of Collect sends to its channel.
type scrape struct {
	*metrics
	ch     chan<- prometheus.Metric
	bounds [][]float64 // of histogramTable
}

func (m *metrics) begin(ch chan<- prometheus.Metric, total *idlewise.Counters) *scrape {
	s := &scrape{metrics: m, ch: ch}
	for _, h := range histogramTable {
		var bounds []float64
		for _, b := range h.get(total).Bounds {
			bounds = append(bounds, b.Seconds())
		}
		s.bounds = append(s.bounds, bounds)
	}
	return s
}

// send sends one series. Labels of a wrong number or with invalid UTF-8 cannot
// occur; they would be reported by the registry.
func (s *scrape) send(f *metric, kind prometheus.ValueType, v float64, upstream, value string) {
	m, err := prometheus.NewConstMetric(s.descs[f.name], kind, v, f.labels(upstream, value)...)
	s.sendOr(m, err, f)
}

func (s *scrape) sendOr(m prometheus.Metric, err error, f *metric) {
	if err != nil {
		m = prometheus.NewInvalidMetric(s.descs[f.name], err)
	}
	s.ch <- m
}

func (f *metric) labels(upstream, value string) []string {
	if f.label == "" {
		return []string{upstream}
	}
	return []string{upstream, value}
}

func (s *scrape) counters(upstream string, v *vector) {
	for i := range counterTable {
		s.send(&counterTable[i].metric, prometheus.CounterValue, float64(v.counters[i]), upstream, counterTable[i].value)
	}
	for i := range histogramTable {
		t, h := &histogramTable[i], &v.histograms[i]
		total := uint64(0)
		cumulative := make(map[float64]uint64, len(s.bounds[i]))
		for j, bound := range s.bounds[i] {
			if j < len(h.counts) {
				total += h.counts[j]
			}
			cumulative[bound] = total
		}
		if n := len(h.counts); n > 0 {
			total += h.counts[n-1]
		}
		m, err := prometheus.NewConstHistogram(s.descs[t.name], total, h.sum, cumulative, t.labels(upstream, t.value)...)
		s.sendOr(m, err, &t.metric)
	}
}

func (s *scrape) gauges(upstream string, g *gauges) {
	gauge := func(f *metric, v float64, value string) { s.send(f, prometheus.GaugeValue, v, upstream, value) }
	for state, n := range map[string]int{
		"dialing": g.dialing, "idle": g.idle, "in_use": g.inUse, "canary": g.canary, "closing": g.closing, "probing": g.probing,
	} {
		gauge(&connections, float64(n), state)
	}
	gauge(&inFlight, float64(g.inFlight), "")
	gauge(&waiting, float64(g.waiting), "")
}

var breakerStates = []string{"closed", "half-open", "open"}

// own sends what cannot be added up for several upstreams.
func (s *scrape) own(upstream string, g *gauges) {
	if g.upstreams == 0 {
		return // it is forgotten
	}
	s.send(&budget, prometheus.GaugeValue, float64(g.budget), upstream, "")
	if g.breaker != "" {
		for _, state := range breakerStates {
			is := 0.0
			if state == g.breaker {
				is = 1
			}
			s.send(&breakerState, prometheus.GaugeValue, is, upstream, state)
		}
	}
	if g.source != "" {
		s.send(&idleDeadline, prometheus.GaugeValue, g.deadline, upstream, g.source)
	}
	if g.hasServerTimeout {
		s.send(&serverTimeout, prometheus.GaugeValue, g.serverTimeout, upstream, "")
		s.send(&idleMargin, prometheus.GaugeValue, g.margin, upstream, "")
	}
}

// whole sends what is the whole Transport's.
func (s *scrape) whole(stats *idlewise.Stats) {
	s.ch <- prometheus.MustNewConstMetric(s.upstreams, prometheus.GaugeValue, float64(len(stats.Upstreams)))
	s.ch <- prometheus.MustNewConstMetric(s.dropped, prometheus.CounterValue, float64(stats.EventsDropped))
}
