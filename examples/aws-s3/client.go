package main

import (
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/idlewise/idlewise"
)

// maxReplay is up to what size objects are kept in memory while they are sent, so
// that they can be sent again: the SDK gives its requests no GetBody. Larger ones
// it sends with Expect: 100-continue, and of those nothing was read yet when they
// meet a stale connection.
const maxReplay = 2 << 20

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
	if keep := &with.Policies.Default.Retry.MaxReplayBody; *keep == 0 {
		*keep = maxReplay
	}
	transport, err := idlewise.New(with)
	if err != nil {
		return nil, err
	}
	cfg.HTTPClient = newClient(transport)
	return transport, nil
}

// newClient returns an http.Client for the SDK.
func newClient(rt http.RoundTripper) aws.HTTPClient {
	return &client{http.Client{Transport: rt, CheckRedirect: keepMethod}}
}

// keepMethod follows the redirects that the SDK's own client follows.
func keepMethod(req *http.Request, _ []*http.Request) error {
	switch req.Response.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil
	}
	return http.ErrUseLastResponse
}

type client struct{ http.Client }

// Do sends a request. net/http waits for the 100 of Expect: 100-continue only
// where a request says that it is HTTP/1.1, and the SDK's say nothing.
func (c *client) Do(req *http.Request) (*http.Response, error) {
	req.ProtoMajor, req.ProtoMinor = 1, 1
	return c.Client.Do(req)
}
