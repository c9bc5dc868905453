//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

type client struct {
	net.Conn
	br *bufio.Reader
}

func dial(addr string) (*client, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &client{nc, bufio.NewReader(nc)}, nil
}

func (c *client) ask(path, header string) error {
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\n%s\r\n", path, header)
	return err
}

func (c *client) answer() (*http.Response, error) {
	resp, err := http.ReadResponse(c.br, &http.Request{Method: "GET"})
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// end reads to the connection's end and says how it came.
func (c *client) end() string {
	rest, err := io.ReadAll(c.br)
	how := "FIN"
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		how = "RST"
	case err != nil:
		how = "still open"
	}
	if line, _, ok := strings.Cut(string(rest), "\r\n"); ok {
		how = line + ", " + how
	}
	return how
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// probeIdle: how long, how it ends, what a write after the end meets, and what
// was announced.
func probeIdle(addr string, idle time.Duration) []string {
	c, err := dial(addr)
	if err != nil {
		return []string{err.Error(), "", ""}
	}
	defer c.Close()
	c.ask("/", "")
	plain, err := c.answer()
	if err != nil {
		return []string{err.Error(), "", ""}
	}
	c.ask("/", "Connection: keep-alive\r\n")
	asked, err := c.answer()
	if err != nil {
		return []string{"only one request: " + err.Error(), "", ""}
	}
	told := fmt.Sprintf("%s (%s)", orNone(plain.Header.Get("Keep-Alive")), orNone(asked.Header.Get("Keep-Alive")))
	if plain.Close {
		told = "Connection: close"
	}
	since := time.Now()
	if idle > 0 {
		c.SetDeadline(time.Now().Add(2*idle + 5*time.Second))
	} else {
		c.SetDeadline(time.Now().Add(8 * time.Second))
	}
	how := c.end()
	after := ms(time.Since(since))
	if how != "still open" {
		how += ", " + c.afterwards()
	}
	return []string{after, how, told}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// afterwards writes to a connection the server has closed: close(2) answers
// with a RST, a lingering close swallows.
func (c *client) afterwards() string {
	for range 4 {
		if c.ask("/", "") != nil {
			return "then RST to a write"
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "then writes are swallowed"
}

// warmUp lets a server compile what it compiles on demand.
func warmUp(addr string) error {
	for _, path := range []string{"/", "/slow"} {
		c, err := dial(addr)
		if err != nil {
			return err
		}
		defer c.Close()
		c.ask(path, "Connection: close\r\n")
		if _, err := c.answer(); err != nil {
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
	return nil
}

// probeHalf begins a request and does not finish it.
func probeHalf(addr string, limit time.Duration) string {
	if limit == 0 {
		return "no limit"
	}
	c, err := dial(addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: te")
	since := time.Now()
	c.SetDeadline(since.Add(limit + 10*time.Second))
	how := c.end()
	return fmt.Sprintf("%s after %s (set: %s)", how, ms(time.Since(since)), ms(limit))
}

// probeShutdown signals the server and looks at connections in every state.
func probeShutdown(run *running) []string {
	states := make([]*client, 4)
	for i := range states {
		c, err := dial(run.http1)
		if err != nil {
			return []string{err.Error(), "", "", ""}
		}
		defer c.Close()
		states[i] = c
	}
	idle, fresh, again, busy := states[0], states[1], states[2], states[3]
	for _, c := range []*client{idle, again} {
		c.ask("/", "")
		if _, err := c.answer(); err != nil {
			return []string{"only one request: " + err.Error(), "", "", ""}
		}
	}
	busy.ask("/slow", "")
	time.Sleep(300 * time.Millisecond)
	run.signal()
	since := time.Now()

	// The request crosses the signal as closely as can be arranged here.
	again.ask("/", "")
	atOnce := make(chan string, 1)
	go func() { atOnce <- again.fate(since) }()
	ended := make(chan string, 1)
	go func() {
		idle.SetDeadline(time.Now().Add(10 * time.Second))
		ended <- idle.end() + " after " + ms(time.Since(since))
	}()
	last := make(chan string, 1)
	go func() { last <- busy.fate(since) }()
	time.Sleep(300 * time.Millisecond)
	fresh.ask("/", "")
	first := fresh.fate(since)
	return []string{<-ended, first, <-atOnce, <-last}
}

// fate is what became of a request; the answer's time is from since.
func (c *client) fate(since time.Time) string {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	resp, err := c.answer()
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "no answer, RST"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "no answer, FIN"
	case err != nil:
		return "no answer, " + err.Error()
	}
	answer := "answer at " + ms(time.Since(since))
	if resp.StatusCode != 200 || resp.ContentLength == 0 {
		answer = fmt.Sprintf("%d with %d bytes at %s", resp.StatusCode, resp.ContentLength, ms(time.Since(since)))
	}
	if resp.Close {
		return answer + " with Connection: close, " + c.end()
	}
	answered := time.Now()
	return answer + ", nothing announced, " + c.end() + " after " + ms(time.Since(answered))
}
