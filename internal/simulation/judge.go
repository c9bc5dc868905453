package simulation

import (
	"slices"
	"strings"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// repeatable reports whether the call may be executed twice, by the word of the
// program or of one of the policies.
func (c Call) repeatable(policies []Policy) bool {
	switch c.Option {
	case Idempotent:
		return true
	case NotIdempotent:
		return false
	}
	switch c.Method {
	case "GET", "HEAD", "PUT", "DELETE":
		return true
	}
	return c.Key || slices.ContainsFunc(policies, func(p Policy) bool { return p.Retry.NonIdempotent || p.Retry.AutoKey })
}

// A delivery is a call's request on one connection.
type delivery struct{ id, local string }

// judge compares what the callers were told with what the servers know, when
// everything is over.
func (w *world) judge() {
	executed := make(map[string]int)
	delivered := make(map[delivery]int)
	w.struck = make(map[string][]faultserver.Kind)
	w.lied = make(map[string]bool)
	for _, s := range w.servers {
		from := make(map[int64]string)
		for _, c := range s.Journal().Conns() {
			from[c.ID] = c.RemoteAddr
		}
		requests := s.Journal().Requests()
		for _, r := range requests {
			if disowns(r, requests) {
				w.lied[from[r.Conn]] = true
			}
		}
		for _, r := range requests {
			id := strings.TrimPrefix(r.Path, pathPrefix)
			executed[id] += r.Executed
			delivered[delivery{id, from[r.Conn]}] += r.Executed
			w.struck[id] = append(w.struck[id], r.Faults...)
			w.count(func(rep *Report) { rep.Executed += r.Executed })
		}
	}
	w.calls.Range(func(_, v any) bool {
		rec := v.(*callRecord)
		w.judgeCall(rec, executed[rec.id], delivered)
		return true
	})
	for _, b := range w.bodies.all {
		b.check(w)
	}
	w.judgeStorm()
	for _, s := range w.servers {
		w.judgeExtra(s, delivered)
	}
}

// disowns reports whether the GOAWAY that r set off said of streams that had begun
// later that they were not executed, although they were: faults name r, or the
// stream before it, as the last one, whatever else runs on the connection. A client
// that believes a server that lies is not to blame.
func disowns(r faultserver.RequestRecord, all []faultserver.RequestRecord) bool {
	if !slices.ContainsFunc(r.Faults, func(k faultserver.Kind) bool {
		return k == faultserver.GoAwayError || k == faultserver.GoAwayBelow || k == faultserver.GoAwayTwice
	}) {
		return false
	}
	return slices.ContainsFunc(all, func(other faultserver.RequestRecord) bool {
		return other.Conn == r.Conn && other.NthOnConn > r.NthOnConn && other.Executed > 0
	})
}

func (w *world) judgeCall(rec *callRecord, executed int, delivered map[delivery]int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	told := rec.attempts
	w.count(func(r *Report) {
		r.Attempts += len(told)
		for _, a := range told {
			if a.Resent {
				r.Resent++
			}
		}
	})
	for _, a := range told {
		if w.lied[a.Local.String()] {
			return
		}
	}
	if !rec.repeatable && executed > 1 && !(rec.call.Silent && len(w.lied) > 0) {
		w.violate("P1", "%s, a %s %s, was executed %d times; attempts %v; it brought %d, %v; faults %v", rec.id, rec.call.Method, rec.call.Option, executed, told, rec.status, rec.err, w.struck[rec.id])
	}
	if rec.answered && executed == 0 {
		w.violate("P1", "%s was answered, but never executed", rec.id)
	}
	if !rec.call.Silent {
		if rec.starts != len(told) {
			w.violate("P4", "%s: its Trace was told of %d attempts that began and %d that ended", rec.id, rec.starts, len(told))
		}
		w.judgeEvidence(rec, told, delivered)
		if rec.starts == 0 && executed > 0 {
			w.violate("P1", "%s was executed without an attempt: %v", rec.id, rec.err)
		}
	}
	if rec.call.Option == WithoutRetry && w.plan.Protocol == HTTP1 {
		if n := w.written(rec.id); n > 1 {
			w.violate("P1", "%s was written %d times in spite of WithoutRetry", rec.id, n)
		}
	}
}

// judgeEvidence compares what is said to be proven about each attempt with what its
// server did and its socket saw.
func (w *world) judgeEvidence(rec *callRecord, told []idlewise.Attempt, delivered map[delivery]int) {
	may, wrote := make(map[string]int), make(map[string]int)
	for _, a := range told {
		local := a.Local.String()
		switch a.Evidence {
		case idlewise.Unsent:
			may[local] += 0
		case idlewise.Undelivered, idlewise.Refused:
			may[local] += 0
			wrote[local]++
		default:
			may[local]++
			wrote[local]++
		}
	}
	for local, n := range may {
		if done := delivered[delivery{rec.id, local}]; done > n {
			w.violate("P1", "%s was executed %d times on the connection from %s, but its attempts say %d at most: %v; faults %v", rec.id, done, local, n, told, w.struck[rec.id])
		}
		if sock := w.socketAt(local); sock != nil && w.plan.Protocol == HTTP1 && sock.wrote[rec.id] > wrote[local] {
			w.violate("P1", "%s was written %d times on the connection from %s, but its attempts say %d: %v", rec.id, sock.wrote[rec.id], local, wrote[local], told)
		}
	}
}

// written is how often the call's request was begun to be written.
func (w *world) written(id string) int {
	n := 0
	w.sockets.Range(func(_, s any) bool {
		n += s.(*socket).wrote[id]
		return true
	})
	return n
}

// Promise P7: retries are a fifth of the requests, and ten a second. A request's
// first resend is free.
func (w *world) judgeStorm() {
	if w.plan.Limits.Upstreams > 0 {
		return // a record that is dropped takes its budget along
	}
	spent := time.Since(w.began)
	calls, extra := 0, 0
	w.calls.Range(func(_, v any) bool {
		rec := v.(*callRecord)
		calls++
		n := 0
		for _, a := range rec.attempts {
			if a.Evidence != idlewise.Refused { // on HTTP/2 the connection is well, and the request is known not to be processed
				n++
			}
		}
		extra += max(0, n-2)
		return true
	})
	allowed := calls/5 + 10*len(w.servers)*int(w.busy(spent)/time.Second+1)
	if extra > allowed {
		w.violate("P7", "%d calls were sent %d times beyond the first resend; allowed are %d", calls, extra, allowed)
	}
	if n := w.tr.Stats().Total.Retries; n > uint64(allowed) {
		w.violate("P7", "%d calls were retried %d times; allowed are %d", calls, n, allowed)
	}
	for _, s := range w.servers {
		w.judgeDials(s)
	}
}

// busy is for how long there was traffic.
func (w *world) busy(spent time.Duration) time.Duration {
	if w.plan.End == EndIdle {
		return spent
	}
	return w.plan.Length.std()
}

// judgeDials judges how a server's dials were paced.
func (w *world) judgeDials(s *server) {
	w.mu.Lock()
	p := w.policies[0].policy
	changed := len(w.policies) > 1
	w.mu.Unlock()
	slices.SortFunc(s.dials, func(a, b dialRecord) int { return a.at.Compare(b.at) })
	if p.DialRate > 0 && !changed {
		burst := float64(p.DialBurst)
		if burst == 0 {
			burst = max(1, p.DialRate)
		}
		// A dial that waits takes its turn, or a part of the next one's.
		for i := range s.dials {
			for j := i; j < len(s.dials); j++ {
				if n, most := float64(j-i+1), burst+1+p.DialRate*s.dials[j].at.Sub(s.dials[i].at).Seconds(); n > most+0.01 {
					w.violate("P7", "%v dials to server %d within %v, a rate of %v and a burst of %v permit %.2f", n, s.n, s.dials[j].at.Sub(s.dials[i].at), p.DialRate, burst, most)
					return
				}
			}
		}
	}
	// A caller that waits half a second for each dial on average makes two a second.
	for _, a := range w.plan.Actions {
		if a.Do != Stop || a.For < 8*second || w.server(a.Server) != s {
			continue
		}
		from, to := w.began.Add(a.At.std()+4*time.Second), w.began.Add(a.At.std()+a.For.std())
		n := 0
		for _, d := range s.dials {
			if d.failed && d.at.After(from) && d.at.Before(to) {
				n++
			}
		}
		if most := 20 + 4*len(w.plan.Clients)*int(to.Sub(from)/time.Second); n > most {
			w.violate("P7", "%d dials in %v to server %d, which refuses them, by %d callers; allowed are %d", n, to.Sub(from), s.n, len(w.plan.Clients), most)
		}
	}
}
