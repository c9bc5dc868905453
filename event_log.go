package idlewise

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// Of each kind of event and level so many are logged at once and per second: a
// mass close is worth a few lines, not thousands. How many were left out stands
// in the next line of the kind.
const (
	logBurst = 20
	logRate  = 10 // a second
	// Who asks for debugging wants to see more.
	debugFactor = 10
)

// An eventLog writes events to a slog.Logger. One goroutine at a time uses it.
type eventLog struct {
	logger *slog.Logger
	kinds  map[logKind]*logPace
}

type logKind struct {
	kind  string
	level slog.Level
}

type logPace struct {
	limiter    *rate.Limiter
	suppressed int
}

func (l *eventLog) write(e Event) {
	level := e.level()
	ctx := context.Background()
	if !l.logger.Enabled(ctx, level) {
		return
	}
	key := logKind{e.Kind(), level}
	pace := l.kinds[key]
	if pace == nil {
		factor := 1
		if level < slog.LevelInfo {
			factor = debugFactor
		}
		pace = &logPace{limiter: rate.NewLimiter(rate.Limit(logRate*factor), logBurst*factor)}
		l.kinds[key] = pace
	}
	if !pace.limiter.AllowN(e.When(), 1) {
		pace.suppressed++
		return
	}
	r := slog.NewRecord(e.When(), level, "idlewise: "+eventTitle(e), 0)
	r.AddAttrs(e.attrs()...)
	if pace.suppressed > 0 {
		r.AddAttrs(slog.Int("suppressed", pace.suppressed))
		pace.suppressed = 0
	}
	l.logger.Handler().Handle(ctx, r)
}

func eventTitle(e Event) string {
	switch e := e.(type) {
	case AttemptFailed:
		if e.Resent {
			return "connection failed, request sent again"
		}
		return "connection failed under a request"
	case RequestLost:
		return "request lost"
	case ConnectionOpened:
		return "connection opened"
	case ConnectionClosed:
		return "connection closed"
	case DialFailed:
		return "dial failed"
	case DeadlineChanged:
		return "idle deadline changed"
	case CanaryEnded:
		return "canary ended"
	case ProbeEnded:
		return "probe ended"
	case UpgradeEnded:
		return "upgraded connection ended"
	case BreakerChanged:
		return "circuit breaker changed"
	}
	return e.Kind()
}

// The levels: Warn is for what the program lost, Info for what an operator may
// want to know of, Debug for the rest.

func (ConnectionOpened) level() slog.Level { return slog.LevelDebug }
func (RequestLost) level() slog.Level      { return slog.LevelWarn }
func (DeadlineChanged) level() slog.Level  { return slog.LevelInfo }
func (CanaryEnded) level() slog.Level      { return slog.LevelDebug }
func (UpgradeEnded) level() slog.Level     { return slog.LevelDebug }

