package browsertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/debugpage"
	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A system is a Transport with one server behind all names, in memory, and its
// page.
type system struct {
	*testing.T
	transport *idlewise.Transport
	server    *faultserver.Server
	url       string // the page's
}

func newSystem(t *testing.T, handler http.Handler, policies idlewise.Policies) *system {
	t.Helper()
	const addr = "10.0.0.1:80"
	network := memnet.New(memnet.Options{})
	listener, err := network.Listen(addr)
	require.NoError(t, err)
	server, err := faultserver.New(faultserver.Config{Listener: listener, Handler: handler})
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	transport, err := idlewise.New(idlewise.Config{
		Policies: policies,
		Base: &http.Transport{DialContext: func(ctx context.Context, network_, _ string) (net.Conn, error) {
			return network.DialContext(ctx, network_, addr)
		}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { transport.Close() })
	mux := http.NewServeMux()
	mux.Handle("/debug/idlewise", debugpage.Handler(transport, debugpage.WithTitle("test")))
	page := httptest.NewServer(mux)
	t.Cleanup(page.Close)
	return &system{t, transport, server, page.URL + "/debug/idlewise"}
}

// get sends n requests to the host, one after the other.
func (s *system) get(host string, n int) {
	s.Helper()
	for range n {
		req, err := http.NewRequest("GET", "http://"+host+"/", nil)
		require.NoError(s, err)
		resp, err := s.transport.RoundTrip(req)
		require.NoError(s, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// connect opens n connections to the host and leaves them idle.
func (s *system) connect(host string, n int, meet *meeting) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { s.get(host, 1) })
	}
	for range n {
		<-meet.arrived
	}
	close(meet.leave)
	wg.Wait()
	stats := s.transport.Stats()
	require.Len(s, stats.Upstreams, 1)
	require.Equal(s, n, stats.Upstreams[0].Idle)
}

// A meeting is a handler that answers when it is told to.
type meeting struct{ arrived, leave chan struct{} }

func newMeeting(n int) *meeting { return &meeting{make(chan struct{}, n), make(chan struct{})} }

func (m *meeting) ServeHTTP(http.ResponseWriter, *http.Request) {
	m.arrived <- struct{}{}
	<-m.leave
}

func service(i int) string { return fmt.Sprintf("service-%04d.example", i) }
