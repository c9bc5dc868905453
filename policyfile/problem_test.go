package policyfile

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wrong returns what is wrong with a text, a line for each problem.
func wrong(t *testing.T, text string) string {
	t.Helper()
	_, err := Parse("p", []byte(text))
	require.Error(t, err, text)
	var e *Error
	require.ErrorAs(t, err, &e)
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func TestAllMistakesAreReportedAtOnceInTheOrderOfTheFile(t *testing.T) {
	got := wrong(t, `default:
  max_idle_time: 60
  max_conn: 5
  retry:
    wait_min: 10s
    check: [502, 200, x]
    timeout: 4s
  dail_rate: 5
  dial_burst: 10
policies:
  a: {extends: b}
  b: {extends: [a, ngnix]}
  nginx: {extends: nginx}
upstreams:
  api.example.com:
    max_conns: 3
    min_idle_conns: 5
    min_idle_conns: 6
    hint: maybe
  API.example.com: &x
    server_keep_alive: -1s
    probe: {path: health, every: 0}
    <<: [*x]
  "ftp://x": *x
  c.example.com: 5
  d.example.com:
    retry: {max_replay_body: 64K, backoff: liner-jitter, attempt_header: Host}
    max: 3
    ping_timeout: off
extra: 1
max_conns: 3
---
b: 1
`)
	require.Equal(t, strings.TrimSpace(`
2:18: default.max_idle_time: 60 has no unit; write 60s if seconds are meant, or 60ms or 60m
3:3: default.max_conn: is not known; did you mean max_conns?
5:15: default.retry.wait_min: 10s is longer than wait_max, 5s; lower wait_min or raise wait_max
6:18: default.retry.check[1]: "200" is no status for this; use one from 400 to 599
6:23: default.retry.check[2]: "x" is no status for this; use one from 400 to 599
7:5: default.retry.timeout: does not belong here but below breaker or probe
8:3: default.dail_rate: is not known; did you mean dial_rate?
12:17: policies.b.extends: "a" extends this one, directly or by others; remove one of the extends
12:20: policies.b.extends: no policy is called "ngnix"; did you mean nginx?
13:20: policies.nginx.extends: "nginx" extends itself; rename it if the preset of that name is meant
15:3: upstreams["api.example.com"]: matches exactly what "API.example.com" matches; remove one of the two
17:21: upstreams["api.example.com"].min_idle_conns: 5 is more than max_conns allows, 3; lower min_idle_conns or raise max_conns
18:5: upstreams["api.example.com"].min_idle_conns: is there twice, first in line 17; remove one of the two
19:11: upstreams["api.example.com"].hint: "maybe" is neither on nor off; write one of the two
21:24: upstreams["API.example.com"].server_keep_alive: -1s is negative; write off to switch it off, or remove the key to inherit it
22:19: upstreams["API.example.com"].probe.path: "health" is none; give one such as /health
22:34: upstreams["API.example.com"].probe.every: 0 is no duration; write off to switch it off, or remove the key to inherit it
23:10: upstreams["API.example.com"]: is merged into itself; remove the alias
24:3: upstreams["ftp://x"]: scheme "ftp" is not http or https
25:18: upstreams["c.example.com"]: is "5"; give settings such as max_conns: 100
27:30: upstreams["d.example.com"].retry.max_replay_body: "64K" is no size; write it like 64KiB, 1MB or 65536, the number being whole
27:44: upstreams["d.example.com"].retry.backoff: "liner-jitter" is not known here; give linear-jitter, or one of default, idlewise, linear-jitter, rate-limit-linear-jitter
27:74: upstreams["d.example.com"].retry.attempt_header: "Host" is no name for a header of the program's; use one such as X-Attempt
28:5: upstreams["d.example.com"].max: does not belong here but below retry
29:19: upstreams["d.example.com"].ping_timeout: cannot be off; give a positive value, or remove the key to inherit it
30:1: extra: is not known; known are default, policies and upstreams
31:1: max_conns: belongs below default, or below a policy or an upstream
32:1: begins a second document; a policy file has one
`), got)
}

func TestAWrongValueComesWithTheRemedy(t *testing.T) {
	for _, c := range []struct{ setting, want string }{
		{"max_idle_time: 5", "5 has no unit; write 5s if seconds are meant, or 5ms or 5m"},
		{"max_idle_time: 1.5", "1.5 has no unit; write 1.5s if"},
		{"max_idle_time: 0", "0 is no duration; write off to switch it off"},
		{"max_idle_time: 0s", "0s is no duration; write off to switch it off"},
		{"max_idle_time: -5", "-5 is negative; write off to switch it off"},
		{"ping_timeout: 0", "0 is no duration; it cannot be off; give a positive value"},
		{"max_idle_time: 5 s", `"5 s" is no duration; write it like 5s, 250ms, 1m30s or 24h`},
		{"max_idle_time: 1d", `"1d" is no duration; write it like 5s, 250ms, 1m30s or 24h`},
		{"max_idle_time: 5us", "5us is under a millisecond; is the unit wrong?"},
		{"max_idle_time: 9999999999h", `"9999999999h" is no duration`},
		{"max_idle_time: never", `"never" is no duration`},
		{"max_idle_time:", "has no value; give a duration such as 5s, or remove the key"},
		{"max_idle_time: [5s]", "is a list; give a duration such as 5s"},
		{"max_idle_time: {s: 5}", "is a mapping; give a duration such as 5s"},
		{"max_idle_time: !mine 5s", "has the tag !mine, which means nothing here; remove the tag"},
		{"max_conns: 0", "0 is less than 1; write off to switch it off"},
		{"max_conns: -1", "-1 is less than 1; write off to switch it off"},
		{"max_conns: 1.5", `"1.5" is no whole number; give one such as 10`},
		{"max_conns: 99999999999", "99999999999 is too large; give 2147483647 at most"},
		{"dial_rate: 0", "0 is no rate; write off to switch it off"},
		{"dial_rate: 5/s", `"5/s" is no number; give one such as 20 or 0.5, or off`},
		{"dial_rate: .inf", `".inf" is no number`},
		{"dial_burst: 5", "5 is set without a dial_rate, which it belongs to; set dial_rate, too"},
		{"hint: 1", `"1" is neither on nor off`},
		{"group: off", "cannot be off; give a name, or remove the key"},
		{`group: ""`, "is empty; give a name, or remove the key"},
		{"extends: {a: b}", "is a mapping; give the name of a policy or a list of names"},
		{"extends: nothing-of-the-kind", `no policy is called "nothing-of-the-kind"; name one under policies, or a preset: apache, aws-alb`},
		{"retry: 3", `is "3"; give settings such as max, or off`},
		{"retry: {max_replay_body: 0}", "0 is no size; write off to switch it off"},
		{"retry: {max_replay_body: -1}", "-1 is negative; write off to switch it off"},
		{"retry: {max_replay_body: 99999999999GB}", "99999999999GB is too large"},
		{"retry: {check: sometimes}", `"sometimes" is not known here; give a list of statuses such as [502, 503, 504], or one of default, error-propagated, idlewise`},
		{"retry: {check: [[502]]}", "is a list; give a status such as 503"},
		{"retry: {wait_min: off}", "cannot be off; give a positive value"},
		{"retry: {max_conns: 3}", "does not belong here but one level up"},
		{"breaker: {failure_ratio: 50%, min_requests: 5, interval: 1s}", `"50%" is not between 0 and 1; write 0.5 for one half`},
		{"breaker: {failure_ratio: 0.5, interval: 1s}", "needs min_requests, so that"},
		{"breaker: {failure_ratio: 0.5, min_requests: 5}", "needs interval, or it is the ratio of all requests ever made"},
		{"breaker: {min_requests: 5}", "means nothing without failure_ratio"},
		{"breaker: {bucket_period: 5s}", "means nothing without interval"},
		{"breaker: {bucket_period: 5s, interval: 1s}", "5s is longer than interval, 1s; lower it"},
		{"breaker: {bucket_period: 1ms, interval: 24h}", "1ms is less than interval, 24h0m0s, divided by 1000; raise it"},
		{"breaker: {statuses: 503}", `is "503"; give a list of statuses such as [502, 503, 504]`},
		{"breaker: {statuses: [99]}", `"99" is no status for this; use one from 100 to 599`},
		{"probe: {every: 10s}", "10s is too short for probes that may take 2m0s; raise it to at least 10m0s, or lower probe.timeout"},
		{"probe: {method: POST}", `"POST" may have effects`},
		{"idle_margin: 6s\n  server_keep_alive: 5s", "6s leaves nothing of server_keep_alive, 5s"},
		{"? [a]\n  : b", "has a key that is a list; give settings such as max_conns: 100"},
		{"colour: red", "is not known; known are extends, server_keep_alive, max_idle_time"},
	} {
		got := wrong(t, "default:\n  "+c.setting+"\n")
		require.Contains(t, got, c.want, c.setting)
		require.NotContains(t, got, "\n", "one mistake, one problem")
	}
}

func TestAMistakeInTheYAMLItselfHasAPlace(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "1:1: is empty; write {} if no policies are meant",
		"# all commented out\n":             "1:1: is empty",
		"---\n":                             "1:1: is empty",
		"default:\n\tmax_conns: 5":          "2:2: is no YAML: found character that cannot start any token",
		"default:\n  max_conns: *five\n":    `2:14: no anchor is called "five"`,
		"[]":                                "1:1: is a list; give default, policies and upstreams",
		"default: [":                        "1:1: is no YAML",
		"default: {}\n---\ndefault: {}\n":   "2:1: begins a second document",
		"default: {}\n---\n\tx\n":           "3:2: is no YAML",
		"default: {}\n? \n: {}\n":           "2:2: has a key that is without a value",
		"policies: {'': {}}":                "1:12: policies: has a policy without a name",
		"upstreams: {'': {}}":               `1:13: upstreams[""]: the pattern is empty`,
		"default: &a {retry: *a}":           "1:14: default.retry.retry: is not known",
		"upstreams: {a: {<<: 5}}":           `1:21: upstreams["a"]: is "5"; give settings`,
		"default: \"\x01\"":                 "1:1: is no YAML: control characters are not allowed",
		"upstreams: {a: {max_conns: &x 0}}": `1:28: upstreams["a"].max_conns: 0 is less than 1`,
	} {
		require.Contains(t, wrong(t, text), want, text)
	}
}

