package idlewise

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Policies holds a Policy for every upstream: a default one, and others for
// the upstreams that match a pattern.
//
// A pattern is a host with an optional scheme and port: "api.example.com",
// "api.example.com:8443", "https://api.example.com", "[2001:db8::1]:8080". A
// host that begins with "*." matches every name below that domain, at any
// depth, but not the domain itself; "*" alone matches every host. Case does
// not matter, and a name may be given in its Unicode or its ASCII form.
//
// Of the patterns that match an upstream the most specific one wins: first
// the host counts (a full name before the longest wildcard suffix), then
// whether a port is given, then whether a scheme is. Two spellings of one
// pattern are an error.
//
// Requests that go through an HTTP proxy without CONNECT are matched by the
// proxy's own address, since that is the peer whose connections are pooled.
type Policies struct {
	// Default is what the fields left zero in Upstreams mean, and the whole
	// policy of an upstream that no pattern matches.
	Default Policy

	// Upstreams maps patterns to policies.
	Upstreams map[string]Policy
}

// For returns the policy for u with everything inherited and all defaults
// filled in, and the pattern that selected it, empty for the default. Only
// scheme, host and port of u count. An invalid pattern matches nothing.
func (p Policies) For(u *url.URL) (Policy, string) {
	table, _ := p.compile(defaultPolicy)
	return table.find(hostOf(u))
}

// A policyTable is Policies made ready for look-ups. It is immutable.
type policyTable struct {
	fallback Policy
	rules    []policyRule // the most specific first
}

type policyRule struct {
	pattern pattern
	policy  Policy // with everything filled in
}

func (t *policyTable) find(h hostPort) (Policy, string) {
	for i := range t.rules {
		if t.rules[i].pattern.matches(h) {
			return t.rules[i].policy, t.rules[i].pattern.text
		}
	}
	return t.fallback, ""
}

// compile resolves inheritance down from defaults. The table is usable even
// where there are mistakes, all of which are reported.
func (p Policies) compile(defaults Policy) (*policyTable, error) {
	t := &policyTable{fallback: p.Default.inherit(defaults)}
	inherited := t.fallback.contradictions(defaultPath)
	errs := policyErrors(defaultPath, "", append(p.Default.mistakesAlone(defaultPath), inherited...))

	// In sorted order, so that the same mistakes make the same error.
	spelled := make(map[string]string)
	for _, text := range slices.Sorted(maps.Keys(p.Upstreams)) {
		path := upstreamPath(text)
		wrong := func(message string) { errs = append(errs, &PolicyError{Pattern: text, Message: message, path: path}) }
		own := p.Upstreams[text]
		whole := own.inherit(t.fallback)
		mistakes := own.mistakesAlone(path)
		for _, c := range whole.contradictions(path) {
			// The default's is every upstream's that does not resolve it, and
			// one mistake all the same.
			if !slices.ContainsFunc(inherited, func(i error) bool {
				return strings.TrimPrefix(i.Error(), defaultPath) == strings.TrimPrefix(c.Error(), path)
			}) {
				mistakes = append(mistakes, c)
			}
		}
		errs = append(errs, policyErrors(path, text, mistakes)...)
		pat, err := parsePattern(text)
		if err != nil {
			wrong(err.Error())
			continue
		}
		if other, ok := spelled[pat.key()]; ok {
			wrong(fmt.Sprintf("matches exactly what %q matches; remove one of the two", other))
			continue
		}
		spelled[pat.key()] = text
		t.rules = append(t.rules, policyRule{pat, whole})
	}
	slices.SortStableFunc(t.rules, func(a, b policyRule) int {
		return cmp.Compare(b.pattern.specificity(), a.pattern.specificity())
	})
	return t, errors.Join(errs...)
}
