package interop

import "slices"

// A disagreement is something by which a program tells idlewise's error from
// net/http's for the same failure. Each is asserted, so that mending it makes
// the test fail until its row is taken out.
type disagreement struct {
	failures []string
	only     way // "": both
	traits   []string
	why      string
}

// Groups of failures, by how *idlewise.Error comes in.
var (
	// Not repeated, or repeated in vain; the cause is a bare io.EOF.
	judgedEOF = []string{
		"the server ends a reused connection, POST",
		"the server ends a reused connection, PUT that cannot be repeated",
	}
	// The same over HTTP/2, where the cause is a bare io.ErrUnexpectedEOF.
	judgedUnexpectedEOF = []string{
		"closed without GOAWAY, reused connection, POST",
	}
	// The cause says so in its text only.
	judgedText = []string{
		"GOAWAY with INTERNAL_ERROR, reused connection, POST",
		"the PING is not answered, reused, POST",
	}
	// net/http, too, would repeat the request, but for its body.
	unrepeatable = []string{
		"GOAWAY below a stream whose body cannot be repeated",
		"stream refused, body that cannot be repeated",
	}
	// The dial for the resend failed.
	undialed        = []string{"the server ends a reused connection and the next dial times out, GET"}
	refusedInTheEnd = []string{"the server resets a reused connection and refuses the next, GET"}
)

const ownTimeout = "*idlewise.Error has the methods Timeout and Temporary whatever its cause has, so that \"no\" takes the place of \"unknown\"; *url.Error, which http.Client puts around it, has them always"

// disagreements are what should be mended.
var disagreements = []disagreement{
	{
		failures: judgedEOF,
		traits:   []string{"is itself io.EOF, without *url.Error", "Kubernetes IsProbableEOF"},
		why:      "IsProbableEOF (apimachinery/pkg/util/net/http.go) compares the *url.Error's cause with == and does not ask errors.Is",
	},
	{
		failures: judgedUnexpectedEOF,
		traits:   []string{"is itself io.ErrUnexpectedEOF, without *url.Error", "Kubernetes IsProbableEOF"},
		why:      "IsProbableEOF (apimachinery/pkg/util/net/http.go) compares the *url.Error's cause with == and does not ask errors.Is",
	},
	{
		failures: slices.Concat(judgedEOF, judgedUnexpectedEOF, judgedText, unrepeatable),
		only:     byRoundTrip,
		traits:   []string{"its own Timeout()", "as net.Error", "AWS DefaultTimeouts", "AWS DefaultTimeouts, from its client"},
		why:      ownTimeout,
	},
	{
		failures: undialed,
		traits:   []string{"connect code"},
		why:      "connect-go asks errors.Is for io.EOF before anything else, and finds the first attempt's",
	},
	{
		failures: refusedInTheEnd,
		traits:   []string{"connect code"},
		why:      "connect-go asks errors.Is for ECONNRESET, and finds the first attempt's",
	},
}

// deliberate are those that are meant.
var deliberate = []disagreement{
	{
		failures: undialed,
		traits:   []string{"is io.EOF"},
		why:      "the causes of all attempts match, so that a program can see that a stale connection was at the beginning of it",
	},
	{
		failures: refusedInTheEnd,
		traits:   []string{"is ECONNRESET"},
		why:      "the causes of all attempts match",
	},
	{
		failures: append(unrepeatable, "stream reset with PROTOCOL_ERROR, body that cannot be repeated"),
		traits:   []string{theText},
		why:      "net/http's text puts the cause into brackets and goes on with its own advice; idlewise has given the same advice and ends in the cause",
	},
}

// expectedDifferences returns the listed ones of a failure, by trait.
func expectedDifferences(name string, w way) map[string]string {
	expected := make(map[string]string)
	for _, d := range slices.Concat(disagreements, deliberate) {
		if (d.only == "" || d.only == w) && slices.Contains(d.failures, name) {
			for _, trait := range d.traits {
				expected[trait] = d.why
			}
		}
	}
	return expected
}
