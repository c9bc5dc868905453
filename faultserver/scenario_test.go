package faultserver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

const everything = `name: everything
description: every field once
server:
  personality: nginx
  time_scale: 10
  idle_timeout: 5s
  keep_alive: timeout=5
  max_requests_per_conn: 7
  tls: true
  protocols: [http1, http2]
  max_concurrent_streams: 3
  seed: 17
scale_times: true
faults:
  - {kind: delay, after: 50ms, jitter: 10ms}
phases:
  - name: one
    do: drain
    duration: 1m30s
    until: {requests: 3, connections: 2, done: true}
    faults:
      - kind: fin-after-request
        nth: 2
        reused_only: true
        idle_at_least: 1s
        probability: 0.25
        method: POST
        path: /charge*
        header: "X-A: 1"
        executed: true
      - {kind: reset-stream, code: REFUSED_STREAM, nth_on_conn: 2, times: 3}
      - {kind: close-after-requests, requests: 3, announced: true}
      - {kind: close-in-body, bytes: 12}
      - {kind: status, code: 503, value: "5"}
  - name: two
    do: [restart, kill]
    until: {done: true}
repeat: 2
`

func TestAScenarioIsReadFromYAML(t *testing.T) {
	sc, err := faultserver.ParseScenario([]byte(everything), "everything.yaml")
	require.NoError(t, err)
	require.Equal(t, &faultserver.Scenario{
		Name: "everything", Description: "every field once",
		Server: faultserver.ScenarioServer{
			Personality: "nginx", TimeScale: 10, IdleTimeout: 5 * time.Second, KeepAlive: "timeout=5", MaxRequestsPerConn: 7,
			TLS: true, Protocols: []string{"http1", "http2"}, MaxConcurrentStreams: 3, Seed: 17,
		},
		ScaleTimes: true,
		Faults:     []faultserver.Fault{{Kind: faultserver.Delay, After: 50 * time.Millisecond, Jitter: 10 * time.Millisecond}},
		Phases: []faultserver.ScenarioPhase{{
			Name: "one", Do: []string{"drain"}, Duration: 90 * time.Second,
			Until: faultserver.ScenarioEnd{Requests: 3, Connections: 2, Done: true},
			Faults: []faultserver.Fault{
				{Kind: faultserver.FinAfterRequest, Nth: 2, ReusedOnly: true, IdleAtLeast: time.Second, Probability: 0.25,
					Method: "POST", Path: "/charge*", Header: "X-A: 1", Executed: true},
				{Kind: faultserver.ResetStream, Code: 7, NthOnConn: 2, Times: 3},
				{Kind: faultserver.CloseAfterRequests, Requests: 3, Announced: true},
				{Kind: faultserver.CloseInBody, Bytes: 12},
				{Kind: faultserver.Status, Code: 503, Value: "5"},
			},
		}, {
			Name: "two", Do: []string{"restart", "kill"}, Until: faultserver.ScenarioEnd{Done: true},
		}},
		Repeat: 2,
	}, sc)

	text, err := sc.Text()
	require.NoError(t, err)
	again, err := faultserver.ParseScenario(text, "again.yaml")
	require.NoError(t, err, "%s", text)
	require.Equal(t, sc, again)
}

func TestAScenarioIsReadFromJSON(t *testing.T) {
	sc, err := faultserver.ParseScenario([]byte(`{"name": "j", "phases": [
		{"name": "a", "duration": "5s", "faults": [{"kind": "reset-stream", "code": "CANCEL", "nth": 2}]}]}`), "j.json")
	require.NoError(t, err)
	require.Equal(t, faultserver.Fault{Kind: faultserver.ResetStream, Code: 8, Nth: 2}, sc.Phases[0].Faults[0])
}

func TestTheManualsScenarioHasEveryField(t *testing.T) {
	manual, err := os.ReadFile("SCENARIOS.md")
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(manual), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	sc, err := faultserver.ParseScenario([]byte(text), "SCENARIOS.md")
	require.NoError(t, err)
	for _, v := range []any{*sc, sc.Server, sc.Phases[0], sc.Phases[0].Until} {
		for i := range reflect.TypeOf(v).NumField() {
			if name := reflect.TypeOf(v).Field(i).Name; name != "Forever" { // which contradicts Repeat
				require.False(t, reflect.ValueOf(v).Field(i).IsZero(), name)
			}
		}
	}
}

