package idleprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/idlewise/idlewise"
)

// A metric is one family. Its labels are upstream and, if named, one more.
type metric struct {
	name, help, label string
}

var (
	requests        = metric{"idlewise_requests_total", "Requests sent on a connection, resends included.", ""}
	requestsWaited  = metric{"idlewise_requests_waited_total", "Requests that found no free connection and waited for one.", ""}
	staleHits       = metric{"idlewise_stale_hits_total", "Requests that met a reused connection which the server had closed, by class: idempotent, or other, which net/http would not have repeated.", "class"}
	lost            = metric{"idlewise_requests_lost_total", "Requests that failed for good since their connection did, by what is known about their delivery.", "evidence"}
	attemptsFailed  = metric{"idlewise_attempts_failed_total", "Requests whose connection failed, by what is known about their delivery.", "evidence"}
	resends         = metric{"idlewise_resends_total", "Requests that were sent again after their connection had failed, by what was known about their delivery.", "evidence"}
	resendsAnswered = metric{"idlewise_resends_answered_total", "Resends that brought a response, by what was known about the delivery of the failed attempt.", "evidence"}
	opened          = metric{"idlewise_connections_opened_total", "Connections opened.", ""}
	warmed          = metric{"idlewise_connections_warmed_total", "Connections opened in advance.", ""}
	retries         = metric{"idlewise_retries_total", "Retries by policy.", ""}
	budgetDenials   = metric{"idlewise_retry_budget_denials_total", "Retries and resends that the budget did not allow.", ""}
	breakerDenials  = metric{"idlewise_breaker_denials_total", "Attempts that were not made since the circuit breaker was open.", ""}
	closed          = metric{"idlewise_connections_closed_total", "Connections that left the pool, by reason.", "reason"}
	dialsFailed     = metric{"idlewise_dials_failed_total", "Dials that failed.", ""}
	dialsDelayed    = metric{"idlewise_dials_delayed_total", "Dials that were held back, by DialRate or because others had failed.", ""}
	canaries        = metric{"idlewise_canaries_total", "Connections kept past their deadline to see when the server closes them, by outcome: closed by the server, or outlasted the watch.", "outcome"}
	upgradesEnded   = metric{"idlewise_upgraded_connections_ended_total", "Connections handed over by a 101 response that have ended, by who ended them.", "by"}
	probes          = metric{"idlewise_probes_total", "Background probes that have ended.", ""}
	probesFailed    = metric{"idlewise_probes_failed_total", "Background probes that the server did not answer.", ""}

	idleAtReuse    = metric{"idlewise_idle_age_at_reuse_seconds", "How long connections had been idle when a request was sent on them.", ""}
	idleAtStaleHit = metric{"idlewise_idle_age_at_stale_hit_seconds", "How long connections had been idle when a request met them closed by the server.", ""}
	idleAtClose    = metric{"idlewise_idle_age_at_close_seconds", "How long idle connections had been so when they were closed, by whom: the server, canaries included, or idlewise.", "by"}
	dialTime       = metric{"idlewise_dial_duration_seconds", "How long it took to open a connection, name look-up and handshakes included; without pauses and failures.", ""}
	waitTime       = metric{"idlewise_connection_wait_seconds", "How long requests waited for a connection that found none free and got one.", ""}

	connections   = metric{"idlewise_connections", "Connections whose sockets are open or being opened, by state.", "state"}
	inFlight      = metric{"idlewise_requests_in_flight", "Calls of RoundTrip that have not returned.", ""}
	waiting       = metric{"idlewise_requests_waiting", "Requests that wait for a connection.", ""}
	idleDeadline  = metric{"idlewise_idle_deadline_seconds", "The idle age at which a connection is retired, by where that comes from.", "source"}
	serverTimeout = metric{"idlewise_server_keep_alive_seconds", "How long the server keeps idle connections, where it is known.", ""}
	budget        = metric{"idlewise_retry_budget", "Retries that there could be at once.", ""}
	breakerState  = metric{"idlewise_breaker_state", "1 for the state that the circuit breaker is in, 0 for the others.", "state"}
	idleMargin    = metric{"idlewise_idle_margin_seconds", "How long before the server's keep-alive ends a connection is retired.", ""}
)

// These have no label of an upstream.
const (
	upstreams     = "idlewise_upstreams"
	eventsDropped = "idlewise_events_dropped_total"
)

// A counter is one series of an upstream's.
type counter struct {
	metric
	value string // of its label
	get   func(*idlewise.Counters) uint64
}

var counterTable = makeCounterTable()

