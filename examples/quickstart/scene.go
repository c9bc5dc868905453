package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// uvicorn closes a connection that was idle for 5 s. Twenty times as fast, a few
// seconds show what takes minutes in life.
const (
	timeScale        = 20
	uvicornKeepAlive = 5 * time.Second
	demoKeepAlive    = uvicornKeepAlive / timeScale
)

// guessedKeepAlive is used for servers that do not announce theirs: many
// frameworks close after 5 s.
const guessedKeepAlive = 5 * time.Second

// A scene is a comparison, ready to begin.
type scene struct {
	opt        options
	deadline   time.Duration // when the server closes an idle connection, as far as known
	known      string        // from whom
	methods    []string
	contenders [2]*contender // http.Transport, idlewise
}

// A contender is one of the two transports: the callers that use it, whom they
// call, and what they saw.
type contender struct {
	name   string
	url    string
	server *faultserver.Server // nil with -url

	// Each caller has one to itself, and is as alone with its connection as a
	// quiet instance of a service. In a shared pool it would be given the
	// connection that another caller has just used, and none would get old.
	transports []http.RoundTripper
	dials      atomic.Int64
	tally      *tally
}

func newScene(ctx context.Context, opt options) (*scene, error) {
	theirs := &contender{name: "http.Transport", url: opt.url, tally: newTally()}
	ours := &contender{name: "idlewise", url: opt.url, tally: newTally()}
	sc := &scene{opt: opt, contenders: [2]*contender{theirs, ours}}
	prepare := sc.useURL
	if opt.url == "" {
		prepare = sc.useFaultServers
	}
	if err := prepare(ctx); err != nil {
		sc.close()
		return nil, err
	}
	for range opt.callers {
		theirs.transports = append(theirs.transports, theirs.base())
		t, err := idlewise.New(idlewise.Config{
			Base: ours.base(),
			Policies: idlewise.Policies{Default: idlewise.Policy{
				ServerKeepAlive: sc.opt.keepAlive, // the only setting
			}},
		})
		if err != nil {
			sc.close()
			return nil, err
		}
		ours.transports = append(ours.transports, t)
	}
	return sc, nil
}

// useFaultServers gives each contender a server, and with it a journal.
func (sc *scene) useFaultServers(context.Context) error {
	sc.methods = []string{"GET", "PUT", "DELETE", "POST"}
	sc.deadline, sc.opt.keepAlive = demoKeepAlive, demoKeepAlive
	for _, c := range sc.contenders {
		server, err := faultserver.New(faultserver.Config{Personality: "uvicorn", TimeScale: timeScale})
		if err != nil {
			return fmt.Errorf("cannot start a server: %w", err)
		}
		c.server, c.url = server, server.URL+"/item"
	}
	return nil
}

// useURL prepares the comparison against the user's own server.
func (sc *scene) useURL(ctx context.Context) error {
	sc.methods = []string{"GET"}
	if sc.opt.post {
		sc.methods = append(sc.methods, "POST")
	}
	// Asked even if the gap is known: a wrong address is better told now.
	announced, err := askKeepAlive(ctx, sc.opt.url)
	if err != nil {
		return fmt.Errorf("-url: no answer to a first GET; check the address and that the server is up: %w", err)
	}
	switch {
	case sc.opt.gap > 0:
		sc.deadline, sc.known = sc.opt.gap, "as you said"
	case announced > 0:
		sc.deadline, sc.known = announced, "as the server announces"
	default:
		sc.deadline, sc.known = guessedKeepAlive, "a guess, for the server announces nothing; -gap says it better"
	}
	sc.opt.gap = sc.deadline
	return sc.opt.checkGap()
}

// askKeepAlive returns the keep-alive that the server announces, 0 if it does
// not.
func askKeepAlive(ctx context.Context, url string) (time.Duration, error) {
	t, err := idlewise.New(idlewise.Config{Policies: idlewise.Policies{
		Default: idlewise.Policy{ElicitHint: idlewise.On}, // some announce it only when asked
	}})
	if err != nil {
		return 0, err
	}
	defer t.Close()
	if got := send(ctx, newClient(t), "GET", url, ""); got.err != nil {
		return 0, got.err
	}
	return t.Explain(url).ServerKeepAlive, nil
}

// base returns what both are built on: net/http's default settings, and a
// dialer that counts.
func (c *contender) base() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			c.dials.Add(1)
		}
		return conn, err
	}
	return t
}

// about is how long the comparison will take.
func (sc *scene) about() time.Duration {
	each := (sc.opt.requests + sc.opt.callers - 1) / sc.opt.callers
	mean := sc.deadline * 13 / 16 // three long gaps, and one of a quarter on average
	d := sc.deadline + time.Duration(each)*mean
	return max(min(d, sc.opt.duration).Round(time.Second), time.Second)
}

// describe says what is going to happen.
func (sc *scene) describe(w io.Writer) {
	opt := sc.opt
	if opt.url == "" {
		say(w, "The servers close an idle connection after %v, as uvicorn does after %v.", sc.deadline, uvicornKeepAlive)
	} else {
		say(w, "%s: keep-alive %v (%s).", opt.url, sc.deadline, sc.known)
	}
	say(w, "%d callers each way, each with a transport of its own, pause for that long,", opt.callers)
	say(w, "give or take %v, between requests; one pause in four is shorter.", spread(sc.deadline))
	if opt.keepAlive > 0 {
		say(w, "idlewise is told ServerKeepAlive: %v. All else is default on both sides.", opt.keepAlive)
	} else {
		say(w, "All is default on both sides; -keep-alive tells idlewise what you know.")
	}
	if opt.post {
		say(w, "WARNING: with -post about %d real POSTs go to your server, with the body {}.", opt.requests)
	}
	fmt.Fprintln(w)
}

// ending sums up what happened.
func (sc *scene) ending(interrupted bool) ending {
	return ending{
		own:         sc.opt.url != "",
		post:        sc.opt.post,
		deadline:    sc.deadline,
		retired:     sc.retired(),
		planned:     sc.opt.requests,
		interrupted: interrupted,
		theirs:      sc.contenders[0].result(sc.methods),
		ours:        sc.contenders[1].result(sc.methods),
	}
}

// retired is the idle age at which idlewise closes connections because of the
// server's keep-alive, 0 if it does not know of one. Where the server announced
// it, only a transport that still has a connection remembers.
func (sc *scene) retired() time.Duration {
	ours := sc.contenders[1]
	for _, t := range ours.transports {
		e := t.(*idlewise.Transport).Explain(ours.url)
		if e.ServerKeepAlive > 0 && e.Source != idlewise.DeadlineMaxIdleTime {
			return e.IdleLimit
		}
	}
	return 0
}

func (sc *scene) close() {
	for _, c := range sc.contenders {
		for _, t := range c.transports {
			switch t := t.(type) {
			case *idlewise.Transport:
				t.Close()
			case *http.Transport:
				t.CloseIdleConnections()
			}
		}
		if c.server != nil {
			c.server.Close()
		}
	}
}
