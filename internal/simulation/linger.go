package simulation

import (
	"context"
	"time"
)

// lingers is how long a lingering context takes.
const lingers = time.Millisecond

// A lingering context is a program's own that takes its time when nobody watches it
// any more. The Transport stops to watch when a response has ended, on net/http's
// goroutine that reads the connection: it then stands there, as one does that the
// system has taken off the processor, between the moment at which the connection is
// free for another request and that at which it sees what else had come.
type lingering struct {
	context.Context
	never chan struct{}
}

func newLingering(ctx context.Context) context.Context {
	return lingering{ctx, make(chan struct{})} // of the bubble
}

// Done is never nil: contexts that never end need no watching.
func (l lingering) Done() <-chan struct{} {
	if done := l.Context.Done(); done != nil {
		return done
	}
	return l.never
}

// AfterFunc is what package context asks a context of another's making for.
func (l lingering) AfterFunc(f func()) func() bool {
	stop := context.AfterFunc(l.Context, f)
	return func() bool {
		defer time.Sleep(lingers)
		return stop()
	}
}
