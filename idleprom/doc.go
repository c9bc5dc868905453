// Package idleprom exports an idlewise.Transport's Stats as Prometheus metrics:
//
//	prometheus.MustRegister(idleprom.NewCollector(transport))
//
// All names begin with idlewise_; docs/observability.md lists them, says how to
// read each and what to do about it. The numbers are taken when they are
// scraped: nothing happens on the way of a request.
//
// Their label upstream has at most 100 values, and one more, "other", for the
// rest; see MaxUpstreams. A program with several Transports tells them apart by
// a label of its own, with ConstLabels.
package idleprom
