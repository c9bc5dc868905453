package idlewise

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ProbeOptions say how Transport.Probe measures. The zero value is a good one.
//
// A probe is bounded in every direction: in connections, in requests, in time,
// and in the bytes it reads of each response.
type ProbeOptions struct {
	// Method is the method of the requests, which have no body. Only safe
	// methods can be used with MaxRequests and Bisect, which repeat them.
	//
	// Default: HEAD, or GET where the server answers HEAD with 405 or 501.
	Method string

	// Header is sent with every request. A Host entry sets the request's Host.
	Header http.Header

	// ElicitHint adds Connection: keep-alive to HTTP/1 requests that have no
	// Connection header: Apache httpd and Tomcat announce their timeout only
	// to clients that send it.
	ElicitHint bool

	// Connections is how many connections are watched, or with Bisect how many
	// are open at a time. One more is used for MaxRequests, and once as many
	// again after a mass close. Several show how regular the timeout is, and
	// tell it from a restart. At most 32.
	//
	// Default: 3, with Bisect 8.
	Connections int

	// Stagger sets the connections' beginnings apart: the second begins one
	// Stagger after the first, the third two after the second, and so on, all
	// within a quarter of Timeout. A timeout then ends them one after the
	// other, a restart all at once. Under 50 ms the two cannot be told apart.
	// Negative: all begin at once.
	//
	// Default: 500 ms. The three default connections then span 1.5 s, more than
	// the second between two looks of servers that look at their connections
	// now and then.
	Stagger time.Duration

	// Timeout bounds the whole probe. A connection that is still open then
	// gives a lower bound. With Bisect, idle times up to half of it are tried.
	// At most 24 h.
	//
	// Default: 2 min.
	Timeout time.Duration

	// AnswerTimeout bounds the opening of a connection and, apart from it,
	// each response to its last byte.
	//
	// Default: 10 s, or Timeout where that is less.
	AnswerTimeout time.Duration

	// MaxBody is how many bytes of a response's body are read. A connection
	// with a longer one is never idle, and cannot be measured. Negative: none.
	//
	// Default: 1 MiB.
	MaxBody int64

	// MaxRequests, if positive, has the probe find after how many requests the
	// server ends a connection, by sending up to so many on another one, each
	// after the response before it. At most 100,000.
	//
	// Default: off.
	MaxRequests int

	// Bisect finds silent drops, which no watching shows: connections that a
	// firewall or load balancer has forgotten still look open. Instead of
	// being watched to their end, connections idle for a time and are then
	// used: the time at which they stop to answer is bracketed, and the bracket
	// narrowed to Resolution.
	//
	// Default: off.
	Bisect bool

	// Resolution is how narrow Bisect makes the bracket, if Timeout permits.
	//
	// Default: 2 % of its upper edge, at least 50 ms.
	Resolution time.Duration

	// OnConn, if not nil, is told of each watched connection when it has ended
	// or is given up. It is called by one goroutine at a time and must not
	// block.
	OnConn func(ProbeConn)
}

// Limits and defaults of ProbeOptions.
const (
	defaultProbeConns       = 3
	defaultReuseConns       = 8
	maxProbeConns           = 32
	defaultProbeStagger     = 500 * time.Millisecond
	defaultProbeTimeout     = 2 * time.Minute
	maxProbeTimeout         = 24 * time.Hour
	defaultAnswerTimeout    = 10 * time.Second
	defaultProbeBody        = 1 << 20
	maxProbeRequests        = 100_000
	maxProbeResponseHeaders = 64 << 10
)

// withDefaults fills zero fields in.
func (o ProbeOptions) withDefaults() ProbeOptions {
	fill(&o.Stagger, defaultProbeStagger)
	fill(&o.Timeout, defaultProbeTimeout)
	answer := defaultAnswerTimeout
	if o.Timeout >= time.Millisecond { // else it is reported, once
		answer = min(answer, o.Timeout)
	}
	fill(&o.AnswerTimeout, answer)
	fill(&o.MaxBody, defaultProbeBody)
	if o.Bisect {
		fill(&o.Connections, defaultReuseConns)
	}
	fill(&o.Connections, defaultProbeConns)
	return o
}

// mistakes reports everything that is wrong with o, whose zero fields are
// filled in.
func (o *ProbeOptions) mistakes() []error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("ProbeOptions."+field+": "+format, args...))
	}
	for _, f := range []durationField{
		{"Stagger", o.Stagger}, {"Timeout", o.Timeout}, {"AnswerTimeout", o.AnswerTimeout}, {"Resolution", o.Resolution},
	} {
		switch {
		case f.value > 0 && f.value < time.Millisecond:
			wrong(f.name, "%v is under a millisecond; is the unit missing, as in %d * time.Second?", f.value, int64(f.value))
		case f.value < 0 && f.name != "Stagger":
			wrong(f.name, "%v is negative; give a positive time, or 0 for the default", f.value)
		}
	}
	if o.Timeout > maxProbeTimeout {
		wrong("Timeout", "%v is more than a day; a probe has to end, give at most %v", o.Timeout, maxProbeTimeout)
	}
	if o.Connections < 0 || o.Connections > maxProbeConns {
		wrong("Connections", "%d is not between 1 and %d; a probe is to be a small load, give a number in between", o.Connections, maxProbeConns)
	}
	if o.MaxRequests < 0 || o.MaxRequests > maxProbeRequests {
		wrong("MaxRequests", "%d is not between 0 and %d; give a number in between", o.MaxRequests, maxProbeRequests)
	}
	if !isSafe(o.Method) && (o.Bisect || o.MaxRequests > 0) {
		wrong("Method", "%s may have effects, and Bisect and MaxRequests repeat it; use GET, HEAD, OPTIONS or TRACE", o.Method)
	}
	return errs
}

// isSafe reports whether method has no effects (RFC 9110 §9.2.1).
func isSafe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// parseProbeURL parses what a person typed.
func parseProbeURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the whole text, perhaps with a password in it.
		var urlErr *url.Error
		if errors.As(err, &urlErr) {
			err = urlErr.Err
		}
		return nil, fmt.Errorf("the URL is invalid: %w; give one such as https://api.example.com/health", err)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the URL's scheme is %q; begin it with http:// or https://", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host; give one such as https://api.example.com/health")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// request makes the probe's request.
func (o *ProbeOptions) request(u *url.URL, method string) *http.Request {
	req := &http.Request{
		Method: method, URL: u, Host: u.Host, Header: o.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host // net/http ignores the entry itself
	}
	if o.ElicitHint && req.Header["Connection"] == nil {
		req.Header.Set("Connection", "keep-alive")
	}
	if u.User != nil && req.Header.Get("Authorization") == "" {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	return req
}
