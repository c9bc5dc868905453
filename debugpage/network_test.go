package debugpage

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// A network has one server behind all names.
type network struct {
	*testing.T
	memory *memnet.Network
	server *faultserver.Server
}

const serverAddr = "10.0.0.1:80"

func newNetwork(t *testing.T) *network { return newNetworkWith(t, faultserver.Config{}) }

func newNetworkWith(t *testing.T, cfg faultserver.Config) *network {
	n := &network{T: t, memory: memnet.New(memnet.Options{})}
	var err error
	cfg.Listener, err = n.memory.Listen(serverAddr)
	require.NoError(t, err)
	n.server, err = faultserver.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { n.server.Close() })
	return n
}

func (n *network) base() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.memory.DialContext(ctx, network, serverAddr)
	}}
}

func newTransport(t *testing.T, cfg idlewise.Config) *idlewise.Transport {
	transport, err := idlewise.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { transport.Close() })
	return transport
}

// get sends requests one after the other.
func (n *network) get(transport *idlewise.Transport, host string, times int) {
	n.Helper()
	for range times {
		req, err := http.NewRequest("GET", "http://"+host+"/", nil)
		require.NoError(n, err)
		resp, err := transport.RoundTrip(req)
		require.NoError(n, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// closeOnReuse has the server close the next connection that is used again.
func (n *network) closeOnReuse() {
	n.server.Inject(faultserver.Fault{Kind: faultserver.CloseOnReuse, Times: 1})
}
