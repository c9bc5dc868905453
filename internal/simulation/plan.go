package simulation

import (
	"context"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/idlewise/idlewise"
)

// A Plan is everything that happens in a run, and when. It is plain data: it can
// be printed, cut down, and run again.
type Plan struct {
	Seed     uint64   `json:"seed"`
	Protocol Protocol `json:"protocol"`
	Network  Network  `json:"network"`
	Servers  []Server `json:"servers"`
	Limits   Limits   `json:"limits,omitzero"`
	Policy   Policy   `json:"policy,omitzero"` // at the start
	Clients  []Client `json:"clients"`
	Actions  []Action `json:"actions,omitempty"` // by time
	Length   Duration `json:"length"`            // after which the Transport is ended
	End      End      `json:"end"`
}

// A Protocol is what servers and Transport speak.
type Protocol string

const (
	HTTP1 Protocol = "http1"
	H2C   Protocol = "h2c"
	TLS   Protocol = "tls"  // HTTP/1 over TLS
	TLSH2 Protocol = "tls2" // HTTP/2 over TLS
)

func (p Protocol) http2() bool { return p == H2C || p == TLSH2 }
func (p Protocol) tls() bool   { return p == TLS || p == TLSH2 }

// An End is how the Transport ends.
type End string

const (
	EndClose    End = "close"    // by Close, whatever is under way
	EndShutdown End = "shutdown" // by Shutdown, likewise
	EndIdle     End = "idle"     // it is dropped, and its connections idle out
)

// A Network is the way to the servers.
type Network struct {
	Latency    Duration `json:"latency"` // one way
	Jitter     Duration `json:"jitter,omitzero"`
	Loss       float64  `json:"loss,omitzero"`
	DelayedAck Duration `json:"delayed_ack,omitzero"`
	Blind      bool     `json:"blind,omitzero"` // its connections do not tell what their kernel knows
}

// A Server is a fault server.
type Server struct {
	Personality string   `json:"personality,omitzero"`
	Idle        Duration `json:"idle,omitzero"`       // its idle timeout; zero: the personality's
	KeepAlive   string   `json:"keep_alive,omitzero"` // its Keep-Alive header
	Requests    int      `json:"requests,omitzero"`   // per connection; zero: the personality's
	Streams     uint32   `json:"streams,omitzero"`
	Faults      []string `json:"faults,omitempty"` // from the start, in faultserver's one-line form
}

// Limits are those of idlewise.Config.
type Limits struct {
	Upstreams   int   `json:"upstreams,omitzero"`
	Idle        int   `json:"idle,omitzero"`
	Canaries    int   `json:"canaries,omitzero"`
	ReplayBytes int64 `json:"replay_bytes,omitzero"`
}

// A Policy is the part of an idlewise.Policy that plans make use of.
type Policy struct {
	ServerKeepAlive    Duration `json:"server_keep_alive,omitzero"`
	MaxIdleTime        Duration `json:"max_idle_time,omitzero"`
	IdleMargin         Duration `json:"idle_margin,omitzero"`
	NoHint             bool     `json:"no_hint,omitzero"`
	NoLearning         bool     `json:"no_learning,omitzero"`
	NoEvidence         bool     `json:"no_evidence,omitzero"`
	ElicitHint         bool     `json:"elicit_hint,omitzero"`
	LivenessCheckAfter Duration `json:"liveness_check_after,omitzero"`
	UnackedTimeout     Duration `json:"unacked_timeout,omitzero"`
	BodyIdleTimeout    Duration `json:"body_idle_timeout,omitzero"`
	MaxConnAge         Duration `json:"max_conn_age,omitzero"`
	MaxRequestsPerConn int      `json:"max_requests_per_conn,omitzero"`
	MaxConns           int      `json:"max_conns,omitzero"`
	MaxIdleConns       int      `json:"max_idle_conns,omitzero"`
	MinIdleConns       int      `json:"min_idle_conns,omitzero"`
	DialRate           float64  `json:"dial_rate,omitzero"`
	DialBurst          int      `json:"dial_burst,omitzero"`
	Group              string   `json:"group,omitzero"`
	Retry              Retry    `json:"retry,omitzero"`
	Breaker            int      `json:"breaker,omitzero"` // opens after so many failures in a row
}

// A Retry is the part of an idlewise.Retry that plans make use of.
type Retry struct {
	Max           int      `json:"max,omitzero"`
	WaitMin       Duration `json:"wait_min,omitzero"`
	PerTry        Duration `json:"per_try,omitzero"`
	ReplayBody    int64    `json:"replay_body,omitzero"`
	AutoKey       bool     `json:"auto_key,omitzero"`
	Numbered      bool     `json:"numbered,omitzero"` // attempts have a header with their number
	NonIdempotent bool     `json:"non_idempotent,omitzero"`
	Eager         bool     `json:"eager,omitzero"` // CheckRetry says yes to everything
}

