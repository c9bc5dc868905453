package faultserver

import (
	"context"
	"maps"
	"slices"
)

// operations are what scenarios and the control endpoint can do to a server.
// One that takes time must return soon after its context has ended.
var operations = map[string]func(*Server, context.Context) error{
	"drain":   (*Server).Drain,
	"kill":    func(s *Server, _ context.Context) error { s.Kill(); return nil },
	"restart": func(s *Server, _ context.Context) error { s.Restart(); return nil },
}

// Operations returns the names of what a scenario's phase and the control
// endpoint can do to a server, sorted. Each is the Server's method of that
// name.
func Operations() []string { return slices.Sorted(maps.Keys(operations)) }
