package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/idlewise/idlewise"
)

// useIdlewise puts idlewise beneath an SDK configuration that
// config.LoadDefaultConfig made without config.WithHTTPClient.
//
// So it goes with AWS_CA_BUNDLE, too: LoadDefaultConfig puts the bundle's
// certificates into the SDK's own client, of which idlewise takes the
// transport, and refuses every other client.
func useIdlewise(cfg *aws.Config, with idlewise.Config) (*idlewise.Transport, error) {
	sdk, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if cfg.HTTPClient == nil {
		sdk, ok = awshttp.NewBuildableClient(), true
	}
	if !ok {
		return nil, fmt.Errorf("aws.Config.HTTPClient is a %T; load the configuration without config.WithHTTPClient", cfg.HTTPClient)
	}
	with.Base = sdk.GetTransport()
	transport, err := idlewise.New(with)
	if err != nil {
		return nil, err
	}
	cfg.HTTPClient = newClient(transport)
	return transport, nil
}

// newClient returns an http.Client for the SDK.
func newClient(rt http.RoundTripper) aws.HTTPClient {
	return &replayable{&http.Client{Transport: rt, CheckRedirect: keepMethod}}
}

// keepMethod follows the redirects that the SDK's own client follows.
func keepMethod(req *http.Request, _ []*http.Request) error {
	switch req.Response.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil
	}
	return http.ErrUseLastResponse
}

// maxReplay is from where on the SDK asks the server before it sends an
// object (Expect: 100-continue).
const maxReplay = 2 << 20

// A replayable client makes it possible to send an SDK's request again.
type replayable struct{ *http.Client }

func (c *replayable) Do(req *http.Request) (*http.Response, error) {
	// net/http waits for a 100 only where a request says that it is HTTP/1.1.
	// The SDK's say nothing. What waited for a 100 in vain, on a stale
	// connection, has a body that can still be sent.
	req.ProtoMajor, req.ProtoMinor = 1, 1

	// The SDK rewinds what it repeats itself, and gives its requests no
	// GetBody. Small bodies are kept for the case.
	if req.Body == nil || req.GetBody != nil || req.ContentLength <= 0 || req.ContentLength >= maxReplay {
		return c.Client.Do(req)
	}
	kept, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept)), nil }
	req.Body, _ = req.GetBody()
	return c.Client.Do(req)
}
