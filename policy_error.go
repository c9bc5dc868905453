package idlewise

import (
	"fmt"
	"strings"
)

// A PolicyError is one mistake in Policies. New, SetPolicies and
// Policies.Validate report all of them at once, joined, so that a program that
// read its policies from somewhere can say where each one stands.
type PolicyError struct {
	// Pattern is the key in Policies.Upstreams, or empty for Policies.Default.
	Pattern string

	// Field is that of the Policy, such as "Retry.WaitMin"; empty if it is the
	// pattern that is wrong.
	Field string

	// Message says what is wrong, and the remedy. Other fields are called by
	// their names in Go.
	Message string

	path string // of the policy, as in Error
}

// Error names the field from Policies on.
func (e *PolicyError) Error() string {
	if e.Field == "" {
		return e.path + ": " + e.Message
	}
	return e.path + "." + e.Field + ": " + e.Message
}

// Validate reports every mistake in p that needs no Transport to be found. Each
// is a *PolicyError; errors.Join holds them together.
func (p Policies) Validate() error {
	_, err := p.compile(defaultPolicy)
	return err
}

const defaultPath = "Policies.Default"

func upstreamPath(pattern string) string { return fmt.Sprintf("Policies.Upstreams[%q]", pattern) }

// policyErrors takes the messages apart that a Policy's checks wrote for the
// policy at path: "path.Field: message".
func policyErrors(path, pattern string, mistakes []error) []error {
	errs := make([]error, len(mistakes))
	for i, err := range mistakes {
		field, message, _ := strings.Cut(strings.TrimPrefix(err.Error(), path), ": ")
		errs[i] = &PolicyError{Pattern: pattern, Field: strings.TrimPrefix(field, "."), Message: message, path: path}
	}
	return errs
}
