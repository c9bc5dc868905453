package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/idleprom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheSystemServesItsPageAndItsMetricsAndEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-listen", "127.0.0.1:0"}, out, io.Discard)
		out.Close()
		ended <- err
	}()
	text := make([]byte, 200)
	n, err := lines.Read(text)
	require.NoError(t, err)
	addresses := regexp.MustCompile(`http://\S+`).FindAllString(string(text[:n]), -1)
	require.Len(t, addresses, 2)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(url string) string {
		resp, err := client.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(b)
	}
	require.Contains(t, get(addresses[0]), "<html")
	root, isPage := strings.CutSuffix(addresses[0], "debug/idlewise")
	require.True(t, isPage, "as in the docs")
	require.Contains(t, get(root), "<html", "who asks for / is led there")
	answered := regexp.MustCompile(`idlewise_requests_total{upstream="http://127\.0\.0\.1:\d+"} [1-9]`)
	for !answered.MatchString(get(addresses[1])) {
		// The first request comes within 1.5 s.
	}
	cancel()
	story, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.NoError(t, <-ended)
	require.Regexp(t, `^\d+ requests, 0 errors; `, string(story))
}

// source is a Transport of which nothing is asked but its metrics' names.
type source struct{}

func (source) Stats() idlewise.Stats { return idlewise.Stats{} }

func metrics() map[string]bool {
	descs := make(chan *prometheus.Desc, 100)
	idleprom.NewCollector(source{}).Describe(descs)
	close(descs)
	names := make(map[string]bool)
	for d := range descs {
		names[regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

func TestTheRulesAndTheDashboardReferToMetricsThatExist(t *testing.T) {
	known := metrics()
	require.Greater(t, len(known), 20)
	var exprs []string

	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary, Description string }
			}
		}
	}
	b, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &rules))
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			require.NotEmpty(t, r.Alert)
			require.NotEmpty(t, r.Annotations.Summary)
			require.NotEmpty(t, r.Annotations.Description, "what to do about it")
			exprs = append(exprs, r.Expr)
		}
	}
	ofRules := len(exprs)
	require.NotZero(t, ofRules)

	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	b, err = os.ReadFile("dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &dashboard))
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	require.Greater(t, len(exprs), ofRules+10)

	used := make(map[string]bool)
	for _, e := range exprs {
		names := regexp.MustCompile(`idlewise_[a-z_]+`).FindAllString(e, -1)
		require.NotEmpty(t, names, e)
		for _, name := range names {
			name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			require.True(t, known[name], "%s in %s", name, e)
			used[name] = true
		}
	}
	require.Greater(t, len(used), len(known)/2, "the dashboard shows most of what there is")
}

func TestTheReasonsThatTheRulesNameExist(t *testing.T) {
	b, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	for _, list := range regexp.MustCompile(`reason=~?"([a-z_|]+)"`).FindAllStringSubmatch(string(b), -1) {
		for _, reason := range strings.Split(list[1], "|") {
			require.True(t, isReason(reason), reason)
		}
	}
	require.False(t, isReason("weather"))
}

func isReason(name string) bool {
	for r := range idlewise.CloseReason(100) {
		if r.String() == name {
			return true
		}
	}
	return false
}

func TestMistakesOnTheCommandLineAreToldWithTheRemedy(t *testing.T) {
	err := run(t.Context(), []string{"-listen", "nowhere"}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "-listen: ")
	require.ErrorContains(t, err, "127.0.0.1:0")
	require.ErrorContains(t, run(t.Context(), []string{"now"}, io.Discard, io.Discard), `unexpected argument "now"`)
	require.False(t, errors.Is(err, context.Canceled))
}
