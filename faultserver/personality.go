package faultserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// announcement is when a server sends a Keep-Alive header.
type announcement uint8

const (
	never announcement = iota
	always
	ifAsked // only to requests that carry Connection: keep-alive
)

// personality is how a named server treats idle HTTP connections by default.
type personality struct {
	idle     time.Duration // 0: never closes
	late     time.Duration // its timer fires up to this much later
	told     time.Duration // the timeout in its Keep-Alive header
	announce announcement
	counts   bool // the header counts down max=
	requests int  // per connection; 0: no limit
	age      time.Duration
	how      closeHow
}

// personalities are the defaults of the servers people meet, read from their
// sources and documentation or measured.
var personalities = map[string]personality{
	"alb":       {idle: 60 * time.Second},
	"apache":    {idle: 5 * time.Second, told: 5 * time.Second, announce: ifAsked, counts: true, requests: 100, how: closeLinger},
	"caddy":     {idle: 5 * time.Minute},
	"envoy":     {idle: time.Hour},
	"falcon":    {},
	"gcp":       {idle: 610 * time.Second},
	"go":        {},
	"gunicorn":  {idle: 2 * time.Second, late: time.Second}, // looks at its connections once a second
	"hypercorn": {idle: 5 * time.Second, requests: 1000},
	"iis":       {idle: 120 * time.Second},
	"jetty":     {idle: 30 * time.Second},
	"kestrel":   {idle: 130 * time.Second},
	"nginx":     {idle: 75 * time.Second, requests: 1000, age: time.Hour},
	"node":      {idle: 6030 * time.Millisecond, told: 5 * time.Second, announce: always}, // measured, 20.20
	"puma":      {idle: 65 * time.Second, requests: 999},
	"tomcat":    {idle: 60 * time.Second, told: 60 * time.Second, announce: ifAsked, requests: 100},
	"undertow":  {idle: 60 * time.Second},
	"uvicorn":   {idle: 5 * time.Second},
}

// Personalities returns the names that Config.Personality knows, sorted.
func Personalities() []string { return slices.Sorted(maps.Keys(personalities)) }

func personalityByName(name string) (personality, error) {
	if name == "" {
		return personality{}, nil
	}
	p, ok := personalities[name]
	if !ok {
		return p, fmt.Errorf("unknown server %q; known: %s", name, strings.Join(Personalities(), ", "))
	}
	return p, nil
}

// scaled lets the personality's times pass faster by the factor. The announced
// timeout is kept true: it is in whole seconds, so that one under a second is
// not announced at all.
func (p personality) scaled(factor float64) personality {
	if factor == 1 {
		return p
	}
	for _, d := range []*time.Duration{&p.idle, &p.late, &p.told, &p.age} {
		*d = time.Duration(float64(*d) / factor)
	}
	return p
}

// keepAlive is the value of the Keep-Alive header for the nth response of a
// connection, or "" for none.
func (p personality) keepAlive(nth int, asked bool) string {
	seconds := int64(p.told / time.Second)
	if p.announce == never || p.announce == ifAsked && !asked || seconds < 1 {
		return ""
	}
	value := fmt.Sprintf("timeout=%d", seconds)
	if p.counts && p.requests > 0 {
		value += fmt.Sprintf(", max=%d", p.requests-nth)
	}
	return value
}
