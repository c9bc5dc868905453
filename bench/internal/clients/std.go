package clients

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/hashicorp/go-retryablehttp"
)

const keyHeader = "X-Fault-Key"

// A std is an http.Client.
type std struct {
	client *http.Client
	end    func()
}

func (c *std) Close() { c.end() }

func (c *std) Do(r *Request, into *bytes.Buffer) error {
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequest(r.Method, r.URL, body)
	if err != nil {
		return err
	}
	if r.Key != "" {
		req.Header.Set(keyHeader, r.Key)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	return read(resp, into)
}

// A retryable is go-retryablehttp's client. It is not used as a RoundTripper:
// that would put one http.Client around another.
type retryable struct {
	client *retryablehttp.Client
	end    func()
}

func (c *retryable) Close() { c.end() }

func (c *retryable) Do(r *Request, into *bytes.Buffer) error {
	var body any
	if r.Body != nil {
		body = r.Body
	}
	req, err := retryablehttp.NewRequest(r.Method, r.URL, body)
	if err != nil {
		return err
	}
	if r.Key != "" {
		req.Header.Set(keyHeader, r.Key)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	return read(resp, into)
}

// read reads the response to its end.
func read(resp *http.Response, into *bytes.Buffer) error {
	defer resp.Body.Close()
	into.Reset()
	if resp.ContentLength > 0 {
		into.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	if _, err := into.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
