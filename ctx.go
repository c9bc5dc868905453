package idlewise

import "context"

// Options of a single request travel in its context, all in one value, so
// that a request without any pays for one look-up.
type options struct {
	idempotency vouch
	noRetry     bool
	fresh       bool
	trace       *Trace
}

// A vouch is what the caller says about repeating a request.
type vouch int8

const (
	vouchNone vouch = iota
	vouchIdempotent
	vouchNotIdempotent
)

type optionsKey struct{}

func optionsOf(ctx context.Context) options {
	o, _ := ctx.Value(optionsKey{}).(*options)
	if o == nil {
		return options{}
	}
	return *o
}

func withOption(ctx context.Context, set func(*options)) context.Context {
	o := optionsOf(ctx)
	set(&o)
	return context.WithValue(ctx, optionsKey{}, &o)
}

// WithIdempotent vouches that the request may be executed twice without harm,
// whatever its method: it may be resent when its delivery is unknown.
func WithIdempotent(ctx context.Context) context.Context {
	return withOption(ctx, func(o *options) { o.idempotency = vouchIdempotent })
}

// WithNotIdempotent says that the request has effects that must not happen
// twice, even though its method or an Idempotency-Key says otherwise.
func WithNotIdempotent(ctx context.Context) context.Context {
	return withOption(ctx, func(o *options) { o.idempotency = vouchNotIdempotent })
}

// WithoutRetry lets at most one request go out on the wire. A request of which
// certainly no byte was written may still be sent on another connection.
func WithoutRetry(ctx context.Context) context.Context {
	return withOption(ctx, func(o *options) { o.noRetry = true })
}

// WithFreshConn lets the request use only a connection that is opened after
// the call.
func WithFreshConn(ctx context.Context) context.Context {
	return withOption(ctx, func(o *options) { o.fresh = true })
}