func makeCounterTable() []counter {
	table := []counter{
		{requests, "", func(c *idlewise.Counters) uint64 { return c.Requests }},
		{requestsWaited, "", func(c *idlewise.Counters) uint64 { return c.Waits }},
		{staleHits, "idempotent", func(c *idlewise.Counters) uint64 { return c.StaleIdempotent }},
		{staleHits, "other", func(c *idlewise.Counters) uint64 { return c.StaleOther }},
		{warmed, "", func(c *idlewise.Counters) uint64 { return c.Warmed }},
		{retries, "", func(c *idlewise.Counters) uint64 { return c.Retries }},
		{budgetDenials, "", func(c *idlewise.Counters) uint64 { return c.BudgetEmpty }},
		{breakerDenials, "", func(c *idlewise.Counters) uint64 { return c.CircuitOpen }},
		{opened, "", func(c *idlewise.Counters) uint64 { return c.Opened }},
		{dialsFailed, "", func(c *idlewise.Counters) uint64 { return c.DialErrors }},
		{dialsDelayed, "", func(c *idlewise.Counters) uint64 { return c.DialWaits }},
		{canaries, "closed", func(c *idlewise.Counters) uint64 { return c.CanariesClosed }},
		{canaries, "outlasted", func(c *idlewise.Counters) uint64 { return c.CanariesOutlasted }},
		{probes, "", func(c *idlewise.Counters) uint64 { return c.Probes }},
		{probesFailed, "", func(c *idlewise.Counters) uint64 { return c.ProbesFailed }},
	}
	// All values from the beginning: of a series that appears with its first
	// event, Prometheus does not see the increase.
	for e := idlewise.Unsent; e <= idlewise.Answered; e++ {
		table = append(table,
			counter{attemptsFailed, e.String(), func(c *idlewise.Counters) uint64 { return c.Failed[e] }},
			counter{resends, e.String(), func(c *idlewise.Counters) uint64 { return c.Resent[e] }},
			counter{lost, e.String(), func(c *idlewise.Counters) uint64 { return c.Lost[e] }},
			counter{resendsAnswered, e.String(), func(c *idlewise.Counters) uint64 { return c.ResendsAnswered[e] }},
		)
	}
	for r := idlewise.ClosedIdleDeadline; r <= idlewise.ClosedShutdown; r++ {
		table = append(table, counter{closed, r.String(), func(c *idlewise.Counters) uint64 { return c.Closed[r] }})
	}
	for b := idlewise.EndedByProgram; b <= idlewise.EndedByServerRST; b++ {
		table = append(table, counter{upgradesEnded, b.String(), func(c *idlewise.Counters) uint64 { return c.UpgradesEnded[b] }})
	}
	return table
}

var histogramTable = []struct {
	metric
	value string
	get   func(*idlewise.Counters) idlewise.Histogram
}{
	{idleAtReuse, "", func(c *idlewise.Counters) idlewise.Histogram { return c.IdleAtReuse }},
	{idleAtStaleHit, "", func(c *idlewise.Counters) idlewise.Histogram { return c.IdleAtStaleHit }},
	{idleAtClose, "server", func(c *idlewise.Counters) idlewise.Histogram { return c.IdleAtServerClose }},
	{idleAtClose, "idlewise", func(c *idlewise.Counters) idlewise.Histogram { return c.IdleAtRetirement }},
	{dialTime, "", func(c *idlewise.Counters) idlewise.Histogram { return c.DialTime }},
	{waitTime, "", func(c *idlewise.Counters) idlewise.Histogram { return c.WaitTime }},
}

// metrics are the descriptions of all families, with a Collector's own labels.
type metrics struct {
	descs     map[string]*prometheus.Desc
	upstreams *prometheus.Desc
	dropped   *prometheus.Desc
}

func newMetrics(labels prometheus.Labels) metrics {
	m := metrics{descs: make(map[string]*prometheus.Desc)}
	define := func(f metric) {
		names := []string{"upstream"}
		if f.label != "" {
			names = append(names, f.label)
		}
		m.descs[f.name] = prometheus.NewDesc(f.name, f.help, names, labels)
	}
	for _, c := range counterTable {
		define(c.metric)
	}
	for _, h := range histogramTable {
		define(h.metric)
	}
	for _, g := range []metric{connections, inFlight, waiting, idleDeadline, serverTimeout, idleMargin, budget, breakerState} {
		define(g)
	}
	m.dropped = prometheus.NewDesc(eventsDropped, "Events that were not told to OnEvent and Logger, since too many waited.", nil, labels)
	m.upstreams = prometheus.NewDesc(upstreams, "Upstreams that the Transport remembers.", nil, labels)
	return m
}

func (m *metrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
	ch <- m.upstreams
	ch <- m.dropped
}
