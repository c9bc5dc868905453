package trial

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/idlewise/idlewise/faultserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var finOnce = faultserver.Fault{Kind: faultserver.FinAfterRequest, Times: 1}

// post sends POSTs by rt, each a call of the program.
func post(r *Run, rt http.RoundTripper, times int) {
	client := &http.Client{Transport: r.Watch(rt)}
	for range times {
		r.Do("post", func() error {
			resp, err := client.Post(r.Server.URL, "text/plain", strings.NewReader("body"))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
	}
	client.CloseIdleConnections()
}

func pair(t *testing.T, theirs, ours faultserver.Config) (*Run, *Run) {
	var runs []*Run
	for _, cfg := range []faultserver.Config{theirs, ours} {
		r, err := Start("a transport", cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		runs = append(runs, r)
	}
	return runs[0], runs[1]
}

func TestAReportPassesWhereOnlyTheirsSawTheFaults(t *testing.T) {
	theirs, ours := pair(t, faultserver.Config{Faults: []faultserver.Fault{finOnce}},
		faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.Delay, After: 1e6}}})
	post(theirs, &http.Transport{}, 1)
	post(ours, &http.Transport{}, 1)
	var out bytes.Buffer
	if err := Report(&out, theirs, ours); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`The SDK saw "EOF" once`, `struck by "delay" once`, "The program got: post: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestAReportSaysWhatDoesNotHold(t *testing.T) {
	theirs, ours := pair(t, faultserver.Config{}, faultserver.Config{Faults: []faultserver.Fault{finOnce}})
	post(theirs, &http.Transport{}, 1)
	post(ours, &http.Transport{}, 2)
	ours.Watch(nothing{}).RoundTrip(nil) // an attempt more
	err := Report(io.Discard, theirs, ours)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"saw no error", "1 and 2 calls", "1 calls failed on idlewise", `saw "EOF" once`, "3 attempts for 2 calls"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestAReportOfNoFaultsIsAnError(t *testing.T) {
	theirs, ours := pair(t, faultserver.Config{}, faultserver.Config{})
	if err := Report(io.Discard, theirs, ours); err == nil || !strings.Contains(err.Error(), "proves nothing") {
		t.Errorf("got %v", err)
	}
}

func TestCompareReturnsWhatKeptARunFromItsCalls(t *testing.T) {
	theirs, ours := pair(t, faultserver.Config{}, faultserver.Config{})
	broken := errors.New("no credentials")
	err := Compare(io.Discard, theirs, ours, func(r *Run) error {
		if r == ours {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type nothing struct{}

func (nothing) RoundTrip(*http.Request) (*http.Response, error) { return nil, nil }
