package policyfile

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"go.yaml.in/yaml/v3"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/internal/nearest"
)

type (
	checkFunc   = func(ctx context.Context, resp *http.Response, err error) (bool, error)
	backoffFunc = func(min, max time.Duration, attempt int, resp *http.Response) time.Duration
)

// own is the name of what idlewise does where nothing is set. Written out it can
// replace what is inherited, which is why it is no nil function.
const own = "idlewise"

var checks = map[string]checkFunc{
	own:                idlewise.DefaultCheckRetry,
	"default":          retryablehttp.DefaultRetryPolicy,
	"error-propagated": retryablehttp.ErrorPropagatedRetryPolicy,
}

var backoffs = map[string]backoffFunc{
	own:                        idlewise.DefaultBackoff,
	"default":                  retryablehttp.DefaultBackoff,
	"linear-jitter":            retryablehttp.LinearJitterBackoff,
	"rate-limit-linear-jitter": retryablehttp.RateLimitLinearJitterBackoff,
}

func readCheck(r *reader, n *yaml.Node, path string) func(*draft) {
	if target(n).Kind == yaml.SequenceNode {
		statuses, ok := r.statuses(n, path, 400)
		if !ok {
			return nil
		}
		check := onStatuses(statuses)
		return func(d *draft) { d.Retry.CheckRetry = check }
	}
	check, ok := named(r, n, path, checks, "a list of statuses such as [502, 503, 504], or ")
	if !ok {
		return nil
	}
	return func(d *draft) { d.Retry.CheckRetry = check }
}

func readBackoff(r *reader, n *yaml.Node, path string) func(*draft) {
	backoff, ok := named(r, n, path, backoffs, "")
	if !ok {
		return nil
	}
	return func(d *draft) { d.Retry.Backoff = backoff }
}

// named reads the name of a function; others is what may stand in its place.
func named[F any](r *reader, n *yaml.Node, path string, known map[string]F, others string) (F, bool) {
	names := slices.Sorted(maps.Keys(known))
	want := others + "one of " + strings.Join(names, ", ")
	name, ok := r.word(n, path, want)
	if !ok {
		return *new(F), false
	}
	f, ok := known[name]
	if !ok {
		if near := nearest.Name(name, names); near != "" {
			want = near + ", or " + want
		}
		r.add(posOf(n), path, "%q is not known here; give %s", shortened(name), want)
	}
	return f, ok
}

// onStatuses retries responses with the given statuses, and the errors that
// idlewise itself would.
func onStatuses(statuses []int) checkFunc {
	return func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		if err != nil || ctx.Err() != nil {
			return idlewise.DefaultCheckRetry(ctx, resp, err)
		}
		return slices.Contains(statuses, resp.StatusCode), nil
	}
}
