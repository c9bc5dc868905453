package faultserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestTheControlEndpointShowsPathsAsTheyAreAskedFor(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	var about struct{ Requests []string }
	require.NoError(t, json.Unmarshal([]byte(mustControl(t, s, "GET /", "")), &about))
	require.Contains(t, about.Requests, "GET /")
	require.NotContains(t, about.Requests, "GET /{$}")
}

func TestASummaryOfNothingHasListsWithoutElements(t *testing.T) {
	text := mustControl(t, controlled(t, faultserver.Config{}), "GET /summary", "")
	require.Contains(t, text, `"executed_twice": []`)
	require.Contains(t, text, `"warnings": []`)
}

func TestToStopAScenarioIsNoError(t *testing.T) {
	s := controlled(t, faultserver.Config{})
	mustControl(t, s, "POST /scenario", "name: s\nphases: [{name: p, duration: 1h}, {name: q}]\n", "Content-Type: application/yaml")
	text := mustControl(t, s, "DELETE /scenario", "")
	require.Contains(t, text, `"ended": true`)
	require.NotContains(t, text, "error")
	require.Equal(t, "s was stopped", s.Phase().String())
}

func TestAPersonalityThatIsNearlyRightIsRecognized(t *testing.T) {
	for _, name := range []string{"ngnix", "Nginx"} {
		require.EqualError(t, faultserver.Config{Personality: name}.Validate(),
			`faultserver: Config.Personality: unknown server "`+name+`"; did you mean nginx?`)
	}
}

func TestACodeInQuotesIsToldToLeaveThemOut(t *testing.T) {
	_, err := faultserver.ParseScenario([]byte("name: s\nfaults: [{kind: status, code: \"503\"}]\nphases: [{name: p}]\n"), "s.yaml")
	require.EqualError(t, err, `s.yaml:2:31: faults[0].code: "503" is a text where a number or an error code's name belongs: leave the quotes out`)
}

func TestOneIsNotPlural(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	c.get("/")
	require.Contains(t, s.Journal().Summary(), "1 connection: 1 open\n1 request, 1 execution, 0 keys executed more than once")
}

func TestAClientThatTrustsCertificatePEMIsServed(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{TLS: true})
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(s.CertificatePEM()))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	resp, err := client.Get(s.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Nil(t, faultserver.Start(t, faultserver.Config{}).CertificatePEM())
}
