package faultserver

import (
	"context"
	"maps"
	"slices"
)

// operations are what scenarios and the control endpoint can do to a server.
// One that takes time must return soon after its context has ended.
var operations = map[string]func(*Server, context.Context) error{
	"crash":            func(s *Server, _ context.Context) error { return s.Crash() },
	"drain":            (*Server).Drain,
	"kill":             func(s *Server, _ context.Context) error { s.Kill(); return nil },
	"pause":            func(s *Server, _ context.Context) error { s.Pause(); return nil },
	"restart":          func(s *Server, _ context.Context) error { s.Restart(); return nil },
	"restart-abruptly": func(s *Server, ctx context.Context) error { return s.RestartAbruptly(ctx, 0) },
	"resume":           func(s *Server, _ context.Context) error { return s.Resume() },
	"stop":             (*Server).Stop,
	"vanish":           func(s *Server, _ context.Context) error { return s.Vanish() },
}

// Operations returns the names of what a scenario's phase and the control
// endpoint can do to a server, sorted. Each is the Server's method of that
// name, restart-abruptly without a gap.
func Operations() []string { return slices.Sorted(maps.Keys(operations)) }
