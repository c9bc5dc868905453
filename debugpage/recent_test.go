package debugpage

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func TestALostRequestIsListedOnceAndTheLatestComesFirst(t *testing.T) {
	info := idlewise.EventInfo{Time: time.Unix(1, 0), Upstream: "http://a.example:80"}
	failed := func(conn uint64, resent bool) idlewise.Attempt {
		return idlewise.Attempt{Number: 1, ConnID: conn, Reused: true, IdleAge: time.Second, Evidence: idlewise.Unknown, Err: errors.New("EOF"), Resent: resent}
	}
	rows := recentOf([]idlewise.Event{
		idlewise.AttemptFailed{EventInfo: info, Attempt: failed(2, false), Method: "DELETE"}, // another one's, on an HTTP/2 connection
		idlewise.AttemptFailed{EventInfo: info, Attempt: failed(1, true), Method: "GET", Stale: true},
		idlewise.AttemptFailed{EventInfo: info, Attempt: failed(2, false), Method: "POST", Stale: true},
		idlewise.RequestLost{EventInfo: info, Method: "POST", Attempts: []idlewise.Attempt{failed(2, false)}, Reason: "not repeated", Err: errors.New("idlewise: stale")},
		idlewise.AttemptFailed{EventInfo: info, Attempt: failed(3, false), Method: "PUT"},
	})
	require.Len(t, rows, 4)
	require.Equal(t, "DELETE", rows[3].Method)
	require.Equal(t, Recent{At: info.Time, Kind: "attempt_failed", Weight: "info", Upstream: info.Upstream, What: "connection failed, request not sent again",
		Method: "PUT", Evidence: "unknown", Reused: true, IdleAge: rows[0].IdleAge, Conn: 3, Error: "EOF"}, rows[0])
	require.Equal(t, time.Second, *rows[0].IdleAge)
	require.Equal(t, "lost", rows[1].Weight)
	require.Equal(t, "request lost: not repeated", rows[1].What)
	require.Equal(t, "EOF", rows[1].Error)
	require.Equal(t, "resent", rows[2].Weight)
	require.Equal(t, "met a connection that the server had closed; sent again", rows[2].What)
}

func TestWhatWasLearnedIsListed(t *testing.T) {
	info := idlewise.EventInfo{Upstream: "http://a.example:80"}
	rows := recentOf([]idlewise.Event{
		idlewise.DeadlineChanged{EventInfo: info, From: idlewise.Deadline{}, To: idlewise.Deadline{IdleLimit: 4750 * time.Millisecond, Source: idlewise.DeadlineLearned}},
		idlewise.CanaryEnded{EventInfo: info, Outcome: idlewise.CanaryClosed, IdleAge: 5 * time.Second},
		idlewise.CanaryEnded{EventInfo: info, Outcome: idlewise.CanaryOutlasted, IdleAge: 5 * time.Second},
		idlewise.CanaryEnded{EventInfo: info, Outcome: idlewise.CanaryGivenUp, IdleAge: 5 * time.Second},
		idlewise.BreakerChanged{EventInfo: info, From: "closed", To: "open"},
		idlewise.DialFailed{EventInfo: info, Err: errors.New("refused")},
	})
	var what []string
	for _, r := range rows {
		what = append(what, r.What)
	}
	require.Equal(t, "breaker: closed → open", what[1])
	require.Equal(t, "canary: given up after 5s", what[2])
	require.Equal(t, "canary: the server still kept it after 5s", what[3])
	require.Equal(t, "canary: the server closed it after 5s", what[4])
	require.Equal(t, "idle limit: none → 4.75s (learned)", what[5])
	require.Contains(t, what[0], "dial failed", "a kind that is yet unknown here is told in its own words")
}

func TestAnErrorsTextIsBounded(t *testing.T) {
	require.Equal(t, strings.Repeat("é", maxErrorText)+"…", errorText(errors.New(strings.Repeat("é", 5000))))
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 73611 * time.Nanosecond: "70µs", 3284 * time.Microsecond: "3.28ms", 494600 * time.Microsecond: "495ms",
		5031 * time.Millisecond: "5.03s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", time.Hour: "1h",
	} {
		require.Equal(t, want, short(d))
	}
}
