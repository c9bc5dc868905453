package faultserver

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// readable fails unless err names places.
func readable(t *testing.T, err error) {
	t.Helper()
	all := ParseErrors(err)
	if len(all) == 0 {
		t.Fatalf("no ParseError in %v", err)
	}
	for _, e := range all {
		if e.Line < 1 || e.Column < 1 || e.Message == "" {
			t.Fatalf("no place or message: %+v", e)
		}
	}
}

// FuzzScenario: no text makes the parser panic; what it accepts is valid and
// is the same again when it has been written and read.
func FuzzScenario(f *testing.F) {
	for _, name := range Scenarios() {
		text, err := embedded.ReadFile("scenarios/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, false)
	}
	f.Add([]byte("name: a\nserver: {tls: true, protocols: [http2]}\nphases: [{name: b, do: [drain], until: {done: true}, "+
		"faults: [{kind: delay, after: 1s, probability: 0.5}]}]\nrepeat: 2\n"), false)
	f.Add([]byte(`{"name":"a","phases":[{"name":"b","faults":[{"kind":"status","code":503,"value":"1"}]}]}`), true)
	f.Fuzz(func(t *testing.T, text []byte, isJSON bool) {
		name := "f.yaml"
		if isJSON {
			name = "f.json"
		}
		sc, err := ParseScenario(text, name)
		if err != nil {
			readable(t, err)
			return
		}
		if err := sc.Validate(); err != nil {
			t.Fatal(err)
		}
		written, err := sc.Text()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseScenario(written, "again.yaml")
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if !equalScenarios(sc, again) {
			t.Fatalf("%#v\n%#v\n%s", sc, again, written)
		}
	})
}

// equalScenarios takes empty and missing lists for the same.
func equalScenarios(a, b *Scenario) bool {
	var x, y strings.Builder
	for _, each := range []struct {
		sc *Scenario
		to *strings.Builder
	}{{a, &x}, {b, &y}} {
		text, err := each.sc.Text()
		if err != nil {
			return false
		}
		each.to.Write(text)
	}
	return x.String() == y.String() && reflect.DeepEqual(a.Server.Seed, b.Server.Seed)
}

func checkFault(t *testing.T, f Fault) {
	t.Helper()
	if err := f.Validate(); err != nil {
		t.Fatal(err)
	}
	line, err := ParseFault(f.String())
	if err != nil || line != f {
		t.Fatalf("%#v became %#v: %v (%s)", f, line, err, f)
	}
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back Fault
	if err := json.Unmarshal(text, &back); err != nil || back != f {
		t.Fatalf("%#v became %#v: %v (%s)", f, back, err, text)
	}
}

// FuzzHeader does the same for the one-line form.
func FuzzHeader(f *testing.F) {
	for _, text := range []string{
		"fin-after-request executed; kind=delay after=50ms jitter=1s", `surplus-bytes value="a\r\n\t;"`, "status code=503",
		"reset-stream code=CANCEL reused_only probability=0.5", `silent-close header="X-A: 1" path=/a*`, ";;", `"`, "=", "a==b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := ParseFaults(text)
		if err != nil {
			readable(t, err)
		}
		own, ownErr := parseHeaderFaults(text, 1, onHTTP1, func(Fault) error { return nil })
		switch {
		case ownErr != nil:
			readable(t, ownErr)
			return
		case err != nil:
			t.Fatalf("a header takes what is refused elsewhere: %v", err)
		case !reflect.DeepEqual(own, faults):
			t.Fatalf("%v and %v", own, faults)
		}
		for _, f := range faults {
			checkFault(t, f)
		}
	})
}

// FuzzControl does the same for the bodies of control requests.
func FuzzControl(f *testing.F) {
	f.Add([]byte(`[{"kind":"status","code":503},{"kind":"delay","after":"5s"}]`), uint8(jsonForm))
	f.Add([]byte(`{"kind":"reset-stream","code":"CANCEL","probability":1e-3}`), uint8(jsonForm))
	f.Add([]byte("- kind: surplus-bytes\n  value: \"\\x41\\u00e9\"\n"), uint8(yamlForm))
	f.Add([]byte("fin-after-request executed\n"), uint8(oneLineForm))
	f.Fuzz(func(t *testing.T, text []byte, form uint8) {
		faults, err := parseControlFaults(text, bodyForm(form%3), nil)
		if err != nil {
			readable(t, err)
		} else {
			for _, f := range faults {
				checkFault(t, f)
			}
		}
		if form%3 == uint8(oneLineForm) {
			return
		}
		if sc, err := parseControlScenario(text, bodyForm(form%3), nil); err == nil {
			if err := sc.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