// policies returns p as it is given to a Transport.
func (p Policy) policies() idlewise.Policies {
	off := func(is bool) idlewise.Toggle {
		if is {
			return idlewise.Off
		}
		return idlewise.Inherit
	}
	on := func(is bool) idlewise.Toggle {
		if is {
			return idlewise.On
		}
		return idlewise.Inherit
	}
	out := idlewise.Policy{
		ServerKeepAlive: p.ServerKeepAlive.std(), MaxIdleTime: p.MaxIdleTime.std(), IdleMargin: p.IdleMargin.std(),
		Hint: off(p.NoHint), Learning: off(p.NoLearning), Evidence: off(p.NoEvidence),
		LivenessCheckAfter: p.LivenessCheckAfter.std(), UnackedTimeout: p.UnackedTimeout.std(),
		BodyIdleTimeout: p.BodyIdleTimeout.std(), MaxConnAge: p.MaxConnAge.std(),
		MaxRequestsPerConn: p.MaxRequestsPerConn, MaxConns: p.MaxConns, MaxIdleConns: p.MaxIdleConns, MinIdleConns: p.MinIdleConns,
		DialRate: p.DialRate, DialBurst: p.DialBurst, Group: p.Group,
		Retry: idlewise.Retry{
			Max: p.Retry.Max, WaitMin: p.Retry.WaitMin.std(), PerTryTimeout: p.Retry.PerTry.std(), MaxReplayBody: p.Retry.ReplayBody,
			AutoIdempotencyKey: on(p.Retry.AutoKey), NonIdempotent: on(p.Retry.NonIdempotent),
		},
	}
	out.ElicitHint = on(p.ElicitHint)
	if p.Retry.Numbered {
		out.Retry.AttemptHeader = "X-Attempt"
	}
	if p.Retry.Eager {
		out.Retry.CheckRetry = always
	}
	if n := p.Breaker; n > 0 {
		out.Breaker = &idlewise.Breaker{
			Settings: gobreaker.Settings{Timeout: time.Second, ReadyToTrip: func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= n }},
			Statuses: []int{503},
		}
	}
	return idlewise.Policies{Default: out}
}

// A Client sends its calls one after the other.
type Client struct {
	Start Duration `json:"start"`
	Calls []Call   `json:"calls"`
}

// A Call is one request, as a program makes it.
type Call struct {
	Gap     Duration `json:"gap,omitzero"` // since the last one's end
	Server  int      `json:"server,omitzero"`
	Method  string   `json:"method"`
	Body    BodyKind `json:"body,omitzero"`
	Size    int      `json:"size,omitzero"` // of the request's body
	Want    int      `json:"want,omitzero"` // bytes of the response's body, beside its first line
	Think   Duration `json:"think,omitzero"`
	Timeout Duration `json:"timeout,omitzero"` // the context's deadline
	Cancel  Duration `json:"cancel,omitzero"`  // when it is canceled
	Option  Option   `json:"option,omitzero"`
	Key     bool     `json:"key,omitzero"` // an Idempotency-Key
	Read    Reading  `json:"read,omitzero"`
	Silent  bool     `json:"silent,omitzero"` // without a Trace
	Linger  bool     `json:"linger,omitzero"` // its context takes its time to let go, as if the goroutine that asks it to were preempted
	Until   Duration `json:"until,omitzero"`  // it is repeated, with its gap, until then
}

// A BodyKind is how a request has its body.
type BodyKind string

const (
	NoBody      BodyKind = ""
	InMemory    BodyKind = "memory"        // as http.NewRequest makes it
	InMemoryBut BodyKind = "memory-but"    // without GetBody
	Replayable  BodyKind = "get-body"      // of a type of its own, with GetBody
	Stream      BodyKind = "stream"        // without
	Chunked     BodyKind = "chunked"       // without a length
	Slow        BodyKind = "slow"          // a stream that pauses
	SlowAgain   BodyKind = "slow-get-body" // likewise, with GetBody
	SlowChunked BodyKind = "slow-chunked"  // a slow stream without a length: with DELETE, net/http awaits its first byte before it writes anything
	Failing     BodyKind = "failing"       // a stream whose Read fails half-way
)

// An Option is what the request's context says.
type Option string

const (
	Idempotent    Option = "idempotent"
	NotIdempotent Option = "not-idempotent"
	WithoutRetry  Option = "without-retry"
	FreshConn     Option = "fresh-conn"
)

// A Reading is what becomes of the response's body.
type Reading string

const (
	ReadAll    Reading = ""
	ReadSlowly Reading = "slowly"
	ReadPart   Reading = "part"
	ReadNone   Reading = "none"
)

// An Action is something that happens to a server, the network or the Transport.
type Action struct {
	At     Duration `json:"at"`
	Do     Deed     `json:"do"`
	Server int      `json:"server,omitzero"`
	For    Duration `json:"for,omitzero"`   // until it is undone
	Fault  string   `json:"fault,omitzero"` // of Inject
	Count  int      `json:"count,omitzero"` // of Warm
	Policy *Policy  `json:"policy,omitempty"`
}

// A Deed is what an action does.
type Deed string

const (
	Restart     Deed = "restart"
	Kill        Deed = "kill"
	Crash       Deed = "crash" // and back after For
	Stop        Deed = "stop"  // likewise
	Pause       Deed = "pause" // likewise
	Inject      Deed = "inject"
	CutServer   Deed = "cut-server"
	Forget      Deed = "forget"
	SetLatency  Deed = "set-latency" // to For, one way
	SetPolicies Deed = "set-policies"
	CloseIdle   Deed = "close-idle"
	Warm        Deed = "warm"
)

// A Duration is a time.Duration that is text in JSON.
type Duration time.Duration

func (d Duration) std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return d.std().String() }

func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// always is a CheckRetry that wants everything to be retried.
func always(ctx context.Context, _ *http.Response, _ error) (bool, error) {
	return ctx.Err() == nil, nil
}
