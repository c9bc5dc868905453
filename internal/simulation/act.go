package simulation

import (
	"context"
	"time"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// act does one action of the plan, and undoes it.
func (w *world) act(n int, a Action) {
	if !w.sleep(a.At.std()) {
		return
	}
	s := w.server(a.Server)
	host := s.addr[:len(s.addr)-len(":80")]
	until := a.For.std()
	switch a.Do {
	case Restart:
		s.Restart()
	case Kill:
		s.Kill()
	case Crash:
		w.ought(n, a, s.Crash())
		w.sleep(until)
		w.ought(n, a, s.Resume())
	case Stop:
		ctx, cancel := context.WithTimeout(context.Background(), until)
		s.Stop(ctx)
		cancel()
		w.sleep(time.Until(w.began.Add(a.At.std() + until)))
		w.ought(n, a, s.Resume())
	case Pause:
		s.Pause()
		w.sleep(until)
		w.ought(n, a, s.Resume())
	case Inject:
		f, err := faultserver.ParseFault(a.Fault)
		w.ought(n, a, err)
		remove, err := s.InjectE(f)
		w.ought(n, a, err)
		w.sleep(until)
		remove()
	case CutServer:
		w.net.Cut(host, true)
		w.sleep(until)
		w.net.Cut(host, false)
	case Forget:
		w.net.Forget(host)
	case SetLatency:
		w.ought(n, a, w.net.SetLink("", "", memnet.Link{Latency: until}))
	case SetPolicies:
		w.setPolicies(n, a)
	case CloseIdle:
		w.tr.CloseIdleConnections()
	case Warm:
		ctx, cancel := context.WithTimeout(context.Background(), until+time.Millisecond)
		w.running.Add(1)
		w.noteUse(s, 1)
		w.tr.Warm(ctx, s.URL, a.Count)
		s.calls.Add(-1)
		w.running.Add(-1)
		cancel()
	}
}

func (w *world) setPolicies(n int, a Action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policies = append(w.policies, policyInForce{*a.Policy, time.Now()})
	w.ought(n, a, w.tr.SetPolicies(a.Policy.policies()))
}

// ought says that an action could not be done: then the plan proves less than it
// seems to.
func (w *world) ought(n int, a Action, err error) {
	if err != nil {
		w.violate("plan", "action %d, %s: %v", n, a.Do, err)
	}
}