func TestAMistakeInTheYAMLItselfComesWithTheRemedy(t *testing.T) {
	const quotes = "; put patterns in quotes, since * and [ mean something else in YAML"
	for text, want := range map[string]string{
		"upstreams:\n  *.svc.local:\n    hint: on\n":             "2:3: is no YAML: did not find expected alphabetic or numeric character" + quotes,
		"upstreams:\n  a.com: {hint: on}\n  *: {hint: on}\n":     "3:3: is no YAML: did not find expected alphabetic or numeric character" + quotes,
		"upstreams:\n  [::1]:8080:\n    hint: on\n":              "2:3: is no YAML: did not find expected node content" + quotes,
		"upstreams:\n  [2001:db8::1]:8080: {hint: on}\n":         "2:3: is no YAML: did not find expected key" + quotes,
		"policies:\n  a: &x {hint: on}\nupstreams:\n  *:8080:\n": "4:3: is no YAML: did not find expected alphabetic or numeric character" + quotes,
		"upstreams: {*.a.com: {}}\n":                             "1:1: is no YAML: did not find expected alphabetic or numeric character; put text that begins with * or & in quotes",
		"upstreams:\n  *svc:\n    hint: on\n":                    `2:3: no anchor is called "svc"; define it as &svc, or put text that begins with * in quotes`,
		"default:\n\thint: on\n":                                 "2:2: is no YAML: found character that cannot start any token; indent with spaces, not with tabs",
		"default:\n  hint: on\n\tcanary: on\n":                   "3:2: is no YAML: found a tab character that violates indentation; indent with spaces, not with tabs",
		"default:\n  max_conns: 3\n group: x\n":                  "2:3: is no YAML: did not find expected key here or somewhere below; check the indentation",
		"default: {hint: on\nupstreams: {}\n":                    "1:1: is no YAML: did not find expected ',' or '}' here or somewhere below; close every { and [",
		"default:\n  hint: on\n    canary: on\n":                 "3:5: is no YAML: mapping values are not allowed in this context; check the indentation, and put text with a colon in quotes",
		"default:\n  group: @x\n":                                "2:3: is no YAML: found character that cannot start any token; put text with such a character in quotes",
		"default:\n  group: \"x\n":                               "2:3: is no YAML: found unexpected end of stream; close every quote",
		"default:\n  group: \"\x01\"\n":                          "1:1: is no YAML: control characters are not allowed; remove them",
	} {
		require.Equal(t, want, wrong(t, text), text)
	}
}

