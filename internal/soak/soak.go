package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
)

// policiesEvery is how often the policies change.
const policiesEvery = 2 * time.Second

// soak runs it all and reports what was wrong.
func soak(ctx context.Context, o options, out io.Writer) (err error) {
	all, err := startServers(ctx, o.seed)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := all.stop(); err == nil && stopped != nil {
			err = fmt.Errorf("the servers: %w", stopped)
		}
	}()
	before := goleak.IgnoreCurrent()
	files := openFiles()
	client, err := newClient(all.all)
	if err != nil {
		return err
	}
	t := &traffic{client: client}
	samples, sums, err := t.run(ctx, o, all, out)
	if err != nil {
		client.close()
		return err
	}
	t.summarize(sums, out)
	if err := client.close(); err != nil {
		t.wrong("Close: %v", err)
	}
	t.checkLeft(before, files)
	for _, text := range sums.Twice {
		t.wrong("%s", text)
	}
	fmt.Fprintln(out)
	for _, m := range measures {
		text, flat := m.flat(samples)
		fmt.Fprintln(out, text)
		if !flat {
			t.wrong("%s are not flat", m.name)
		}
	}
	return t.verdict(sums, out)
}

// run lets the callers call, and samples meanwhile.
func (t *traffic) run(ctx context.Context, o options, all *servers, out io.Writer) (samples []sample, sums account, err error) {
	began := time.Now()
	calling, stop := context.WithTimeout(ctx, o.length)
	var running sync.WaitGroup
	for n := range o.callers {
		running.Go(func() { t.call(calling, rand.New(rand.NewPCG(o.seed, uint64(n)))) })
	}
	running.Go(func() { t.client.govern(calling, policiesEvery) })
	defer running.Wait()
	defer stop()
	fmt.Fprintln(out, sampleHeader)
	sums.Faults = make(map[string]int)
	ticker := time.NewTicker(o.every)
	defer ticker.Stop()
	printed, quarter := time.Time{}, 1
	for {
		select {
		case <-ticker.C:
		case <-calling.Done():
			if ctx.Err() != nil {
				return samples, sums, ctx.Err()
			}
			running.Wait()
			err := sums.add(all)
			return samples, sums, err
		}
		s := take(t, began)
		samples = append(samples, s)
		if err := sums.add(all); err != nil {
			return samples, sums, err
		}
		if o.profile != "" && s.at >= time.Duration(quarter)*o.length/4-2*o.every {
			if err := writeHeapProfile(fmt.Sprintf("%s%d", o.profile, quarter)); err != nil {
				return samples, sums, err
			}
			quarter++
		}
		if time.Since(printed) >= o.length/30 {
			printed = time.Now()
			fmt.Fprintln(out, s)
		}
	}
}

// add asks the servers for another account.
func (sums *account) add(all *servers) error {
	a, err := all.account()
	if err != nil {
		return fmt.Errorf("the servers: %w", err)
	}
	sums.Requests += a.Requests
	sums.Posts, sums.Twice = a.Posts, a.Twice
	for kind, n := range a.Faults {
		sums.Faults[kind] += n
	}
	return nil
}

func (t *traffic) summarize(sums account, out io.Writer) {
	fmt.Fprintf(out, "\n%d requests: %d answered, %d with 503, %d canceled, %d refused by the breaker, %d failed\n", t.next.Load(),
		t.answered.Load(), t.unavailable.Load(), t.abandoned.Load(), t.refused.Load(), t.failed.Load())
	fmt.Fprintf(out, "%d requests seen by the servers, %d POSTs executed\n", sums.Requests, sums.Posts)
	var struck []string
	for _, kind := range slices.Sorted(maps.Keys(sums.Faults)) {
		struck = append(struck, fmt.Sprintf("%s %d", kind, sums.Faults[kind]))
	}
	fmt.Fprintf(out, "faults: %s\n", strings.Join(struck, ", "))
	for _, each := range []struct {
		name string
		tr   *idlewise.Transport
	}{{"HTTP/1", t.client.http1}, {"HTTP/2", t.client.http2}} {
		s := each.tr.Stats()
		fmt.Fprintf(out, "%s: %d connections, failed %v, resent %v, retried %d, events %d dropped, closed %v\n", each.name,
			s.Total.Opened, s.Total.Failed, s.Total.Resent, s.Total.Retries, s.EventsDropped, s.Total.Closed)
	}
}

// patience is how long what Close began may take to end: goodbyes over TLS, and
// goroutines of net/http on their way out.
const patience = 10 * time.Second

// checkLeft notes what is left after Close.
func (t *traffic) checkLeft(before goleak.Option, files int) {
	closed := time.Now()
	err := goleak.Find(before) // which waits a while itself
	for err != nil && time.Since(closed) < patience {
		err = goleak.Find(before)
	}
	if err != nil {
		t.wrong("after Close: %.2000v", err)
	}
	if n := openFiles(); n > files {
		t.wrong("after Close %d file descriptors are open, before there were %d", n, files)
	}
	for _, tr := range []*idlewise.Transport{t.client.http1, t.client.http2} {
		for _, u := range tr.Stats().Upstreams {
			if u.Open != 0 || u.InFlight != 0 || u.Waiting != 0 {
				t.wrong("after Close %s counts %d connections, %d calls, %d waiting", u.Name, u.Open, u.InFlight, u.Waiting)
			}
		}
	}
	t.bodies.Range(func(key, _ any) bool {
		b := key.(*body)
		t.wrong("a body of request %+v (by GetBody: %v) was not closed", *b.of, b.again)
		return true
	})
	if n := t.closedAgain.Load(); n > 0 {
		t.wrong("request bodies were closed again, %d times", n)
	}
}

// verdict is the last line, and an error if it is bad.
func (t *traffic) verdict(sums account, out io.Writer) error {
	if n, answered := t.next.Load(), t.answered.Load(); uint64(answered) < n/2 {
		t.wrong("only %d of %d requests were answered: that proves little", answered, n)
	}
	if len(t.wrongs) == 0 {
		fmt.Fprintf(out, "GOOD: %d POSTs executed, none of them twice; everything is flat, and nothing is left after Close\n", sums.Posts)
		return nil
	}
	for _, text := range t.wrongs {
		fmt.Fprintf(out, "BAD: %s\n", text)
	}
	return errors.New("the soak failed")
}
