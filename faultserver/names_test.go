package faultserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/idlewise/idlewise/faultserver"
)

// ask puts one question to the resolver's name server, as bytes.
func askName(t *testing.T, s *faultserver.Server, network, name string, kind dnsmessage.Type) dnsmessage.Message {
	t.Helper()
	nc, err := s.Resolver().Dial(t.Context(), network, "192.0.2.53:53")
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := query.Pack()
	require.NoError(t, err)
	_, err = nc.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
	require.NoError(t, err)
	var size [2]byte
	_, err = io.ReadFull(nc, size[:])
	require.NoError(t, err)
	b = make([]byte, int(size[0])<<8|int(size[1]))
	_, err = io.ReadFull(nc, b)
	require.NoError(t, err)
	var reply dnsmessage.Message
	require.NoError(t, reply.Unpack(b))
	require.EqualValues(t, 4711, reply.ID)
	require.True(t, reply.Response)
	return reply
}

func lookup(t *testing.T, s *faultserver.Server, host string) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.Resolver().LookupHost(ctx, host)
}

// through returns a client that resolves names at the server.
func through(t *testing.T, s *faultserver.Server) *http.Client {
	tr := &http.Transport{DialContext: (&net.Dialer{Resolver: s.Resolver()}).DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func urlOf(s *faultserver.Server, host string) string {
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return "http://" + net.JoinHostPort(host, port) + "/"
}

func fetch(t *testing.T, client *http.Client, url string) {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
}

func TestEveryNameStandsForTheServerUntilTold(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	fetch(t, through(t, s), urlOf(s, "api.example.test"))
	lookups := s.Journal().Lookups()
	require.NotEmpty(t, lookups)
	for _, l := range lookups {
		require.True(t, strings.HasPrefix(l.Name, "api.example.test"), l.Name) // or with a search domain
		switch l.Type {
		case "A":
			require.Equal(t, []string{"127.0.0.1"}, l.Addresses)
			require.Equal(t, "answered", l.Outcome)
		case "AAAA":
			require.Equal(t, "empty", l.Outcome)
		}
	}
}

func TestANameHasSeveralAddressesOfBothFamilies(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Names: map[string][]string{
		"Many.Example.test": {"192.0.2.1", "192.0.2.2", "2001:db8::1"}, "none.example.test": {},
	}})
	hosts, err := lookup(t, s, "many.example.test")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}, hosts)
	a := askName(t, s, "udp", "many.example.test.", dnsmessage.TypeA)
	require.Len(t, a.Answers, 2)
	require.Equal(t, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}, a.Answers[0].Body)
	none := askName(t, s, "udp", "none.example.test.", dnsmessage.TypeA)
	require.Equal(t, dnsmessage.RCodeSuccess, none.RCode)
	require.Empty(t, none.Answers)
	require.Equal(t, dnsmessage.RCodeNameError, askName(t, s, "udp", "other.example.test.", dnsmessage.TypeA).RCode)

	require.NoError(t, s.SetNames(map[string][]string{"*": {"192.0.2.9"}}))
	hosts, err = lookup(t, s, "other.example.test")
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.9"}, hosts)
}

func TestANameIsItselfWithASearchDomainBehindItWhateverAnyOtherIs(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Names: map[string][]string{
		"db": {"192.0.2.1"}, "db.eu": {"192.0.2.2"}, "db.us.test": {"192.0.2.3"}, "*": {"192.0.2.9"},
	}})
	ask := func(name string) (last byte) {
		reply := askName(t, s, "udp", name, dnsmessage.TypeA)
		require.Len(t, reply.Answers, 1, name)
		return reply.Answers[0].Body.(*dnsmessage.AResource).A[3]
	}
	for name, want := range map[string]byte{
		"db.": 1, "db.corp.example.": 1, "db.eu.": 2, "db.eu.corp.example.": 2, "db.us.test.": 3,
		"mydb.": 9, "mydb.corp.example.": 9, "eu.db.": 9, "corp.example.": 9,
	} {
		require.Equal(t, want, ask(name), name)
	}
	require.NoError(t, s.SetNames(map[string][]string{"db": {"192.0.2.1"}}))
	require.Equal(t, dnsmessage.RCodeNameError, askName(t, s, "udp", "db.corp.example.", dnsmessage.TypeA).RCode,
		"then Go asks for the name alone")
}

func TestTheAddressSetChangesWhileConnectionsLive(t *testing.T) {
	s := onTwo(t)
	require.NoError(t, s.SetNames(map[string][]string{"api.example.test": {"127.0.0.1"}}))
	client, url := through(t, s), urlOf(s, "api.example.test")
	fetch(t, client, url)
	require.NoError(t, s.SetNames(map[string][]string{"api.example.test": {"127.0.0.2"}}))
	fetch(t, client, url)
	require.Equal(t, 2, onlyConn(t, s).Requests, "the connection lives on")
	client.CloseIdleConnections()
	fetch(t, client, url)
	conns := s.Journal().Conns()
	require.Len(t, conns, 2)
	require.True(t, strings.HasPrefix(conns[1].LocalAddr, "127.0.0.2:"))
}

func TestADialerPassesOverADeadAddress(t *testing.T) {
	s := onTwo(t)
	require.NoError(t, s.SetNames(map[string][]string{"api.example.test": {"127.0.0.2", "127.0.0.1"}}))
	s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections, Value: "127.0.0.2"})
	fetch(t, through(t, s), urlOf(s, "api.example.test"))
	require.True(t, strings.HasPrefix(onlyConn(t, s).LocalAddr, "127.0.0.1:"))
}

