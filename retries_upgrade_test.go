package idlewise

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// shoutingBack is a handler that answers everything with 101 and gives back what it
// gets then.
func shoutingBack(w http.ResponseWriter, _ *http.Request) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
	io.Copy(nc, rw)
}

// requireShout talks to shoutingBack.
func requireShout(t *testing.T, resp *http.Response) {
	t.Helper()
	_, err := io.WriteString(resp.Body.(io.Writer), "hello\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
}

func TestAnUpgradedConnectionIsTheProgramsWhateverCheckRetrySays(t *testing.T) {
	for _, again := range []bool{true, false} {
		r := Retry{Max: 1, CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return again, errBroken }}
		inRetryingWorld(t, http.HandlerFunc(shoutingBack), r, func(t *testing.T, w *world) {
			resp, err := w.tr.RoundTrip(request(t, "GET", w.url("/"), nil))
			require.NoError(t, err)
			defer resp.Body.Close()
			requireShout(t, resp)
		})
	}
}

func TestAnUpgradedConnectionKeepsNoContext(t *testing.T) {
	for i, p := range []Policy{
		{},
		{Retry: Retry{Max: 1}},
		{Retry: Retry{PerTryTimeout: time.Second}},
		{BodyIdleTimeout: time.Second},
		{BodyIdleTimeout: time.Second, Retry: Retry{Max: 1, PerTryTimeout: time.Second}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			cfg := worldConfig{server: faultserver.Config{Handler: http.HandlerFunc(shoutingBack)}, client: Config{Policies: Policies{Default: p}}}
			inWorld(t, cfg, func(t *testing.T, w *world) {
				parent, cancel := context.WithCancel(t.Context())
				ctx := &countingContext{Context: parent}
				resp, err := w.tr.RoundTrip(request(t, "GET", w.url("/"), nil).WithContext(ctx))
				require.NoError(t, err)
				time.Sleep(time.Minute)
				require.Zero(t, ctx.children.Load())
				requireShout(t, resp)
				cancel()
				time.Sleep(time.Minute)
				requireShout(t, resp)
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}
