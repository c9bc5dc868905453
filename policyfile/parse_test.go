package policyfile

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func parsed(t *testing.T, text string) idlewise.Policies {
	t.Helper()
	p, err := Parse("p.yaml", []byte(text))
	require.NoError(t, err)
	return p
}

// effective is the policy in force for a host.
func effective(t *testing.T, p idlewise.Policies, host string) idlewise.Policy {
	t.Helper()
	got, _ := p.For(&url.URL{Scheme: "https", Host: host})
	return got
}

func samePointer(t *testing.T, want, got any) {
	t.Helper()
	require.Equal(t, reflect.ValueOf(want).Pointer(), reflect.ValueOf(got).Pointer())
}

func TestAFileSaysWhatAPolicySays(t *testing.T) {
	p := parsed(t, `
default:
  max_idle_time: 1m30s
  hint: off
  learning: true
  evidence: ON
  max_conns: off
  dial_rate: 0.5
  tcp_keep_alive: {idle: 30s, count: 2}
  retry:
    max: 3
    per_try_timeout: 2s
    check: error-propagated
    backoff: rate-limit-linear-jitter
    max_replay_body: 64KiB
    attempt_header: X-Attempt
  group: payments
upstreams:
  api.example.com:
    server_keep_alive: 5s
    retry: off
    breaker: off
    probe: {every: 24h, path: /health}
  "[::1]:8080":
`)
	def := p.Default
	samePointer(t, retryablehttp.ErrorPropagatedRetryPolicy, def.Retry.CheckRetry)
	samePointer(t, retryablehttp.RateLimitLinearJitterBackoff, def.Retry.Backoff)
	def.Retry.CheckRetry, def.Retry.Backoff = nil, nil
	require.Equal(t, idlewise.Policy{
		MaxIdleTime: 90 * time.Second, Hint: idlewise.Off, Learning: idlewise.On, Evidence: idlewise.On,
		MaxConns: -1, DialRate: 0.5, Group: "payments",
		TCPKeepAlive: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Count: 2},
		Retry:        idlewise.Retry{Max: 3, PerTryTimeout: 2 * time.Second, MaxReplayBody: 64 << 10, AttemptHeader: "X-Attempt"},
	}, def)
	require.Equal(t, map[string]idlewise.Policy{
		"api.example.com": {
			ServerKeepAlive: 5 * time.Second, Retry: idlewise.Retry{Max: -1}, Breaker: idlewise.NoBreaker,
			Probe: idlewise.ProbePolicy{Every: 24 * time.Hour, Path: "/health"},
		},
		"[::1]:8080": {},
	}, p.Upstreams)
}

func TestSizesAreInBytesAndTheirMultiples(t *testing.T) {
	for text, want := range map[string]int64{
		"65536": 65536, "12B": 12, "1KB": 1000, "1 kB": 1000, "64KiB": 65536, "2MB": 2e6, "1MiB": 1 << 20, "1GB": 1e9, "3GiB": 3 << 30, "off": -1,
	} {
		require.Equal(t, want, parsed(t, "default: {retry: {max_replay_body: "+text+"}}").Default.Retry.MaxReplayBody, text)
	}
}

func TestAnchorsAliasesAndMergesAreYAMLs(t *testing.T) {
	p := parsed(t, `
default: {retry: &again {max: 2, wait_min: 1s}}
policies:
  small: &small {max_conns: 5, max_idle_conns: 2}
  old: &old {max_conns: 7, max_conn_age: 1m}
upstreams:
  a: *small
  b: {<<: *small, max_conns: 9}
  c: {<<: [*small, *old], retry: *again}
  d: {retry: {<<: *again, max: 4}}
`)
	require.Equal(t, idlewise.Policy{MaxConns: 5, MaxIdleConns: 2}, p.Upstreams["a"])
	require.Equal(t, idlewise.Policy{MaxConns: 9, MaxIdleConns: 2}, p.Upstreams["b"])
	require.Equal(t, idlewise.Policy{MaxConns: 5, MaxIdleConns: 2, MaxConnAge: time.Minute, Retry: idlewise.Retry{Max: 2, WaitMin: time.Second}}, p.Upstreams["c"])
	require.Equal(t, idlewise.Retry{Max: 4, WaitMin: time.Second}, p.Upstreams["d"].Retry)
}

func TestEverySettingOfAGroupIsInheritedFromTheDefaultByItself(t *testing.T) {
	p := parsed(t, `
default:
  tcp_keep_alive: {idle: 30s, interval: 7s}
  retry: {max: 3, wait_min: 1s}
  breaker: {consecutive_failures: 3, timeout: 10s, statuses: [503]}
  probe: {every: 24h, path: /health}
upstreams:
  a:
    tcp_keep_alive: {idle: 5s}
    retry: {max: 1}
    breaker: {timeout: 20s}
    probe: {path: /other}
  b: {breaker: off, tcp_keep_alive: off}
`)
	a := effective(t, p, "a")
	require.Equal(t, net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 7 * time.Second, Count: 3}, a.TCPKeepAlive)
	require.Equal(t, 1, a.Retry.Max)
	require.Equal(t, time.Second, a.Retry.WaitMin)
	require.Equal(t, 20*time.Second, a.Breaker.Settings.Timeout)
	require.Equal(t, []int{503}, a.Breaker.Statuses)
	require.NotNil(t, a.Breaker.Settings.ReadyToTrip)
	require.Equal(t, idlewise.ProbePolicy{Every: 24 * time.Hour, Path: "/other"}, a.Probe)

	b := effective(t, p, "b")
	require.Same(t, idlewise.NoBreaker, b.Breaker)
	require.Negative(t, b.TCPKeepAlive.Idle)
	require.Equal(t, 10*time.Second, effective(t, p, "elsewhere").Breaker.Settings.Timeout)
}

func TestNothingButBracesMeansNoPolicies(t *testing.T) {
	for _, text := range []string{"{}", "default:\npolicies:\nupstreams:\n", "upstreams: {}"} {
		require.Equal(t, idlewise.Policies{}, parsed(t, text), text)
	}
}

func TestLoadReadsAFileAndSaysWhichItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policies.yaml")
	_, err := Load(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Load(filepath.Dir(path))
	require.ErrorContains(t, err, "is not a file")

	require.NoError(t, os.WriteFile(path, []byte("default: {max_conns: 5}\n"), 0o600))
	p, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, 5, p.Default.MaxConns)

	require.NoError(t, os.WriteFile(path, []byte("default: {max_conns: -5}\n"), 0o600))
	_, err = Load(path)
	var wrong *Error
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, path, wrong.File)
	require.True(t, strings.HasPrefix(err.Error(), path+":1:22: default.max_conns: -5 is less than 1"), err)

	require.NoError(t, os.WriteFile(path, []byte("# "+strings.Repeat("x", maxSize)), 0o600))
	_, err = Load(path)
	require.ErrorContains(t, err, path+":1:1: is larger than 1024 KiB")
	require.False(t, errors.Is(err, fs.ErrNotExist))
}
