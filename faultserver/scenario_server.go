package faultserver

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// configure fills what is zero in cfg with the scenario's settings. Those of a
// scenario that is not valid are left alone: their mistakes are reported once,
// as the scenario's.
func (sc *Scenario) configure(cfg *Config) {
	if sc == nil || sc.Validate() != nil {
		return
	}
	set := &sc.Server
	fill := func(to, from any) {
		if v := reflect.ValueOf(to).Elem(); v.IsZero() {
			v.Set(reflect.ValueOf(from))
		}
	}
	fill(&cfg.Personality, set.Personality)
	fill(&cfg.TimeScale, set.TimeScale)
	fill(&cfg.IdleTimeout, set.IdleTimeout)
	fill(&cfg.KeepAlive, set.KeepAlive)
	fill(&cfg.MaxRequestsPerConn, set.MaxRequestsPerConn)
	fill(&cfg.MaxConcurrentStreams, set.MaxConcurrentStreams)
	fill(&cfg.Seed, set.Seed)
	fill(&cfg.TLS, set.TLS)
	fill(&cfg.Protocols, set.protocols())
}

// Validate reports what New would refuse, every mistake by its field's name,
// without listening.
func (cfg Config) Validate() error {
	cfg.Scenario.configure(&cfg)
	if err := cfg.validate(); err != nil {
		return err
	}
	_, err := cfg.settings()
	return err
}

// settingsOf is what a server is set up with, as a scenario would say it.
func settingsOf(cfg *Config) ScenarioServer {
	return ScenarioServer{
		Personality: cfg.Personality, TimeScale: cfg.TimeScale, IdleTimeout: cfg.IdleTimeout, KeepAlive: cfg.KeepAlive,
		MaxRequestsPerConn: cfg.MaxRequestsPerConn, TLS: cfg.TLS, Protocols: protocolNames(cfg.Protocols),
		MaxConcurrentStreams: cfg.MaxConcurrentStreams, Seed: cfg.Seed,
	}
}

func protocolNames(p *http.Protocols) []string {
	var names []string
	if p == nil {
		return nil
	}
	for _, each := range []struct {
		on   bool
		name string
	}{{p.HTTP1(), "http1"}, {p.HTTP2(), "http2"}, {p.UnencryptedHTTP2(), "h2c"}} {
		if each.on {
			names = append(names, each.name)
		}
	}
	return names
}

// playable reports settings that the scenario asks for and that a server which
// runs already, with others, can no longer make. What the server's Config set
// itself was meant to differ. The seed can be set at any time.
func (set *ScenarioServer) playable(runs, configured ScenarioServer) error {
	var missing []string
	want, has, own := reflect.ValueOf(*set), reflect.ValueOf(runs), reflect.ValueOf(configured)
	for i := range want.NumField() {
		name := want.Type().Field(i).Name
		if name == "Seed" || isZero(want.Field(i)) || !isZero(own.Field(i)) {
			continue
		}
		asked, given := want.Field(i).Interface(), has.Field(i).Interface()
		if name == "Protocols" {
			asked, given = sorted(asked.([]string)), sorted(given.([]string))
		}
		if !reflect.DeepEqual(asked, given) {
			missing = append(missing, fmt.Sprintf("server.%s: %v", snakeCase(name), want.Field(i)))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("it needs a server that was started with %s: start one with Config.Scenario", strings.Join(missing, ", "))
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