func TestAContradictionIsReportedWhereItCanBeResolved(t *testing.T) {
	got := wrong(t, `default: {max_conns: 4, retry: {wait_max: 20s}}
policies:
  warm: {min_idle_conns: 5}
upstreams:
  a: {extends: warm}
  b: {min_idle_conns: 6}
  c: {extends: warm, max_conns: 3}
  d: {extends: uvicorn, idle_margin: 5s}
  e: {retry: {wait_min: 30s}}
  f: {extends: uvicorn}
  g: {extends: warm, max_conns: wrong}
`)
	require.Equal(t, strings.TrimSpace(`
3:26: upstreams["a"].min_idle_conns: 5 is more than max_conns allows, 4; lower min_idle_conns or raise max_conns
3:26: upstreams["c"].min_idle_conns: 5 is more than max_conns allows, 3; lower min_idle_conns or raise max_conns
6:23: upstreams["b"].min_idle_conns: 6 is more than max_conns allows, 4; lower min_idle_conns or raise max_conns
8:38: upstreams["d"].idle_margin: 5s leaves nothing of server_keep_alive, 5s, so that no connection would ever be reused; lower it, or set DisableKeepAlives on the Base if that is meant
9:25: upstreams["e"].retry.wait_min: 30s is longer than wait_max, 20s; lower wait_min or raise wait_max
11:33: upstreams["g"].max_conns: "wrong" is no whole number; give one such as 10
`), got)

	got = wrong(t, "default: {min_idle_conns: 5}\nupstreams:\n  a: {max_conns: 3}\n  b: {extends: uvicorn}\n")
	require.Equal(t, `3:18: upstreams["a"].min_idle_conns: 5 is more than max_conns allows, 3; lower min_idle_conns or raise max_conns`, got)

	got = wrong(t, "default: {idle_margin: 3s}\nupstreams:\n  a: {extends: [gunicorn]}\n")
	require.Contains(t, got, `3:17: upstreams["a"].idle_margin: 3s leaves nothing of server_keep_alive, 2s`)
}

