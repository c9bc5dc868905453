package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/idlewise/idlewise/bench/internal/plots"
	"github.com/idlewise/idlewise/bench/internal/race"
)

// drawn is the number of callers in the plot of latencies.
const drawn = 16

var titles = map[protocol]string{http1: "HTTP/1", http2: "HTTP/2"}

var bodyTitles = map[body]string{bodyEmpty: "no bodies", body4KiB: "4 KiB there and back", body1MiB: "1 MiB there and back"}

// drawAll draws the plots in a directory.
func drawAll(o *options, results []*result, races []*raced) error {
	if err := os.MkdirAll(o.plot, 0o755); err != nil {
		return err
	}
	if err := ratioGrid(o, results).Write(filepath.Join(o.plot, "peers-ratio.svg")); err != nil {
		return err
	}
	if slices.Contains(o.callers, drawn) {
		if err := latencyGrid(o, results).Write(filepath.Join(o.plot, "peers-latency.svg")); err != nil {
			return err
		}
	}
	for _, r := range races {
		if r.scenario.Name == "idle" {
			return gapStrips(r).Write(filepath.Join(o.plot, "idle-race.svg"))
		}
	}
	return nil
}

// ratioGrid shows every client's time per request in relation to net/http's.
func ratioGrid(o *options, results []*result) *plots.Grid {
	var callers []string
	for _, n := range o.callers {
		callers = append(callers, thousands(n))
	}
	g := &plots.Grid{
		Title: "Time per request in relation to net/http's (less is better; median and quartiles of the rounds)",
		X:     "callers", Y: "ratio to net/http", Ticks: callers, Base: 1,
	}
	fill(g, o, func(p protocol, b body, client string) (points []plots.Point) {
		for _, n := range o.callers {
			var pt plots.Point
			if r := find(results, cell{p, n, b}, client); r != nil {
				s := r.summary()
				pt = plots.Point{Value: s.ratio, Low: s.low, High: s.high}
			}
			points = append(points, pt)
		}
		return points
	})
	return g
}

// latencyGrid shows the quantiles of the latency of every client.
func latencyGrid(o *options, results []*result) *plots.Grid {
	g := &plots.Grid{
		Title: fmt.Sprintf("Latency with %d callers (less is better)", drawn),
		Y:     "ms", Ticks: []string{"p50", "p99", "p99.9"},
	}
	fill(g, o, func(p protocol, b body, client string) (points []plots.Point) {
		r := find(results, cell{p, drawn, b}, client)
		if r == nil {
			return nil
		}
		s := r.summary()
		for _, d := range []time.Duration{s.p50, s.p99, s.p999} {
			points = append(points, plots.Point{Value: float64(d) / float64(time.Millisecond)})
		}
		return points
	})
	return g
}

// fill makes a panel for each protocol and body.
func fill(g *plots.Grid, o *options, points func(protocol, body, string) []plots.Point) {
	for _, k := range kinds() {
		g.Series = append(g.Series, k.Name)
	}
	for _, p := range o.protocols {
		var row []plots.Panel
		for _, b := range o.bodies {
			panel := plots.Panel{Title: titles[p] + ", " + bodyTitles[b]}
			for _, client := range g.Series {
				panel.Points = append(panel.Points, points(p, b, client))
			}
			row = append(row, panel)
		}
		g.Panels = append(g.Panels, row)
	}
}

// find returns nil where a client has no such cell, as fasthttp has no HTTP/2.
func find(results []*result, c cell, client string) *result {
	for _, r := range results {
		if r.cell == c && r.client == client {
			return r
		}
	}
	return nil
}

// gapStrips shows what became of requests by the gap before them.
func gapStrips(r *raced) *plots.Strips {
	s := &plots.Strips{
		Title: "The idle race: what became of a request, by how long its connection had been idle",
		X:     fmt.Sprintf("idle time in relation to the server's keep-alive (%d ms)", r.keepAlive().Milliseconds()),
		Parts: []string{"failed", "answered on a new connection (else: on the idle one)"},
		From:  race.NearestGap, To: race.FarthestGap, Marked: 1,
	}
	for _, l := range r.lanes {
		failed := 0
		strip := plots.Strip{}
		for _, b := range r.gaps(l) {
			failed += b.failed
			n := float64(max(1, b.requests))
			strip.Bars = append(strip.Bars, []float64{float64(b.failed) / n, float64(b.opened) / n})
		}
		strip.Title = fmt.Sprintf("%s: %s of %s requests failed, %s connections", l.Client, thousands(failed), thousands(len(l.Calls)), thousands(l.Conns))
		s.Strips = append(s.Strips, strip)
	}
	return s
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
