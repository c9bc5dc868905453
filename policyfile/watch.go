package policyfile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/idlewise/idlewise"
)

const (
	defaultInterval = time.Second

	// A file that changed must look the same twice, this long apart, before
	// anything is made of it: it may be half written, or about to be put back.
	settling = 100 * time.Millisecond
)

// A WatchOption changes how Watch goes about it.
type WatchOption func(*watcher)

// WithInterval sets how long it may take until a change is seen. The file is read
// once in that time. Default: 1 s.
func WithInterval(d time.Duration) WatchOption { return func(w *watcher) { w.interval = d } }

// WithLogger sets where policies that were taken over, or refused, are noted.
// Default: slog.Default().
func WithLogger(l *slog.Logger) WatchOption { return func(w *watcher) { w.log = l } }

// Watch loads the policies in the file at path, gives them to set, such as
// Transport.SetPolicies, and does so again whenever the file changes, until ctx
// ends. It does not block: it returns when set has returned for the first time,
// with the error if that, or the loading, failed. Then nothing is watched.
//
// From then on a file that is wrong, that set refuses, or that is gone changes
// nothing: the last good policies remain in force, and what is wrong is logged,
// once. set is called by one goroutine at a time, which ends with ctx; a call that
// is under way then is not waited for.
//
// The file is read at intervals, so that it does not matter how it is replaced: in
// place, by a rename as editors do, or by the symlinks of a Kubernetes ConfigMap.
// A change is taken over once the file has held still for a moment.
func Watch(ctx context.Context, path string, set func(idlewise.Policies) error, opts ...WatchOption) error {
	w := &watcher{path: path, set: set, interval: defaultInterval, log: slog.Default()}
	for _, opt := range opts {
		opt(w)
	}
	switch {
	case set == nil:
		return errors.New("policyfile: Watch: set is nil; give a function such as Transport.SetPolicies")
	case w.log == nil:
		return errors.New("policyfile: WithLogger: nil; leave it out, or give one that discards what it gets")
	case w.interval <= 0:
		return fmt.Errorf("policyfile: WithInterval: %v is not positive; give a time such as 1 s", w.interval)
	}
	first := w.look()
	if err := w.put(first); err != nil {
		return err
	}
	go w.run(ctx, first)
	return nil
}

type watcher struct {
	path     string
	set      func(idlewise.Policies) error
	interval time.Duration
	log      *slog.Logger
}

// A sight is what a look at the file showed.
type sight struct {
	sum  [sha256.Size]byte
	data []byte
	err  error // of the file system
}

func (w *watcher) look() sight {
	data, err := read(w.path)
	return sight{sum: sha256.Sum256(data), data: data, err: err}
}

// same reports whether nothing has changed. Errors are the same if they say the
// same.
func (s sight) same(t sight) bool {
	if s.err != nil || t.err != nil {
		return s.err != nil && t.err != nil && s.err.Error() == t.err.Error()
	}
	return s.sum == t.sum
}

// put puts what was seen in force.
func (w *watcher) put(s sight) error {
	if s.err != nil {
		return fmt.Errorf("policyfile: %w", s.err)
	}
	f := parse(s.data)
	if err := f.err(w.path); err != nil {
		return err
	}
	err := w.set(f.policies)
	if err == nil {
		return nil
	}
	// What only the Transport knows to be wrong has a place as well.
	if rest := f.place(err); rest != nil {
		return fmt.Errorf("policyfile: %s: %w", w.path, errors.Join(f.err(w.path), rest))
	}
	return f.err(w.path)
}

// run looks for changes. What it does about the file depends on two sights of it:
// the one in force, and the one that something was last made of, be it a
// complaint.
func (w *watcher) run(ctx context.Context, inForce sight) {
	acted := inForce
	for wait(ctx, w.interval) {
		now, ok := w.settled(ctx, acted)
		if !ok {
			return
		}
		if now.same(acted) {
			continue
		}
		acted = now
		if now.same(inForce) {
			w.log.LogAttrs(ctx, slog.LevelInfo, "policies are those in force again", slog.String("path", w.path))
			continue
		}
		if err := w.put(now); err != nil {
			w.log.LogAttrs(ctx, slog.LevelError, "policies not taken over, the last good ones remain in force", slog.String("path", w.path), slog.Any("error", err))
			continue
		}
		inForce = now
		w.log.LogAttrs(ctx, slog.LevelInfo, "policies taken over", slog.String("path", w.path))
	}
}

// settled looks at the file, and if it is not as last seen, goes on looking until
// it holds still. false: ctx ended.
func (w *watcher) settled(ctx context.Context, last sight) (sight, bool) {
	now := w.look()
	if now.same(last) {
		return now, true
	}
	for wait(ctx, min(settling, w.interval)) {
		again := w.look()
		if again.same(now) {
			return again, true
		}
		now = again
	}
	return now, false
}

// wait reports whether the time has passed, not ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