func (e BreakerChanged) level() slog.Level {
	if e.To == gobreaker.StateOpen.String() {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (e DialFailed) level() slog.Level {
	if errors.Is(e.Err, context.Canceled) {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (e ProbeEnded) level() slog.Level {
	if e.Problem != "" {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (e ConnectionClosed) level() slog.Level {
	switch e.Reason {
	case ClosedVanished, ClosedPingTimeout, ClosedUnexpectedData:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// level of an attempt that was not repeated is low, since RequestLost follows.
func (e AttemptFailed) level() slog.Level {
	if e.Resent {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (e ConnectionOpened) LogValue() slog.Value { return slog.GroupValue(e.attrs()...) }
func (e DialFailed) LogValue() slog.Value       { return slog.GroupValue(e.attrs()...) }
func (e ConnectionClosed) LogValue() slog.Value { return slog.GroupValue(e.attrs()...) }
func (e AttemptFailed) LogValue() slog.Value    { return slog.GroupValue(e.attrs()...) }
func (e RequestLost) LogValue() slog.Value      { return slog.GroupValue(e.attrs()...) }
func (e DeadlineChanged) LogValue() slog.Value  { return slog.GroupValue(e.attrs()...) }
func (e CanaryEnded) LogValue() slog.Value      { return slog.GroupValue(e.attrs()...) }
func (e ProbeEnded) LogValue() slog.Value       { return slog.GroupValue(e.attrs()...) }
func (e UpgradeEnded) LogValue() slog.Value     { return slog.GroupValue(e.attrs()...) }
func (e BreakerChanged) LogValue() slog.Value   { return slog.GroupValue(e.attrs()...) }

func (i EventInfo) attr() slog.Attr { return slog.String("upstream", i.Upstream) }

func connAttrs(id uint64, local, remote net.Addr) []slog.Attr {
	all := []slog.Attr{slog.Uint64("conn", id)}
	if local != nil {
		all = append(all, slog.String("local", local.String()))
	}
	if remote != nil {
		all = append(all, slog.String("remote", remote.String()))
	}
	return all
}

func (c Conn) attrs() []slog.Attr { return connAttrs(c.ID, c.Local, c.Remote) }

// errAttr leaves out what is nil.
func errAttr(all []slog.Attr, err error) []slog.Attr {
	if err == nil {
		return all
	}
	return append(all, slog.String("error", err.Error()))
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

func (e ConnectionOpened) attrs() []slog.Attr {
	all := append([]slog.Attr{e.attr()}, e.Conn.attrs()...)
	return append(all, slog.String("proto", e.Proto), slog.Duration("took", rounded(e.Took)))
}

func (e DialFailed) attrs() []slog.Attr {
	return errAttr([]slog.Attr{e.attr(), slog.Duration("took", rounded(e.Took))}, e.Err)
}

func (e ConnectionClosed) attrs() []slog.Attr {
	all := append([]slog.Attr{e.attr()}, e.Conn.attrs()...)
	all = append(all, slog.String("reason", e.Reason.String()), slog.Duration("age", rounded(e.Age)), slog.Int("requests", e.Requests))
	if e.Idle {
		all = append(all, slog.Duration("idle", rounded(e.IdleAge)))
	}
	return all
}

func (e AttemptFailed) attrs() []slog.Attr {
	all := append([]slog.Attr{e.attr(), slog.String("method", e.Method)}, connAttrs(e.ConnID, e.Local, e.Remote)...)
	all = append(all, slog.Int("attempt", e.Number), slog.String("evidence", e.Evidence.String()), slog.Bool("resent", e.Resent), slog.Bool("stale", e.Stale))
	if e.Reused || e.IdleAge > 0 {
		all = append(all, slog.Duration("idle", rounded(e.IdleAge)))
	}
	return errAttr(all, e.Err)
}

// attrs has the connection of the last attempt, to be found in the server's
// log, and the others in words.
func (e RequestLost) attrs() []slog.Attr {
	all := []slog.Attr{e.attr(), slog.String("method", e.Method), slog.Bool("idempotent", e.Idempotent)}
	if n := len(e.Attempts); n > 0 {
		last := e.Attempts[n-1]
		all = append(all, connAttrs(last.ConnID, last.Local, last.Remote)...)
		all = append(all, slog.String("evidence", last.Evidence.String()))
		for _, a := range e.Attempts[:n-1] {
			all = append(all, slog.String("before", a.String()))
		}
	}
	if e.Reason != "" {
		all = append(all, slog.String("reason", e.Reason))
	}
	return errAttr(all, e.Err)
}

func (d Deadline) attr(key string) slog.Attr {
	all := []any{slog.String("source", d.Source.String())}
	if d.Source != DeadlineNone {
		all = append(all, slog.Duration("idle_limit", d.IdleLimit))
	}
	if d.ServerKeepAlive > 0 {
		all = append(all, slog.Duration("server_keep_alive", d.ServerKeepAlive))
	}
	return slog.Group(key, all...)
}

func (e DeadlineChanged) attrs() []slog.Attr {
	return []slog.Attr{e.attr(), e.From.attr("from"), e.To.attr("to")}
}

func (e CanaryEnded) attrs() []slog.Attr {
	all := append([]slog.Attr{e.attr()}, e.Conn.attrs()...)
	return append(all, slog.String("outcome", string(e.Outcome)), slog.Duration("idle", rounded(e.IdleAge)))
}

func (e ProbeEnded) attrs() []slog.Attr {
	all := []slog.Attr{e.attr(), slog.Duration("took", rounded(e.Took))}
	if e.Problem != "" {
		all = append(all, slog.String("problem", e.Problem))
	}
	return all
}

func (e UpgradeEnded) attrs() []slog.Attr {
	all := append([]slog.Attr{e.attr()}, connAttrs(e.ConnID, e.Local, e.Remote)...)
	return append(all, slog.String("by", e.By.String()), slog.Duration("age", rounded(e.Age)), slog.Duration("upgraded", rounded(e.Upgraded)))
}

func (e BreakerChanged) attrs() []slog.Attr {
	return []slog.Attr{e.attr(), slog.String("from", e.From), slog.String("to", e.To)}
}
