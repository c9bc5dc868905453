package simulation

import (
	"context"
	"fmt"
	"sync"
	"testing/synctest"
	"time"
)

const (
	// shutdownPatience is how long Shutdown may wait for requests.
	shutdownPatience = 2 * time.Second

	// defaultIdle is Policy.MaxIdleTime's default, and afterIdle what may come
	// after it: a canary's tolerance, the sweep, the last packets.
	defaultIdle = 90 * time.Second
	afterIdle   = 30 * time.Second
)

// end ends the Transport as the plan says, and afterwards everything else.
func (w *world) end(clients, others *sync.WaitGroup) {
	if w.plan.End == EndIdle {
		clients.Wait()
		close(w.stopping)
		others.Wait()
		w.idleOut()
	} else {
		time.Sleep(w.plan.Length.std())
		w.cutOff(clients)
		others.Wait()
	}
	synctest.Wait()
	for _, s := range w.servers {
		if n := s.conns.Load(); n != 0 {
			w.violate("P5", "%d connections to server %d are left open after %s", n, s.n, w.plan.End)
		}
	}
	for _, u := range w.tr.Stats().Upstreams {
		if u.Open != 0 || u.InFlight != 0 || u.Waiting != 0 {
			w.violate("P5", "after %s, %s still counts %d open connections, %d calls, %d waiting", w.plan.End, u.Name, u.Open, u.InFlight, u.Waiting)
		}
	}
	w.closeServers()
	time.Sleep(time.Second)
	synctest.Wait()
}

// idleOut waits until an unused Transport must have let go of everything.
func (w *world) idleOut() {
	limit := defaultIdle
	if p := w.plan.Policy.MaxIdleTime.std(); p > limit {
		limit = p
	}
	time.Sleep(limit + afterIdle)
	for _, s := range w.servers { // a policy that keeps connections ready may do so until then
		if s.conns.Load() > 0 && w.everReady() {
			time.Sleep(limit)
			break
		}
	}
}

// cutOff ends the Transport while calls are under way.
func (w *world) cutOff(clients *sync.WaitGroup) {
	now := time.Now()
	w.stopped.Store(&now)
	close(w.stopping)
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	if w.plan.End == EndShutdown {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownPatience)
		defer cancel()
		err := w.tr.Shutdown(ctx)
		if took := time.Since(now); took > shutdownPatience {
			w.violate("P4", "Shutdown took %v, its context ended after %v", took, shutdownPatience)
		}
		if err != nil && ctx.Err() == nil {
			w.violate("P4", "Shutdown failed before its context ended: %v", err)
		}
	} else {
		w.tr.Close()
	}
	closed := time.Now()
	<-done
	// Bodies that a program reads slowly are its own affair.
	if late := time.Since(closed); late > w.goodbye()+slowRead*slowReads {
		w.violate("P4", "calls went on for %v after %s", late, w.plan.End)
	}
	time.Sleep(w.goodbye())
	for i, c := range w.plan.Clients {
		if len(c.Calls) > 0 {
			w.callClosed(fmt.Sprintf("%d.z", i), c.Calls[0])
		}
	}
}

// goodbye is how long crypto/tls may take to end a connection.
func (w *world) goodbye() time.Duration {
	switch {
	case w.plan.Protocol.http2() && w.plan.Protocol.tls():
		return 5 * time.Second
	case w.plan.Protocol.tls():
		return 25 * time.Millisecond
	}
	return 0
}