// allocated is how many bytes f allocates: a measure of work that no other load of the
// machine changes.
func allocated(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}

func TestAFileOfNonsenseCostsLittle(t *testing.T) {
	for begin, line := range map[string]string{
		"":           "nonsense%d: {max_idle_tame: 5}\n",
		"default:\n": "  max_idle_tame%d: 5\n",
	} {
		cost := func(size int) float64 {
			var text strings.Builder
			text.WriteString(begin)
			for i := 0; text.Len() < size-100; i++ {
				fmt.Fprintf(&text, line, i)
			}
			var got string
			spent := allocated(func() { got = wrong(t, text.String()) })
			require.Len(t, strings.Split(got, "\n"), maxProblems)
			return spent
		}
		require.Less(t, cost(maxSize)/cost(maxSize/4), 5.0, "four times the text")
	}
}

// Each merge doubles what a naive reader would have to look at, which would not end.
func TestMergesOfMergesCostLittle(t *testing.T) {
	var text strings.Builder
	text.WriteString("policies:\n  p0: &p0 {max_conns: 5}\n")
	for i := range 60 {
		fmt.Fprintf(&text, "  p%d: &p%d {<<: [*p%d, *p%d]}\n", i+1, i+1, i, i)
	}
	text.WriteString("default: *p60\n")
	require.Equal(t, 5, parsed(t, text.String()).Default.MaxConns)
}

func TestProblemsAreTheSameEachTime(t *testing.T) {
	const text = "default: {min_idle_conns: 5, max_conns: 3, max_idle_conns: 2}\nupstreams: {a: {}, b: {max_conns: 4}, B: {max_idle_conns: 1}, c: {probe: {evrey: 1, methd: 2}}}\n"
	first := wrong(t, text)
	require.GreaterOrEqual(t, len(strings.Split(first, "\n")), 5)
	for range 50 {
		require.Equal(t, first, wrong(t, text))
	}
	lines := strings.Split(first, "\n")
	slices.Sort(lines)
	require.Len(t, slices.Compact(lines), len(strings.Split(first, "\n")), "nothing is said twice")
}
