package main

import (
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

// idleTimeout is the servers' own, announced to nobody.
const idleTimeout = 400 * time.Millisecond

// forged is a response that nobody has asked for.
const forged = "HTTP/1.1 200 OK\r\nX-Forged: yes\r\nContent-Length: 6\r\n\r\nforged"

// HTTP/2 error codes.
const (
	codeInternalError = 2
	codeRefusedStream = 7
)

// chaos is what befalls the servers, again and again: everything that can go wrong
// with a connection, now and then, and restarts of every kind.
func chaos(h2 bool, seed uint64) *faultserver.Scenario {
	const now, seldom = 0.01, 0.001
	sc := &faultserver.Scenario{
		Name:    "chaos",
		Server:  faultserver.ScenarioServer{IdleTimeout: idleTimeout, MaxConcurrentStreams: 20, Seed: seed},
		Forever: true,
		Faults: []faultserver.Fault{
			{Kind: faultserver.Delay, After: 1, Jitter: 10 * time.Millisecond, Probability: 0.2},
			{Kind: faultserver.FinAfterRequest, Probability: now},
			{Kind: faultserver.FinAfterRequest, Probability: now, Executed: true},
			{Kind: faultserver.RstAfterRequest, Probability: now},
			{Kind: faultserver.RstAfterRequest, Probability: now, Executed: true},
			{Kind: faultserver.SilentClose, Probability: now},
			{Kind: faultserver.CloseInRequestBody, Bytes: 1000, Probability: now},
			{Kind: faultserver.CloseInBody, Probability: now},
			{Kind: faultserver.CloseAfterRequests, Requests: 100},
			{Kind: faultserver.InterimResponses, Count: 1, Code: 103, Probability: now},
			{Kind: faultserver.NeverAnswer, Probability: seldom},
			{Kind: faultserver.StallInBody, Bytes: 20, Probability: seldom},
			{Kind: faultserver.IdleClose, After: 50 * time.Millisecond, Jitter: idleTimeout, Probability: 0.3},
		},
		Phases: []faultserver.ScenarioPhase{
			{Name: "restarted", Do: []string{"restart"}, Duration: 2100 * time.Millisecond},
			{Name: "killed", Do: []string{"kill"}, Duration: 1700 * time.Millisecond},
			{Name: "overloaded", Duration: 600 * time.Millisecond, Faults: []faultserver.Fault{
				{Kind: faultserver.Status, Code: 503, Probability: 0.5}}},
			{Name: "crashed", Do: []string{"crash"}, Duration: 300 * time.Millisecond},
			{Name: "back", Do: []string{"resume"}, Duration: 1900 * time.Millisecond},
			{Name: "paused", Do: []string{"pause"}, Duration: 250 * time.Millisecond},
			{Name: "resumed", Do: []string{"resume"}, Duration: 1300 * time.Millisecond},
		},
	}
	only := []faultserver.Fault{
		{Kind: faultserver.CloseOnReuse, Probability: now},
		{Kind: faultserver.AnnounceClose, Probability: now},
		{Kind: faultserver.CloseInHeaders, Probability: now},
		{Kind: faultserver.SurplusBytes, Value: forged, Probability: now},
		// Not a forged response: nobody can tell one that comes while a request is on its way.
		{Kind: faultserver.IdleBytes, Value: "x", After: 20 * time.Millisecond, Jitter: idleTimeout, Probability: 0.02},
	}
	if h2 {
		only = []faultserver.Fault{
			{Kind: faultserver.GoAway, Probability: now},
			{Kind: faultserver.GoAwayBelow, Probability: now},
			{Kind: faultserver.CloseWithoutGoAway, Probability: now},
			{Kind: faultserver.ResetStream, Code: codeRefusedStream, Probability: now},
			{Kind: faultserver.ResetStream, Code: codeInternalError, Probability: now},
			{Kind: faultserver.ResetStream, Code: codeInternalError, Executed: true, Probability: now},
		}
	}
	sc.Faults = append(sc.Faults, only...)
	return sc
}
