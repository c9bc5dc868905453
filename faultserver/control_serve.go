package faultserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// serveControl serves the control endpoint until Close.
func (s *Server) serveControl(ln net.Listener) {
	s.ControlURL = "http://" + ln.Addr().String()
	s.control = &http.Server{
		Handler:           s.ControlHandler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		// Close waits for the connections' goroutines, too.
		ConnState: func(nc net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.wg.Add(1)
				select {
				case <-s.stop: // Close may not have seen it
					nc.Close()
				default:
				}
			case http.StateClosed, http.StateHijacked:
				s.wg.Done()
			}
		},
	}
	s.wg.Go(func() { s.control.Serve(ln) })
}

// controlListener reports an address that other machines can reach.
func controlListener(ln net.Listener, remote bool) error {
	addr, ok := ln.Addr().(*net.TCPAddr)
	if remote || !ok || addr.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%v can be reached from other machines: listen on 127.0.0.1, or set ControlRemote", addr)
}

// admit refuses what does not come from this machine's user: other machines,
// web pages that a browser on this machine shows, and pages that reach this
// machine under a name of their own (DNS rebinding).
func (c *control) admit(r *http.Request) error {
	if !c.s.set.controlRemote {
		if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && !peer.Addr().Unmap().IsLoopback() {
			return fmt.Errorf("%v is another machine", peer.Addr())
		}
		if !meansThisMachine(r.Host) {
			return fmt.Errorf("the Host header %q is not localhost", r.Host)
		}
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "none", "same-origin":
	default:
		return fmt.Errorf("Sec-Fetch-Site is %q: web pages of other origins are refused", site)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Host != r.Host {
			return fmt.Errorf("the origin %q is another one", origin)
		}
	}
	return nil
}

func meansThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// journal writes the journal's rows, all at once or as they become final.
func (c *control) journal(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch follow := r.URL.Query().Get("follow"); follow {
	case "", "false":
		c.s.journal.WriteJSONL(w) // a client that went away is no error
		return
	case "true":
	default:
		writeControlError(w, fmt.Errorf("follow: %q is neither true nor false", follow))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ended := make(chan struct{})
	defer func() { cancel(); <-ended }()
	go func() {
		defer close(ended)
		select {
		case <-c.s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	flush := http.NewResponseController(w).Flush
	flush() // the client may wait for the head before it asks for anything
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	c.s.journal.follow(ctx, func(line any) error { return errors.Join(enc.Encode(line), flush()) })
}

// MarshalJSON writes it with snake_case names.
func (p Playing) MarshalJSON() ([]byte, error) {
	v := struct {
		Scenario string     `json:"scenario"`
		Phase    string     `json:"phase"`
		Number   int        `json:"number"`
		Of       int        `json:"of"`
		Round    int        `json:"round"`
		Since    *time.Time `json:"since,omitempty"`
		Ended    bool       `json:"ended"`
		Error    string     `json:"error,omitempty"`
	}{p.Scenario, p.Phase, p.Number, p.Of, p.Round, optionalTime(p.Since), p.Ended, ""}
	if p.Err != nil && !errors.Is(p.Err, context.Canceled) { // to be stopped is no error
		v.Error = p.Err.Error()
	}
	return json.Marshal(v)
}