func TestNamesFailAsTold(t *testing.T) {
	for _, c := range []struct {
		kind    faultserver.Kind
		code    dnsmessage.RCode
		outcome string
		check   func(*net.DNSError) bool
	}{
		{faultserver.LookupNXDomain, dnsmessage.RCodeNameError, "nxdomain", func(e *net.DNSError) bool { return e.IsNotFound }},
		{faultserver.LookupServFail, dnsmessage.RCodeServerFailure, "servfail", func(e *net.DNSError) bool { return e.IsTemporary }},
		{faultserver.LookupEmpty, dnsmessage.RCodeSuccess, "empty", func(e *net.DNSError) bool { return e.IsNotFound }},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			s := faultserver.Start(t, faultserver.Config{})
			remove := s.Inject(faultserver.Fault{Kind: c.kind, Value: "bad.example.test"})
			reply := askName(t, s, "udp", "bad.example.test.", dnsmessage.TypeA)
			require.Equal(t, c.code, reply.RCode)
			require.Empty(t, reply.Answers)
			searched := askName(t, s, "udp", "bad.example.test.corp.example.", dnsmessage.TypeA)
			require.Equal(t, c.code, searched.RCode, "whatever search domains this machine has")
			first := s.Journal().Lookups()[0]
			require.Equal(t, c.outcome, first.Outcome)
			require.Equal(t, []faultserver.Kind{c.kind}, first.Faults)

			_, err := lookup(t, s, "bad.example.test")
			var dns *net.DNSError
			require.ErrorAs(t, err, &dns)
			require.True(t, c.check(dns), "%+v", dns)
			_, err = lookup(t, s, "good.example.test")
			require.NoError(t, err)
			remove()
			_, err = lookup(t, s, "bad.example.test")
			require.NoError(t, err)
		})
	}
}

func TestAnswersAreCutOffOverUDPOnly(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Faults: []faultserver.Fault{{Kind: faultserver.LookupTruncated}}})
	cut := askName(t, s, "udp", "api.example.test.", dnsmessage.TypeA)
	require.True(t, cut.Truncated)
	require.Empty(t, cut.Answers)
	whole := askName(t, s, "tcp", "api.example.test.", dnsmessage.TypeA)
	require.False(t, whole.Truncated)
	require.Len(t, whole.Answers, 1)
	hosts, err := lookup(t, s, "api.example.test")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1"}, hosts)
}

func TestALongAnswerIsCutOffByItself(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("192.0.2.%d", i+1))
	}
	s := faultserver.Start(t, faultserver.Config{Names: map[string][]string{"many.example.test": many}})
	require.True(t, askName(t, s, "udp", "many.example.test.", dnsmessage.TypeA).Truncated)
	hosts, err := lookup(t, s, "many.example.test")
	require.NoError(t, err)
	require.ElementsMatch(t, many, hosts)
}

func TestWrongAnswersLeadElsewhere(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	s.Inject(faultserver.Fault{Kind: faultserver.LookupWrong, Value: "api.example.test=192.0.2.7, 192.0.2.8"})
	hosts, err := lookup(t, s, "api.example.test")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"192.0.2.7", "192.0.2.8"}, hosts)
	hosts, err = lookup(t, s, "other.example.test")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1"}, hosts)
}

func TestAnAnswerThatIsLateOrNeverComesEndsWithTheContext(t *testing.T) {
	for _, f := range []faultserver.Fault{
		{Kind: faultserver.LookupSilence}, {Kind: faultserver.LookupDelay, After: time.Hour},
	} {
		t.Run(f.Kind.String(), func(t *testing.T) {
			s := faultserver.Start(t, faultserver.Config{})
			remove := s.Inject(f)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				_, err := s.Resolver().LookupIPAddr(ctx, "api.example.test") // LookupHost waits for its own timeouts
				ended <- err
			}()
			require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return len(s.Journal().Lookups()) > 0 }))
			cancel()
			require.Error(t, <-ended)
			remove()
			_, err := lookup(t, s, "api.example.test")
			require.NoError(t, err)
		})
	}
}

func TestNamesThatAreMistakesChangeNothing(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Names: map[string][]string{"a.example.test": {"192.0.2.1"}}})
	require.ErrorContains(t, s.SetNames(map[string][]string{"a.example.test": {"nowhere"}}), `"a.example.test": "nowhere"`)
	require.ErrorContains(t, s.SetNames(map[string][]string{"": nil}), "empty")
	hosts, err := lookup(t, s, "a.example.test")
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.1"}, hosts)
	require.NoError(t, s.SetNames(nil))
	hosts, err = lookup(t, s, "a.example.test")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1"}, hosts)
	_, err = faultserver.New(faultserver.Config{Names: map[string][]string{"a": {"nowhere"}}})
	require.ErrorContains(t, err, "Config.Names")
}

func TestLookupsFailOnceTheServerIsClosed(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	s.Inject(faultserver.Fault{Kind: faultserver.LookupSilence})
	nc, err := s.Resolver().Dial(t.Context(), "udp", "")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = nc.Read(make([]byte, 1))
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe))
	_, err = lookup(t, s, "a.example.test")
	require.Error(t, err)
}
