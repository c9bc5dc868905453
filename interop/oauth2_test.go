package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
)

// An authority gives out tokens and serves those who show one.
type authority struct{ issued atomic.Int64 }

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/token":
		a.issued.Add(1)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"access_token": "secret", "token_type": "Bearer", "expires_in": 3600})
	case r.URL.Path != "/warm" && r.Header.Get("Authorization") != "Bearer secret":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		faultserver.Echo.ServeHTTP(w, r)
	}
}

// authorized returns a client whose tokens and requests both go through the
// transport under test: the former by the context's client. With the style of
// authentication left open oauth2 would try another one after every error.
func (s *side) authorized(url string) *http.Client {
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, s.client())
	cfg := clientcredentials.Config{ClientID: "id", ClientSecret: "word", TokenURL: url + "/token", AuthStyle: oauth2.AuthStyleInHeader}
	return &http.Client{Transport: &oauth2.Transport{Source: cfg.TokenSource(ctx), Base: s.transport()}}
}

func (s *side) post(c *http.Client, url, body string) (string, error) {
	resp, err := c.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.Equal(s, http.StatusOK, resp.StatusCode)
	return string(text), err
}

func TestOAuth2FetchesATokenAndSendsIt(t *testing.T) {
	overProtos(t, func(s *side) {
		var a authority
		srv := s.start(&a)
		client := s.authorized(srv.URL)
		for _, body := range []string{"a", "bb", "ccc"} {
			text, err := s.post(client, srv.URL+"/", body)
			require.NoError(s, err)
			require.Equal(s, fmt.Sprintf("POST / %d\n", len(body)), text)
		}
		require.EqualValues(s, 1, a.issued.Load())
		require.Len(s, srv.Journal().Conns(), 1, "tokens and requests share the pool")
		s.sees(srv, 3)
	}, http1, https, http2, h2c)
}

// oauth2 clones the request, GetBody with it, so that idlewise can send it
// again, and closes no body twice.
func TestOAuth2sBodiesAreSentAgain(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		srv := s.start(&authority{}, only(faultserver.Fault{Kind: faultserver.FinAfterRequest, ReusedOnly: true, Times: 1}))
		client := s.authorized(srv.URL) // whose token leaves an idle connection
		body := &countingBody{Reader: strings.NewReader("body")}
		req := s.request("PUT", srv.URL+"/", "body")
		req.Body = body
		resp, err := client.Do(req)
		require.Equal(s, s.ours, err == nil, "%v", err)
		if err == nil {
			text, err := io.ReadAll(resp.Body)
			require.NoError(s, err)
			require.NoError(s, resp.Body.Close())
			require.Equal(s, "PUT / 4\n", string(text))
		}
		require.EqualValues(s, 1, body.closed.Load())
		s.sees(srv, s.onceOrTwice())
	})
}

type countingBody struct {
	io.Reader
	closed atomic.Int64
}

func (b *countingBody) Close() error {
	b.closed.Add(1)
	return nil
}

// A token is fetched by POST, which is not sent twice; the program hears of
// the failure through two layers of oauth2 and can still tell what it was.
func TestAFailedTokenRequestIsTheCallersError(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		srv := s.start(&authority{}, faultserver.Fault{Kind: faultserver.FinAfterRequest, Path: "/token", ReusedOnly: true})
		s.warm(srv.URL)
		_, err := s.post(s.authorized(srv.URL), srv.URL+"/", "body")
		require.ErrorIs(s, err, io.EOF)
		var judged *idlewise.Error
		require.Equal(s, s.ours, errors.As(err, &judged))
		s.sees(srv, 0)
		srv.Journal().AssertNoneExecutedTwice(s, "POST")
	})
}

func TestARefusedTokenIsOAuth2sOwnError(t *testing.T) {
	bothSides(t, http1, func(s *side) {
		srv := s.start(&authority{}, faultserver.Fault{Kind: faultserver.Status, Code: http.StatusBadRequest, Path: "/token"})
		_, err := s.post(s.authorized(srv.URL), srv.URL+"/", "body")
		var retrieve *oauth2.RetrieveError
		require.ErrorAs(s, err, &retrieve)
		require.Equal(s, http.StatusBadRequest, retrieve.Response.StatusCode)
		s.sees(srv, 0)
	})
}

func TestWrapSaysToPutIdlewiseUnderOAuth2(t *testing.T) {
	_, err := idlewise.Wrap(&oauth2.Transport{Base: &http.Transport{}}, idlewise.Config{})
	require.ErrorContains(t, err, "*oauth2.Transport")
	require.ErrorContains(t, err, "put idlewise under it")
}
