package interop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A failure is provoked in the same way over http.Transport and over idlewise.
type failure struct {
	name    string
	over    []proto // nil: http1
	provoke func(s *side) error
	only    way // "": both

	// remedied says why idlewise succeeds where net/http fails.
	remedied string

	// varies says why a trait, or the text, is not the same from run to run,
	// on either side or on both, and so is not compared.
	varies map[string]string
}

// A way is how the transport is called.
type way string

const (
	byClient    way = "http.Client"
	byRoundTrip way = "RoundTrip"

	theText = "the text's end"
)

// TestAFailureIsTheSameErrorAsWithHTTPTransport holds every failure of the
// tables against both transports.
func TestAFailureIsTheSameErrorAsWithHTTPTransport(t *testing.T) {
	for _, f := range slices.Concat(failuresOfConnections, failuresOfDials, failuresOfTLS, failuresOfHTTP2, failuresInTime, failuresOfMessages) {
		t.Run(f.name, func(t *testing.T) {
			over := f.over
			if over == nil {
				over = []proto{http1}
			}
			for _, p := range over {
				for _, w := range []way{byClient, byRoundTrip} {
					if f.only == "" || f.only == w {
						t.Run(fmt.Sprintf("%s by %s", p, w), func(t *testing.T) { f.compare(t, p, w) })
					}
				}
			}
		})
	}
}

func (f failure) compare(t *testing.T, p proto, w way) {
	theirs := f.provokeOn(t, "net-http", p, w)
	ours := f.provokeOn(t, "idlewise", p, w)
	require.Error(t, theirs, "net/http must fail, or the row proves nothing")
	if f.remedied != "" {
		require.NoError(t, ours, "%s", f.remedied)
		return
	}
	require.Error(t, ours, "idlewise; net/http: %v", theirs)
	t.Logf("net/http: %v", theirs)
	t.Logf("idlewise: %v", ours)

	differ := differences(theirs, ours)
	expected := expectedDifferences(f.name, w)
	for trait, how := range differ {
		if f.varies[trait] == "" && expected[trait] == "" {
			t.Errorf("%s: %s", trait, how)
		}
	}
	for trait, why := range expected {
		if f.varies[trait] == "" && differ[trait] == "" {
			t.Errorf("%s: both agree now; take it out of disagreements_test.go, where it says: %s", trait, why)
		}
	}
}

func (f failure) provokeOn(t *testing.T, name string, p proto, w way) (err error) {
	t.Run(name, func(t *testing.T) {
		s := newSide(t, p, name == "idlewise")
		s.raw = w == byRoundTrip
		err = f.provoke(s)
	})
	return err
}

// differences says by trait how two errors differ.
func differences(theirs, ours error) map[string]string {
	differ := make(map[string]string)
	a, b := traitsOf(theirs), traitsOf(ours)
	for trait := range a {
		if a[trait] != b[trait] {
			differ[trait] = fmt.Sprintf("net/http %q, idlewise %q", a[trait], b[trait])
		}
	}
	if end := words(cause(theirs)); !strings.HasSuffix(words(ours), end) {
		differ[theText] = fmt.Sprintf("net/http %q, idlewise %q", end, words(ours))
	}
	return differ
}

// TestTheListedDisagreementsAreOfKnownFailures keeps the list from naming what
// is never provoked.
func TestTheListedDisagreementsAreOfKnownFailures(t *testing.T) {
	known := make(map[string]bool)
	for _, f := range slices.Concat(failuresOfConnections, failuresOfDials, failuresOfTLS, failuresOfHTTP2, failuresInTime, failuresOfMessages) {
		require.False(t, known[f.name], "%q is there twice", f.name)
		known[f.name] = true
	}
	all := traitsOf(errOwn)
	all[theText] = ""
	for _, d := range slices.Concat(disagreements, deliberate) {
		require.NotEmpty(t, d.why)
		for _, name := range d.failures {
			require.True(t, known[name], name)
		}
		for _, trait := range d.traits {
			require.Contains(t, slices.Sorted(maps.Keys(all)), trait)
		}
	}
}
