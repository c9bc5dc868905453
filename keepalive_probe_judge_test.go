package idlewise

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// endedAt makes a connection that fell idle and ended at these seconds.
func endedAt(idle, ended float64, end ProbeEnd) ProbeConn {
	s := func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
	return ProbeConn{Ended: s(ended), Age: s(ended - idle), End: end}
}

func TestAMassCloseIsToldFromATimeout(t *testing.T) {
	const fin, open = ProbeEndFIN, ProbeEndOpen
	for name, c := range map[string]struct {
		conns []ProbeConn
		mass  int
	}{
		"a timeout":                       {[]ProbeConn{endedAt(0, 5, fin), endedAt(.5, 5.5, fin), endedAt(1.5, 6.5, fin)}, 0},
		"a restart":                       {[]ProbeConn{endedAt(0, 5, fin), endedAt(.5, 5.01, fin), endedAt(1.5, 5.02, fin)}, 3},
		"begun together":                  {[]ProbeConn{endedAt(0, 5, fin), endedAt(0.01, 5.01, fin)}, 0},
		"a server that looks each second": {[]ProbeConn{endedAt(0.2, 3, fin), endedAt(.7, 3, fin), endedAt(1.7, 4, fin)}, 0},
		"it looks, one spared by little":  {[]ProbeConn{endedAt(0.2, 3, fin), endedAt(.7, 3, fin), endedAt(1.05, 4, fin)}, 0},
		"one of two servers":              {[]ProbeConn{endedAt(0, 12, fin), endedAt(.5, 12, fin), endedAt(1.5, 61.5, fin)}, 2},
		"one of two, the other kept":      {[]ProbeConn{endedAt(0, 12, fin), endedAt(.5, 12, fin), endedAt(1.5, 120, open)}, 2},
		"a restart after a timeout":       {[]ProbeConn{endedAt(0, 5, fin), endedAt(.5, 5.2, fin), endedAt(1.5, 5.2, fin)}, 2},
		"two restarts":                    {[]ProbeConn{endedAt(0, 3, fin), endedAt(1, 3, fin), endedAt(4, 7, fin), endedAt(5, 7, fin)}, 4},
		"still open":                      {[]ProbeConn{endedAt(0, 120, open), endedAt(.5, 120, open)}, 0},
		"one alone":                       {[]ProbeConn{endedAt(0, 5, fin)}, 0},
		"none":                            {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.mass > 0, markMassCloses(c.conns))
			n := 0
			for _, conn := range c.conns {
				if conn.MassClose {
					n++
				}
			}
			require.Equal(t, c.mass, n)
		})
	}
}

func TestTheSuggestedTimeoutIsTheLowerEdgeOfWhatWasMeasured(t *testing.T) {
	for _, c := range []struct {
		lower, upper time.Duration
		n            int
		want         time.Duration
	}{
		{5003 * time.Millisecond, 5004 * time.Millisecond, 3, 5 * time.Second},
		{6031 * time.Millisecond, 6034 * time.Millisecond, 3, 6030 * time.Millisecond},
		{604321 * time.Millisecond, 604500 * time.Millisecond, 3, 604 * time.Second},
		{50123 * time.Microsecond, 51 * time.Millisecond, 3, 50100 * time.Microsecond},
		{1999600 * time.Microsecond, 2 * time.Second, 3, 2 * time.Second},
		{1990 * time.Millisecond, 2 * time.Second, 3, 1990 * time.Millisecond},
		{10 * time.Second, 13 * time.Second, 3, 7 * time.Second},
		{5 * time.Second, 60 * time.Second, 2, 2500 * time.Millisecond},
		{5 * time.Second, 5 * time.Second, 1, 5 * time.Second},
		{6 * time.Millisecond, 6 * time.Millisecond, 1, 6 * time.Millisecond},
	} {
		r := ProbeReport{Finding: ProbeTimeout, Lower: c.lower, Upper: c.upper, Measured: c.n}
		p := r.SuggestedPolicy()
		require.Equal(t, c.want, p.ServerKeepAlive)
		_, err := New(Config{Policies: Policies{Default: p}})
		require.NoError(t, err)
	}

	promised := ProbeReport{Finding: ProbeTimeout, Lower: 10 * time.Second, Upper: 13 * time.Second, Measured: 3, Announced: 9 * time.Second}
	require.Equal(t, 9*time.Second, promised.SuggestedPolicy().ServerKeepAlive, "a promise that was kept")
	promised.Announced = 20 * time.Second
	require.Equal(t, 10*time.Second, promised.SuggestedPolicy().ServerKeepAlive, "no longer than what was seen")
}

func TestAnEndWhileTheMachineSleptIsNotMeasured(t *testing.T) {
	asleep := endedAt(0, 3600, ProbeEndFIN)
	asleep.Suspended = true
	r := ProbeReport{Conns: []ProbeConn{asleep, endedAt(.5, 5.5, ProbeEndFIN)}}
	r.conclude()
	require.Equal(t, ProbeTimeout, r.Finding)
	require.Equal(t, 5*time.Second, r.Upper)
	require.Equal(t, 1, r.Measured)
}

func TestAProbesReportSurvivesJSONAndCanBeRead(t *testing.T) {
	r := ProbeReport{
		URL: "http://a/", Began: time.Now().UTC().Truncate(0), Took: 7 * time.Second, Announced: 5 * time.Second,
		Conns:    []ProbeConn{endedAt(0, 6.03, ProbeEndCloseNotify), endedAt(.5, 6.53, ProbeEndCloseNotify)},
		Requests: &ProbeRequests{Limit: 100, Answered: 100, End: ProbeEndGoAway, Took: time.Second},
		Reuse:    &ProbeReuse{Tries: []ProbeTry{{Idle: time.Second, Answered: true}, {Idle: 2 * time.Second, End: ProbeEndSilent}}},
	}
	r.conclude()
	text, err := json.Marshal(r)
	require.NoError(t, err)
	for _, want := range []string{
		`"finding":"timeout"`, `"end":"close_notify"`, `"lower_ns":6030000000`, `"lower":"6.03s"`, `"took":"7s"`,
		`"age":"6.03s"`, `"idle":"2s"`, `"limit":100`,
	} {
		require.Contains(t, string(text), want)
	}
	var back ProbeReport
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, r, back)

	require.ErrorContains(t, json.Unmarshal([]byte(`{"end":"sudden"}`), &back), `"sudden" is no ProbeEnd`)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"finding":"gold"}`), &back), `"gold" is no ProbeFinding`)
}

func TestEveryEndAndFindingHasAName(t *testing.T) {
	require.Len(t, probeEndNames, int(ProbeEndUnreachable)+1)
	require.Len(t, probeFindingNames, int(ProbeUnreachable)+1)
	require.Equal(t, "ProbeEnd(200)", ProbeEnd(200).String())
}
