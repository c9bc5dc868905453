package faultserver

import "time"

// PersonalityDescription is what is known, and imitated, of a server. Times are
// those of life, before Config.TimeScale.
type PersonalityDescription struct {
	Name    string   // for Config.Personality
	Aliases []string // other names for it
	Text    string   // what it is

	IdleTimeout      time.Duration // 0: none
	IdleTimeoutHTTP2 time.Duration // 0: none
	Late             time.Duration // its timer fires up to this much later
	PingResets       string        // the idle timer: "yes", "no", "not known", which is treated as no, or "no HTTP/2", which the server named does not speak
	KeepAlive        string        // the Keep-Alive header of a first response, "" for none
	KeepAliveIf      string        // "always", "asked": only to requests with Connection: keep-alive, or ""
	MaxRequests      int           // per connection; 0: no limit
	MaxAge           time.Duration // of a connection; 0: no limit
	HeadTimeout      time.Duration // for a request's head, from its first byte; 0: none
	Says408          bool          // when HeadTimeout has passed, before it closes
	Close            string        // when idle for too long: "fin", "linger", "rst", "drop-rst" or "drop-silent"
	Shutdown         string        // what Server.Drain and Server.Restart imitate
	Source           string        // of all this
}

// DescribePersonality describes the personality of that name or alias. An
// unknown name is an error that lists the known ones.
func DescribePersonality(name string) (PersonalityDescription, error) {
	p, err := personalityByName(name)
	if err != nil {
		return PersonalityDescription{}, err
	}
	if name == "" {
		p.text = "No named server: no timeouts, no limits."
		p.shutdown = "graceful: idle connections closed at once, fresh ones get a second, busy ones answer with Connection: close; HTTP/2 GOAWAY in two steps"
	}
	return PersonalityDescription{
		Name: p.name, Aliases: append([]string(nil), p.aliases...), Text: p.text,
		IdleTimeout: p.idle, IdleTimeoutHTTP2: p.idleLimit(onHTTP2), Late: p.late,
		PingResets: [...]string{"not known", "no", "yes", "no HTTP/2"}[p.ping],
		KeepAlive:  p.keepAlive(1, true), KeepAliveIf: [...]string{"", "always", "asked"}[p.announce],
		MaxRequests: p.requests, MaxAge: p.age, HeadTimeout: p.head, Says408: p.says408,
		Close: p.closeStyle(), Shutdown: p.shutdown, Source: p.source,
	}, nil
}

func (p *personality) closeStyle() string {
	switch {
	case p.drop == dropReset:
		return "drop-rst"
	case p.drop == dropSilent:
		return "drop-silent"
	case p.how == closeRST:
		return "rst"
	case p.how == closeLinger:
		return "linger"
	}
	return "fin"
}