func TestEveryMistakeInAScenarioIsReportedWithItsPlace(t *testing.T) {
	_, err := faultserver.ParseScenario([]byte(`name: mistakes
server:
  personality: uvicron
  protocols: [http2, spdy]
  time_scale: -1
phases:
  - name: first
    do: drian
    fualts: []
  - name: second
    duration: 5
    faults:
      - kind: fin-after-requst
        after: 5s
      - kind: status
        code: 503
        code: 504
      - kind: idle-close
        reused_only: yes
        nth: 1.5
      - kind: delay
        after: 0
        method: [GET]
      - kind: reset-stream
        code: REFUSED
        nth_on_conn: 1
        reused_only: true
        bytes: 3
  - name: third
repeat: 3
`), "mistakes.yaml")
	require.Equal(t, strings.TrimSpace(`
mistakes.yaml:3:16: server.personality: unknown server "uvicron"; did you mean uvicorn?
mistakes.yaml:4:15: server.protocols[0]: http2 needs tls: true; without TLS it is h2c
mistakes.yaml:4:22: server.protocols[1]: unknown protocol "spdy"; known: h2c, http1, http2
mistakes.yaml:5:15: server.time_scale: -1 is not a factor above 0
mistakes.yaml:8:9: phases[0].do[0]: unknown operation "drian"; did you mean drain?
mistakes.yaml:9:5: phases[0].fualts: unknown field "fualts"; did you mean faults?
mistakes.yaml:11:15: phases[1].duration: "5" is not a duration, such as 5s, 250ms or 1m30s
mistakes.yaml:13:15: phases[1].faults[0].kind: unknown kind of fault "fin-after-requst"; did you mean fin-after-request?
mistakes.yaml:17:9: phases[1].faults[1].code: is there twice, first in line 16
mistakes.yaml:18:9: phases[1].faults[2].after: idle-close needs it
mistakes.yaml:19:22: phases[1].faults[2].reused_only: "yes" is neither true nor false
mistakes.yaml:20:14: phases[1].faults[2].nth: "1.5" is not a whole number
mistakes.yaml:22:16: phases[1].faults[3].after: delay needs it
mistakes.yaml:23:17: phases[1].faults[3].method: is a list where a single value belongs
mistakes.yaml:25:15: phases[1].faults[4].code: unknown code "REFUSED"; did you mean REFUSED_STREAM?
mistakes.yaml:27:22: phases[1].faults[4].reused_only: contradicts nth_on_conn 1: a connection's first request is not on a reused one
mistakes.yaml:28:16: phases[1].faults[4].bytes: reset-stream does not use it
mistakes.yaml:29:5: phases[2]: never ends, so that nothing is repeated: give it a duration or until
`), err.Error())
	require.Equal(t, "phases[1].faults[4].bytes", faultserver.ParseErrors(err)[16].Field)
}

func TestAScenarioThatCanNeverEndIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\nphases:\n  - name: stuck\n  - name: never-reached\n":                 `a.yaml:3:5: phases[0]: never ends, so that "never-reached" never begins: give it a duration or until`,
		"name: a\nphases: [{name: b, duration: 1s}]\nrepeat: -1\n":                     `a.yaml:3:9: repeat: -1 would never end: to repeat without end, say forever: true`,
		"name: a\nphases: [{name: b}]\nforever: true\n":                                `a.yaml:2:10: phases[0]: never ends, so that nothing is repeated`,
		"name: a\nphases: [{name: b, do: kill, until: {done: true}}]\nforever: true\n": `a.yaml:3:10: forever: no phase takes any time`,
		"name: a\nforever: true\n":                                                     `a.yaml:2:10: forever: there are no phases to repeat`,
		"name: a\nphases: [{name: b, until: {done: true}}, {name: c}]\n":               `a.yaml:2:34: phases[0].until.done: there is nothing to be done`,
	} {
		_, err := faultserver.ParseScenario([]byte(text), "a.yaml")
		require.ErrorContains(t, err, want)
	}
	_, err := faultserver.New(faultserver.Config{Scenario: &faultserver.Scenario{Name: "a", Forever: true}})
	require.ErrorContains(t, err, "Config.Scenario: scenario a: forever: there are no phases")
}

