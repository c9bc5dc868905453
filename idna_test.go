package idlewise

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// internationalHosts are spellings, some of which are no names.
var internationalHosts = []string{
	"bücher.example", "BÜCHER.example", "Bücher.EXAMPLE", "bu\u0308cher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example",
	"bücher.example.", "faß.example", "FASS.example", "ﬁsch.example", "ｅxample.com", "ＥＸＡＭＰＬＥ.com", "example。com", "日本語。jp", "日本語.jp", "ΒΌΛΟΣ.example", "βόλος.example",
	"İstanbul.example", "\u212Aelvin.example", "a\u00ADb.example", "☃.example", "💩.example", "نامه\u200Cای.example", "ä..example", ".ü", "ü.",
	"-bad-.ü", "-BAD-.ü", "xn--ü.example", "a_ü.example", "ü\u200D.example", "ａ／ｂ.example", "ä℀.example", "1２7.0.0.1", "１２７.0.0.1", strings.Repeat("ü", 100) + ".example",
	"\xff.example", "ü\x00.example", "[::1]", "[fe80::1%ü]", "[FE80::1%Ü]", "[ü]", "example.com", "EXAMPLE.com", "foo_bar", "*.example",
}

// sentTo is where rt dials u, and which names it tells the server.
func sentTo(t *testing.T, base *http.Transport, through func(*http.Transport) http.RoundTripper, u *url.URL) string {
	var mu sync.Mutex
	var told []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(told, s) { // what cannot be written may be dialed for again
			told = append(told, s)
		}
	}
	base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	base.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
		note("dial " + addr)
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if u.Scheme == "https" {
				tls.Server(theirs, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					note("SNI " + hello.ServerName)
					return nil, errors.New("that is all")
				}}).Handshake()
				return
			}
			r := bufio.NewReader(theirs)
			line, err := r.ReadString('\n')
			if err != nil {
				return // the request could not be written
			}
			host, _ := r.ReadString('\n')
			note(fmt.Sprintf("%q %q", line, host))
		}()
		return ours, nil
	}
	resp, err := through(base).RoundTrip(&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
	if err == nil {
		resp.Body.Close()
	}
	synctest.Wait()
	mu.Lock()
	defer mu.Unlock()
	return strings.Join(told, ", ")
}

func TestInternationalHostsAreDialedAndToldAsByNetHTTP(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		for _, host := range internationalHosts {
			for _, port := range []string{"", ":8080"} {
				synctest.Test(t, func(t *testing.T) {
					u := &url.URL{Scheme: scheme, Host: host + port, Path: "/"}
					want := sentTo(t, &http.Transport{}, func(b *http.Transport) http.RoundTripper { return b }, u)
					got := sentTo(t, &http.Transport{}, func(b *http.Transport) http.RoundTripper {
						tr, err := New(Config{Base: b})
						require.NoError(t, err)
						t.Cleanup(func() { tr.Close() })
						return tr
					}, u)
					require.Contains(t, want, "dial ")
					require.Equal(t, want, got, "%s %q", scheme, host)
				})
			}
		}
	}
}

func TestHostsThatAreDialedAlikeAreOneUpstreamAndOthersAreNot(t *testing.T) {
	tr, err := New(Config{Policies: Policies{Upstreams: map[string]Policy{
		"BÜCHER.example": {MaxConns: 7},
		"*.日本語。jp":       {MaxConns: 8},
	}}})
	require.NoError(t, err)
	defer tr.Close()
	explain := func(host string) Explanation {
		return tr.Explain("https://" + host + "/")
	}
	for _, host := range []string{"bücher.example", "BÜCHER.EXAMPLE", "bu\u0308cher.example", "xn--bcher-kva.example"} {
		require.Equal(t, "https://xn--bcher-kva.example:443", explain(host).Upstream)
		require.Equal(t, 7, explain(host).Policy.MaxConns)
	}
	require.Equal(t, 8, explain("www.日本語.jp").Policy.MaxConns)
	require.Equal(t, "https://example.com:443", explain("ｅxample.com").Upstream)
	require.NotEqual(t, explain("-bad-.ü").Upstream, explain("-BAD-.ü").Upstream, "net/http dials them as they are")
}

func TestDialedNamesAreRememberedWithinBounds(t *testing.T) {
	var c nameCache
	for i := range maxDialedNames + 10 {
		c.of(fmt.Sprintf("ü%d.example", i))
		require.LessOrEqual(t, len(c.names), maxDialedNames)
	}
	require.Len(t, c.names, 10)
	c.of(strings.Repeat("ü", longestName))
	require.Len(t, c.names, 10)
	require.Equal(t, "xn--bcher-kva.example", c.of("Bücher.example"))
	require.Equal(t, "xn--bcher-kva.example", c.of("Bücher.example"))
}
