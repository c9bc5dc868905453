package debugpage

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

func knowledge(d time.Duration, confidence string) *idlewise.UpstreamKnowledge {
	return &idlewise.UpstreamKnowledge{Deadline: d, Confidence: confidence, Timeouts: []idlewise.Timeout{{Lower: d, Upper: d, Closes: 7}}}
}

func TestWhatIsWrongComesWithARemedy(t *testing.T) {
	type hour = map[idlewise.CloseReason]uint64
	type byEvidence = map[idlewise.Evidence]uint64
	for _, c := range []struct {
		says string
		us   idlewise.UpstreamStats
		e    idlewise.Explanation
		want []string // kinds, in order
		text string
		yaml string
	}{
		{says: "nothing"},
		{says: "a configured deadline that holds", e: idlewise.Explanation{Source: idlewise.DeadlineConfigured, IdleLimit: 4 * time.Second,
			Policy: idlewise.Policy{ServerKeepAlive: 5 * time.Second}, Learned: knowledge(5030*time.Millisecond, "confirmed")}},
		{says: "a learned deadline", want: []string{"learned"}, text: "idle for 5.03s (seen 7 times). Raise its keep-alive timeout above 1m30s", yaml: "server_keep_alive: 5s",
			e: idlewise.Explanation{Source: idlewise.DeadlineLearned, IdleLimit: 4780 * time.Millisecond, Policy: idlewise.Policy{MaxIdleTime: 90 * time.Second}, Learned: knowledge(5030*time.Millisecond, "confirmed")}},
		{says: "a configured deadline that is too long", want: []string{"configured_too_long"}, text: "server_keep_alive says 1m, but", yaml: "server_keep_alive: 5s",
			e: idlewise.Explanation{Source: idlewise.DeadlineConfigured, IdleLimit: time.Minute, Policy: idlewise.Policy{ServerKeepAlive: time.Minute}, Learned: knowledge(5030*time.Millisecond, "confirmed")}},
		{says: "a configured deadline that is too short", want: []string{"configured_too_short"}, yaml: "server_keep_alive: 1m",
			e: idlewise.Explanation{Source: idlewise.DeadlineConfigured, IdleLimit: time.Minute, Policy: idlewise.Policy{ServerKeepAlive: 5 * time.Second}, Learned: knowledge(time.Minute, "confirmed")}},
		{says: "a provisional deadline", want: []string{"provisional"}, e: idlewise.Explanation{Source: idlewise.DeadlineProvisional, ServerKeepAlive: 5 * time.Second, IdleLimit: time.Second}},
		{says: "closes at no common age", want: []string{"no_common_age"}, e: idlewise.Explanation{Learned: knowledge(0, "none")},
			us: idlewise.UpstreamStats{Counters: idlewise.Counters{IdleAtServerClose: idlewise.Histogram{Counts: []uint64{6, 6}}}}},
		{says: "no time left", want: []string{"no_time_left"}, e: idlewise.Explanation{Source: idlewise.DeadlineHint, ServerKeepAlive: 10 * time.Millisecond, Margin: 10 * time.Millisecond}},
		{says: "unknown deliveries of what may not be repeated", want: []string{"unknown_delivery"}, text: "3 requests", yaml: "retry: {auto_idempotency_key: on}",
			us: idlewise.UpstreamStats{Counters: idlewise.Counters{StaleOther: 3, Failed: byEvidence{idlewise.Unknown: 5}, Resent: byEvidence{idlewise.Unknown: 1}, Lost: byEvidence{idlewise.Unknown: 3}}}},
		{says: "unknown deliveries that a policy's retry made good", want: nil,
			us: idlewise.UpstreamStats{Counters: idlewise.Counters{StaleOther: 3, Failed: byEvidence{idlewise.Unknown: 5}}}},
		{says: "an open breaker, before lesser things", want: []string{"breaker_open", "learned"}, yaml: "",
			us: idlewise.UpstreamStats{Breaker: "open"}, e: idlewise.Explanation{Source: idlewise.DeadlineLearned, IdleLimit: time.Second, Learned: knowledge(5*time.Second, "confirmed")}},
		{says: "a half-open breaker", want: []string{"breaker_half_open"}, us: idlewise.UpstreamStats{Breaker: "half-open"}},
		{says: "dials that fail", want: []string{"dials_fail"}, us: idlewise.UpstreamStats{Counters: idlewise.Counters{DialErrors: 4}}},
		{says: "an empty budget", want: []string{"budget_empty"}, us: idlewise.UpstreamStats{Counters: idlewise.Counters{BudgetEmpty: 1}}},
		{says: "vanished peers", want: []string{"vanished"}, text: "3 connections", e: idlewise.Explanation{ClosedLastHour: hour{idlewise.ClosedVanished: 1, idlewise.ClosedPingTimeout: 2}}},
		{says: "unexpected data", want: []string{"unexpected_data"}, e: idlewise.Explanation{ClosedLastHour: hour{idlewise.ClosedUnexpectedData: 1}}},
		{says: "bodies not read", want: []string{"body_unread"}, e: idlewise.Explanation{ClosedLastHour: hour{idlewise.ClosedBodyUnread: 10}}},
		{says: "few bodies not read", e: idlewise.Explanation{ClosedLastHour: hour{idlewise.ClosedBodyUnread: 10, idlewise.ClosedMaxAge: 91}}},
		{says: "a full pool", want: []string{"pool_full"}, yaml: "max_idle_conns: 40", e: idlewise.Explanation{Policy: idlewise.Policy{MaxIdleConns: 20}, ClosedLastHour: hour{idlewise.ClosedPoolFull: 10}}},
		{says: "connections that are not kept", want: []string{"not_kept"}, e: idlewise.Explanation{ClosedLastHour: hour{idlewise.ClosedConnectionClose: 10}}},
		{says: "requests that wait, beside a connection that does not count", us: idlewise.UpstreamStats{Waiting: 2, Open: 2, Draining: 1}, e: idlewise.Explanation{Policy: idlewise.Policy{MaxConns: 2}}},
		{says: "requests that wait", want: []string{"max_conns"}, yaml: "max_conns: 4", us: idlewise.UpstreamStats{Waiting: 2, Open: 2}, e: idlewise.Explanation{Policy: idlewise.Policy{MaxConns: 2}}},
	} {
		t.Run(c.says, func(t *testing.T) {
			c.us.Name = "https://api.example.com:443"
			var kinds []string
			advice := advise(&c.us, &c.e)
			for _, a := range advice {
				kinds = append(kinds, a.Kind)
				require.Contains(t, []string{"problem", "advice", "note"}, a.Level)
				if a.YAML != "" {
					_, pattern := readBack(t, a.YAML, "https://api.example.com/")
					require.Equal(t, "https://api.example.com:443", pattern)
				}
			}
			require.Equal(t, c.want, kinds)
			if len(advice) > 0 {
				require.Contains(t, advice[0].Text, c.text)
				require.Contains(t, advice[0].YAML, c.yaml)
				require.Equal(t, c.yaml == "", advice[0].YAML == "")
			}
		})
	}
}

