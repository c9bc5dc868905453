package simulation

import (
	"fmt"
	"time"
)

// A policyInForce is a policy from when SetPolicies was called on.
type policyInForce struct {
	policy Policy
	from   time.Time
}

// inForce returns the policies that were in force at any time from since until
// now. Of a change at an instant nobody can say whether another thing of that
// instant came before.
func (w *world) inForce(since time.Time) []Policy {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Policy
	for i, p := range w.policies {
		if i+1 < len(w.policies) && w.policies[i+1].from.Before(since) {
			continue
		}
		out = append(out, p.policy)
	}
	return out
}

// tooLate says why a request must not be written on the connection now, or "".
// What no policy of this instant would permit is wrong.
func (s *socket) tooLate(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.endedAt.IsZero() && s.endedAt.Before(now) {
		return fmt.Sprintf("%v after it was known to be closed", now.Sub(s.endedAt))
	}
	if s.unasked.known(now) {
		return fmt.Sprintf("%v after bytes had come that nobody had asked for", now.Sub(s.unasked.at))
	}
	if s.requests == 0 {
		return "" // what was dialed for a request serves it
	}
	if s.last {
		return "although a response had said that it is the last one"
	}
	why := ""
	for _, p := range s.server.w.inForce(now) {
		if why = s.breaksLocked(p, now); why == "" {
			return ""
		}
	}
	return why
}

func (s *socket) breaksLocked(p Policy, now time.Time) string {
	if limit := p.idleLimit(s.hint); limit > 0 {
		if idle := now.Sub(s.heardAt); idle >= limit {
			return fmt.Sprintf("when it had been idle for %v, limit %v", idle, limit)
		}
	}
	age := p.MaxConnAge.std()
	if age == 0 {
		age = 10 * time.Minute
	}
	if old := now.Sub(s.dialed); age > 0 && old > age+age/10 {
		return fmt.Sprintf("when it was %v old, limit %v and a tenth", old, age)
	}
	if n := p.MaxRequestsPerConn; n > 0 && s.requests >= n {
		return fmt.Sprintf("as number %d, limit %d", s.requests+1, n)
	}
	return ""
}

// idleLimit is the idle age from which on p permits no request at all, as far as
// that can be said without knowing what was learned; 0: none.
func (p *Policy) idleLimit(hint time.Duration) time.Duration {
	limit := p.MaxIdleTime.std()
	if limit == 0 {
		limit = defaultIdle
	}
	t := p.ServerKeepAlive.std()
	if t == 0 && p.NoLearning && !p.NoHint {
		t = hint
	}
	if t > 0 {
		margin := p.IdleMargin.std()
		switch {
		case margin == 0:
			margin = lowMargin(Duration(t)).std()
		case margin < 0:
			margin = 0
		}
		limit = min(limit, max(t-margin, 1))
	}
	return limit
}