func TestATextThatIsNoScenarioIsRefusedWithItsPlace(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a.yaml", "", "a.yaml:1:1: is empty"},
		{"a.yaml", "# nothing\n", "a.yaml:1:1: is empty"},
		{"a.yaml", "name: a\n  b: [\n", "a.yaml:2:3: mapping values"},
		{"a.yaml", "- a\n", "a.yaml:1:1: is a list where fields"},
		{"a.yaml", "name: a\n---\nname: b\n", "a.yaml:2:1: a second document"},
		{"a.yaml", "name: &x a\ndescription: *x\n", "a.yaml:1:7: name: anchors are not supported"},
		{"a.yaml", "name: !!str a\n", "tags such as !!str are not supported"},
		{"a.yaml", "name:\n", "is empty: give it a value or leave it out"},
		{"a.yaml", "name: a\nphases:\n  - b\n", "a.yaml:3:5: phases[0]: is a single value where fields"},
		{"a.yaml", "name: a\nrepeat: \"3\"\n", "leave the quotes out"},
		{"a.yaml", "description: x\n", "a.yaml:1:1: name: is missing"},
		{"a.yaml", "name: a\nphases: [{duration: 1s}]\n", "phases[0].name: is missing"},
		{"a.yaml", "name: a\nrepeat: 99999999999999999999\n", "is out of range"},
		{"a.yaml", "name: &x a\ndescription: *x\n", "a.yaml:2:14: description: aliases are not supported"},
		{"a.yaml", "name: a\nx: " + strings.Repeat("[", 50) + strings.Repeat("]", 50), "a.yaml:2:36: is nested too deep"},
		{"a.json", "{\"name\": \"a\",\n  \"repeat\": }", "a.json:2:13: "},
		{"a.json", "{\"name\": \"a\"", "a.json:1:13: ends too early"},
		{"a.json", "{\"name\": \"a\"} {}", "a.json:1:15: there is more"},
		{"a.json", " ", "is empty"},
		{"a.json", strings.Repeat("[", 1000), "is nested too deep"},
		{"a.json", "{\"name\": \"a\",\n \"repat\": 3}", `a.json:2:2: repat: unknown field "repat"; did you mean repeat?`},
		{"a.yaml", strings.Repeat("#", 2<<20), "is larger than"},
	} {
		_, err := faultserver.ParseScenario([]byte(test.text), test.name)
		require.ErrorContains(t, err, test.want, "%.40q", test.text)
	}
}

func TestATextThatIsSomethingElseIsNotReportedWithoutEnd(t *testing.T) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "field%d: 1\n", i)
	}
	_, err := faultserver.ParseScenario([]byte(text.String()), "a.yaml")
	all := faultserver.ParseErrors(err)
	require.Len(t, all, 50)
	require.Equal(t, "a.yaml:50:1: too many mistakes; those behind this one are not reported", all[49].Error())
}

func TestEveryEmbeddedScenarioIsValidAndNamedAsItsFile(t *testing.T) {
	require.Contains(t, faultserver.Scenarios(), "uvicorn-five-seconds")
	for _, name := range faultserver.Scenarios() {
		sc, err := faultserver.LoadScenario(name)
		require.NoError(t, err)
		require.Equal(t, name, sc.Name)
		require.NotEmpty(t, sc.Description)
	}
}

func TestAScenarioIsLoadedByNameFileOrFileSystem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	require.NoError(t, os.WriteFile(file, []byte(everything), 0o600))
	sc, err := faultserver.LoadScenario(file)
	require.NoError(t, err)
	require.Equal(t, "everything", sc.Name)
	_, err = faultserver.LoadScenarioFS(fstest.MapFS{"a.yaml": {Data: []byte("name: 1\nx: 1")}}, "a.yaml")
	require.ErrorContains(t, err, `a.yaml:2:1: x: unknown field "x"`)
	_, err = faultserver.LoadScenario("uvicorn-six-seconds")
	require.ErrorContains(t, err, "did you mean uvicorn-five-seconds?")
	_, err = faultserver.LoadScenario("missing.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
}