func TestADeadlineIsWrittenDownAsItWasProbablyConfigured(t *testing.T) {
	for measured, want := range map[time.Duration]time.Duration{
		5031 * time.Millisecond:  5 * time.Second,
		6030 * time.Millisecond:  6 * time.Second,
		75400 * time.Millisecond: 75 * time.Second,
		14990 * time.Millisecond: 15 * time.Second,
		5512 * time.Millisecond:  5510 * time.Millisecond,
		4900 * time.Millisecond:  4900 * time.Millisecond,
		494 * time.Millisecond:   494 * time.Millisecond,
		1500 * time.Microsecond:  time.Millisecond,
	} {
		require.Equal(t, want, plausible(measured), measured)
	}
}

func TestALearnedDeadlineIsShownWithItsCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetworkWith(t, faultserver.Config{IdleTimeout: 5 * time.Second})
		transport := newTransport(t, idlewise.Config{Base: network.base()})
		for range 3 {
			network.get(transport, "a.example", 1)
			time.Sleep(10 * time.Second)
		}
		network.get(transport, "a.example", 1)
		u := Take(transport).Upstreams[0]
		require.Equal(t, "confirmed", u.Confidence)
		require.GreaterOrEqual(t, u.Closes, 2)
		require.NotEmpty(t, u.Detail.Ages.Closes)
		require.Equal(t, "learned", u.Advice[0].Kind)
		require.Contains(t, u.Advice[0].YAML, "server_keep_alive: 5s")

		var what []string
		for _, r := range Take(transport).Recent {
			what = append(what, r.What)
		}
		require.Contains(t, what, fmt.Sprintf("idle limit: %s (provisional) → %s (learned)", short(u.IdleLimit), short(u.IdleLimit)))
		transport.Close()
		network.server.Close()
		time.Sleep(time.Second)
		synctest.Wait()
	})
}
