package policyfile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

func TestAPolicyExtendsOthersAndLaterOnesWin(t *testing.T) {
	p := parsed(t, `
policies:
  base: {max_conns: 10, max_idle_conns: 5, retry: {max: 1, wait_min: 1s}}
  busy: {extends: base, max_conns: 100, retry: {max: 2}}
  aged: {max_conn_age: 1m, max_conns: 50}
default: {extends: base}
upstreams:
  a: {extends: busy}
  b: {extends: [busy, aged]}
  c: {extends: [aged, busy], max_idle_conns: 9}
`)
	retry := idlewise.Retry{Max: 2, WaitMin: time.Second}
	require.Equal(t, idlewise.Policy{MaxConns: 10, MaxIdleConns: 5, Retry: idlewise.Retry{Max: 1, WaitMin: time.Second}}, p.Default)
	require.Equal(t, idlewise.Policy{MaxConns: 100, MaxIdleConns: 5, Retry: retry}, p.Upstreams["a"])
	require.Equal(t, idlewise.Policy{MaxConns: 50, MaxIdleConns: 5, MaxConnAge: time.Minute, Retry: retry}, p.Upstreams["b"])
	require.Equal(t, idlewise.Policy{MaxConns: 100, MaxIdleConns: 9, MaxConnAge: time.Minute, Retry: retry}, p.Upstreams["c"])
	require.Len(t, p.Upstreams, 3, "policies are only there to be extended")
}

func TestABreakerCanBeSwitchedOffAndOnAgainBelow(t *testing.T) {
	p := parsed(t, `
policies:
  careful: {breaker: {consecutive_failures: 3, timeout: 5s}}
  bold: {extends: careful, breaker: off}
upstreams:
  a: {extends: bold}
  b: {extends: bold, breaker: {timeout: 7s}}
  c: {extends: careful, breaker: {timeout: 7s}}
  d: {extends: [bold, uvicorn]}
`)
	require.Zero(t, idlewise.NoBreaker.Settings.Timeout, "it is everybody's")
	require.Same(t, idlewise.NoBreaker, p.Upstreams["d"].Breaker)
	require.Same(t, idlewise.NoBreaker, p.Upstreams["a"].Breaker)
	require.NotSame(t, idlewise.NoBreaker, p.Upstreams["b"].Breaker)
	require.Equal(t, 7*time.Second, p.Upstreams["b"].Breaker.Settings.Timeout)
	require.Nil(t, p.Upstreams["b"].Breaker.Settings.ReadyToTrip, "what was switched off is not inherited")
	require.Equal(t, 7*time.Second, p.Upstreams["c"].Breaker.Settings.Timeout)
	require.NotNil(t, p.Upstreams["c"].Breaker.Settings.ReadyToTrip)
}

func TestAFilesOwnPolicyGoesBeforeAPresetOfThatName(t *testing.T) {
	p := parsed(t, "policies: {nginx: {max_conns: 7}}\nupstreams: {a: {extends: nginx}, b: {extends: uvicorn}}\n")
	require.Equal(t, idlewise.Policy{MaxConns: 7}, p.Upstreams["a"])
	require.Equal(t, idlewise.Policy{ServerKeepAlive: 5 * time.Second}, p.Upstreams["b"])
}

func TestCyclesAreReportedWhereverTheyAreEntered(t *testing.T) {
	require.Equal(t, strings.TrimSpace(`
2:18: policies.a.extends: "a" extends this one, directly or by others; remove one of the extends
5:18: policies.d.extends: "b" extends this one, directly or by others; remove one of the extends
`), wrong(t, `policies:
  a: {extends: [ a ]}
  b: {extends: c}
  c: {extends: d}
  d: {extends: [ b, uvicorn ]}
  e: {extends: d}
upstreams: {x: {extends: b}}
`))

	// However long the chain is.
	var text strings.Builder
	text.WriteString("policies:\n")
	const n = 20000
	for i := range n {
		fmt.Fprintf(&text, "  p%d: {extends: p%d}\n", i, (i+1)%n)
	}
	require.Equal(t, 1, strings.Count(wrong(t, text.String()), "extends this one"))
}
