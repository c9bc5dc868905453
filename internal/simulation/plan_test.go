package simulation

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheSameSeedMakesTheSamePlan(t *testing.T) {
	for seed := range uint64(500) {
		require.Equal(t, Draw(seed), Draw(seed))
	}
	require.NotEqual(t, Draw(1).Clients, Draw(2).Clients)
}

func TestAPlanSurvivesItsPrinting(t *testing.T) {
	for seed := range uint64(500) {
		p := Draw(seed)
		text, err := json.Marshal(p)
		require.NoError(t, err)
		var read Plan
		require.NoError(t, json.Unmarshal(text, &read))
		again, err := json.Marshal(read)
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(again))
	}
}

func TestAPlanThatFailsIsCutDownToWhatFails(t *testing.T) {
	p := Draw(3)
	p.Length = min(p.Length, 5*second)
	// What no server can do is a violation by itself.
	p.Actions = append(p.Actions, Action{At: second, Do: Warm, Count: 1}, Action{At: second, Do: Inject, Fault: "tls-cut"})
	p.Protocol, p.End = HTTP1, EndClose
	small, r := Shrink(t, p, "plan", 20*time.Second)
	require.Contains(t, r.String(), "tls-cut")
	require.Len(t, small.Actions, 1)
	require.Empty(t, small.Clients)
	require.Len(t, small.Servers, 1)
	require.Zero(t, small.Policy)
}

func TestASocketSeesARequestThatComesTooLate(t *testing.T) {
	now := time.Now()
	w := &world{plan: Plan{Protocol: HTTP1}}
	w.policies = []policyInForce{{Policy{ServerKeepAlive: 5 * second, MaxRequestsPerConn: 3, MaxConnAge: 20 * second}, now.Add(-time.Hour)}}
	fine := func() *socket {
		return &socket{server: &server{w: w}, dialed: now.Add(-10 * time.Second), heardAt: now.Add(-4 * time.Second), requests: 1}
	}
	require.Empty(t, fine().tooLate(now))
	for want, spoil := range map[string]func(*socket){
		"known to be closed":    func(s *socket) { s.endedAt = now.Add(-1) },
		"nobody had asked for":  func(s *socket) { s.unasked.at = now.Add(-1) },
		"it is the last one":    func(s *socket) { s.last = true },
		"limit 4.75s":           func(s *socket) { s.heardAt = now.Add(-4750 * time.Millisecond) },
		"as number 4":           func(s *socket) { s.requests = 3 },
		"limit 20s and a tenth": func(s *socket) { s.dialed = now.Add(-23 * time.Second) },
	} {
		s := fine()
		spoil(s)
		require.Contains(t, s.tooLate(now), want)
	}
}

func TestBytesOfTheInstantOfARequestMayHaveCrossedIt(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		u    unasked
		want bool
	}{
		{unasked{}, false},
		{unasked{at: now}, true},
		{unasked{at: now, along: true}, false}, // those were there before
		{unasked{at: now.Add(-1)}, false},
	} {
		u := c.u
		require.Equal(t, c.want, u.meet(now))
		require.Equal(t, c.want, u.crossed)
		require.Equal(t, !c.want && !c.u.at.IsZero(), u.known(now.Add(1)))
	}
}

func TestThePolicyOfAnInstantIsAnyThatWasInForceThen(t *testing.T) {
	now := time.Now()
	w := &world{}
	w.policies = []policyInForce{{Policy{MaxConns: 1}, now.Add(-2)}, {Policy{MaxConns: 2}, now.Add(-1)}, {Policy{MaxConns: 3}, now}}
	limits := func(since time.Time) (out []int) {
		for _, p := range w.inForce(since) {
			out = append(out, p.MaxConns)
		}
		return out
	}
	require.Equal(t, []int{2, 3}, limits(now), "the change may have come before or after")
	require.Equal(t, []int{1, 2, 3}, limits(now.Add(-1)))
}
