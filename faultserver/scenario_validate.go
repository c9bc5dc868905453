package faultserver

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
)

// Validate reports every mistake, each with its field's name as it is in texts,
// such as phases[1].faults[0].after.
func (sc *Scenario) Validate() error {
	var errs []error
	for _, e := range fieldErrors(sc.problems()) {
		errs = append(errs, fmt.Errorf("%s: %s", e.path, e.inText()))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("scenario %s: %w", sc.Name, err)
	}
	return nil
}

func (sc *Scenario) problems() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, &fieldError{path, format, args}) }
	faults := func(path string, list []Fault) {
		for i, f := range list {
			for _, e := range fieldErrors(f.Validate()) {
				bad(join(fmt.Sprintf("%s[%d]", path, i), snakeCase(e.path)), "%s", e.inText())
			}
		}
	}
	sc.Server.validate(bad)
	faults("faults", sc.Faults)
	for i := range sc.Phases {
		path := fmt.Sprintf("phases[%d]", i)
		sc.Phases[i].validate(path, bad)
		faults(path+".faults", sc.Phases[i].Faults)
		if i < len(sc.Phases)-1 && !sc.Phases[i].ends() {
			bad(path, "never ends, so that %q never begins: give it a duration or until", sc.Phases[i+1].Name)
		}
	}
	sc.validateRepeat(bad)
	return errors.Join(errs...)
}

func (sc *Scenario) validateRepeat(bad func(string, string, ...any)) {
	switch {
	case sc.Repeat < 0:
		bad("repeat", "%d would never end: to repeat without end, say forever: true", sc.Repeat)
	case sc.Repeat > 0 && sc.Forever:
		bad("repeat", "%d contradicts forever", sc.Repeat)
	}
	if sc.Repeat < 2 && !sc.Forever {
		return
	}
	field := "repeat"
	if sc.Forever {
		field = "forever"
	}
	if len(sc.Phases) == 0 {
		bad(field, "there are no phases to repeat")
		return
	}
	if last := len(sc.Phases) - 1; !sc.Phases[last].ends() {
		bad(fmt.Sprintf("phases[%d]", last), "never ends, so that nothing is repeated: give it a duration or until")
		return
	}
	takesTime := false
	for _, ph := range sc.Phases {
		takesTime = takesTime || ph.Duration > 0 || ph.Until.Requests > 0 || ph.Until.Connections > 0
	}
	if !takesTime {
		bad(field, "no phase takes any time: give one a duration, until.requests or until.connections")
	}
}

func (ph *ScenarioPhase) ends() bool { return ph.Duration > 0 || ph.Until != ScenarioEnd{} }

func (ph *ScenarioPhase) validate(path string, bad func(string, string, ...any)) {
	if strings.TrimSpace(ph.Name) == "" {
		bad(path+".name", "is missing")
	}
	if ph.Duration < 0 {
		bad(path+".duration", "%v is negative", ph.Duration)
	}
	if ph.Until.Requests < 0 {
		bad(path+".until.requests", "%d is negative", ph.Until.Requests)
	}
	if ph.Until.Connections < 0 {
		bad(path+".until.connections", "%d is negative", ph.Until.Connections)
	}
	if ph.Until.Done && len(ph.Do) == 0 {
		bad(path+".until.done", "there is nothing to be done: give the phase a do")
	}
	for i, name := range ph.Do {
		if _, ok := operations[name]; !ok {
			bad(fmt.Sprintf("%s.do[%d]", path, i), "%v", unknownName("operation", name, Operations()))
		}
	}
}

func (set *ScenarioServer) validate(bad func(string, string, ...any)) {
	if _, err := personalityByName(set.Personality); err != nil {
		bad("server.personality", "%v", unknownName("server", set.Personality, Personalities()))
	}
	if set.TimeScale < 0 || math.IsNaN(set.TimeScale) || math.IsInf(set.TimeScale, 0) {
		bad("server.time_scale", "%v is not a factor above 0", set.TimeScale)
	}
	if strings.ContainsAny(set.KeepAlive, "\r\n") {
		bad("server.keep_alive", "%q: a header's value has no line breaks", set.KeepAlive)
	}
	for i, name := range set.Protocols {
		at := fmt.Sprintf("server.protocols[%d]", i)
		switch {
		case name != "http1" && name != "http2" && name != "h2c":
			bad(at, "%v", unknownName("protocol", name, []string{"http1", "http2", "h2c"}))
		case name == "http2" && !set.TLS:
			bad(at, "http2 needs tls: true; without TLS it is h2c")
		case name == "h2c" && set.TLS:
			bad(at, "h2c is HTTP/2 without TLS, but tls is true")
		}
	}
}

// protocols is nil if none are named.
func (set *ScenarioServer) protocols() *http.Protocols {
	if len(set.Protocols) == 0 {
		return nil
	}
	p := new(http.Protocols)
	for _, name := range set.Protocols {
		switch name {
		case "http1":
			p.SetHTTP1(true)
		case "http2":
			p.SetHTTP2(true)
		case "h2c":
			p.SetUnencryptedHTTP2(true)
		}
	}
	return p
}
