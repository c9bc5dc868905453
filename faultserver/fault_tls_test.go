package faultserver_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

func withTLS(t *testing.T, faults ...faultserver.Fault) *faultserver.Server {
	t.Helper()
	return faultserver.Start(t, faultserver.Config{TLS: true, Faults: faults})
}

// ended waits until the journal has the end of the first connection.
func ended(t *testing.T, s *faultserver.Server) faultserver.ConnRecord {
	t.Helper()
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		all := s.Journal().Conns()
		return len(all) > 0 && all[0].ClosedBy != faultserver.StillOpen
	}))
	return s.Journal().Conns()[0]
}

// wantStruck checks a connection that a fault ended before it had a request.
func wantStruck(t *testing.T, s *faultserver.Server, by faultserver.ClosedBy, k faultserver.Kind) {
	t.Helper()
	row := ended(t, s)
	require.Equal(t, by, row.ClosedBy)
	require.Equal(t, faultserver.FaultStruck, row.Reason)
	require.Equal(t, k, row.Fault)
	require.Equal(t, []faultserver.Kind{k}, row.Faults)
	require.Zero(t, row.Requests)
	require.Empty(t, row.Proto)
}

func TestARefusedHandshakeIsAFatalAlert(t *testing.T) {
	for _, test := range []struct{ code, alert uint32 }{{0, 40}, {80, 80}} {
		s := withTLS(t, faultserver.Fault{Kind: faultserver.TLSRefused, Code: test.code})
		_, tap, err := dialTLS(t, s)
		require.ErrorContains(t, err, "remote error: tls: ")
		_, err = io.ReadAll(tap)
		require.NoError(t, err, "a FIN")
		require.Equal(t, []byte{alertRecord, 3, 3, 0, 2, 2, byte(test.alert)}, tap.bytes())
		wantStruck(t, s, faultserver.ServerFIN, faultserver.TLSRefused)
	}
}

func TestAClientHelloIsAnsweredInClear(t *testing.T) {
	for value, want := range map[string]string{
		"": "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "220 mail ESMTP\r\n": "220 mail ESMTP\r\n",
	} {
		s := withTLS(t, faultserver.Fault{Kind: faultserver.TLSPlaintext, Value: value})
		_, tap, err := dialTLS(t, s)
		var header tls.RecordHeaderError
		require.ErrorAs(t, err, &header)
		_, err = io.ReadAll(tap)
		require.NoError(t, err, "a FIN")
		require.Equal(t, want, string(tap.bytes()))
		wantStruck(t, s, faultserver.ServerFIN, faultserver.TLSPlaintext)
	}
}

func TestAClientThatSpeaksInClearIsRefusedTheSameWay(t *testing.T) {
	s := withTLS(t, faultserver.Fault{Kind: faultserver.TLSRefused})
	tap := dialTap(t, s)
	_, err := io.WriteString(tap, "GET /")
	require.NoError(t, err)
	_, err = io.ReadAll(tap)
	require.NoError(t, err)
	require.Equal(t, []byte{alertRecord, 3, 3, 0, 2, 2, 40}, tap.bytes())
}

func TestAStalledHandshakeSaysNothingUntilTheClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{})
		ln, err := network.Listen("server:443")
		require.NoError(t, err)
		s := faultserver.Start(t, faultserver.Config{TLS: true, Listener: ln, Faults: []faultserver.Fault{
			{Kind: faultserver.TLSStalled, Nth: 1}, {Kind: faultserver.TLSStalled, Nth: 2, After: time.Minute},
		}})
		dial := func() *wiretap {
			nc, err := network.DialContext(t.Context(), "tcp", "server:443")
			require.NoError(t, err)
			return &wiretap{Conn: nc}
		}
		tap := dial()
		tap.SetDeadline(time.Now().Add(time.Hour))
		err = tls.Client(tap, s.TLSClientConfig()).Handshake()
		require.ErrorContains(t, err, "timeout")
		require.Empty(t, tap.bytes())
		require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy)
		tap.Close()
		synctest.Wait()
		wantStruck(t, s, faultserver.ByClient, faultserver.TLSStalled)

		since := time.Now()
		c := tls.Client(dial(), s.TLSClientConfig())
		require.NoError(t, c.Handshake())
		require.Equal(t, time.Minute, time.Since(since))
		raw := &rawConn{Conn: c, t: t, br: bufio.NewReader(c)}
		raw.wantAlive()
		c.Close()
		require.NoError(t, s.Close())
	})
}

func TestAHandshakeIsCutInItsMiddle(t *testing.T) {
	for _, n := range []int64{0, 1, 5, 200} {
		s := withTLS(t, faultserver.Fault{Kind: faultserver.TLSCut, Bytes: n})
		_, tap, err := dialTLS(t, s)
		require.ErrorContains(t, err, "EOF") // an unexpected one if a record was begun
		got := tap.bytes()
		if n > 0 {
			require.Len(t, got, int(n))
		} else {
			require.Greater(t, len(got), 100)
		}
		if len(got) > 0 {
			require.EqualValues(t, handshakeRecord, got[0])
		}
		wantStruck(t, s, faultserver.ServerFIN, faultserver.TLSCut)
	}
}

func TestACutBeyondTheHandshakeDoesNothing(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{
		TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.TLSCut, Bytes: 10_000}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 20_000)) }),
	})
	c, _ := mustDialTLS(t, s)
	_, body := c.get("/")
	require.Len(t, body, 20_000)
	require.Equal(t, faultserver.StillOpen, onlyConn(t, s).ClosedBy)
}

func TestACertificateIsWrong(t *testing.T) {
	for _, test := range []struct {
		fault faultserver.Fault
		check func(t *testing.T, err error)
	}{
		{faultserver.Fault{Kind: faultserver.CertificateWrongName}, func(t *testing.T, err error) {
			var wrong x509.HostnameError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, []string{"wrong-name.invalid"}, wrong.Certificate.DNSNames)
		}},
		{faultserver.Fault{Kind: faultserver.CertificateWrongName, Value: "db.internal"}, func(t *testing.T, err error) {
			var wrong x509.HostnameError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, []string{"db.internal"}, wrong.Certificate.DNSNames)
		}},
		{faultserver.Fault{Kind: faultserver.CertificateExpired}, func(t *testing.T, err error) {
			var invalid x509.CertificateInvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, x509.Expired, invalid.Reason)
		}},
		{faultserver.Fault{Kind: faultserver.CertificateUnknownAuthority}, func(t *testing.T, err error) {
			var unknown x509.UnknownAuthorityError
			require.ErrorAs(t, err, &unknown)
		}},
	} {
		t.Run(test.fault.Kind.String(), func(t *testing.T) {
			s := withTLS(t, test.fault)
			_, _, err := dialTLS(t, s)
			test.check(t, err)
			wantStruck(t, s, faultserver.ByClient, test.fault.Kind)

			// Whoever does not look at certificates is served.
			c, _ := mustDialTLS(t, s, func(cfg *tls.Config) { cfg.InsecureSkipVerify = true })
			c.wantAlive()
		})
	}
}

func TestOnlyTheFlawOfACertificateIsWrong(t *testing.T) {
	for _, k := range []faultserver.Kind{faultserver.CertificateWrongName, faultserver.CertificateExpired} {
		s := withTLS(t, faultserver.Fault{Kind: k, Value: map[bool]string{true: "other.test"}[k == faultserver.CertificateWrongName]})
		c, _ := mustDialTLS(t, s, func(cfg *tls.Config) {
			if k == faultserver.CertificateWrongName {
				cfg.ServerName = "other.test"
			} else {
				cfg.Time = func() time.Time { return time.Date(1990, 1, 1, 12, 0, 0, 0, time.UTC) }
			}
		})
		c.wantAlive()
	}
}

func TestAHandshakeFaultStrikesTheNthConnectionOnly(t *testing.T) {
	s := withTLS(t, faultserver.Fault{Kind: faultserver.CertificateExpired, Nth: 2})
	for n := 1; n <= 3; n++ {
		_, _, err := dialTLS(t, s)
		require.Equal(t, n == 2, err != nil, "connection %d: %v", n, err)
	}
}

func TestAHandshakeFaultRespectsTheUsersOwnChoiceOfConfiguration(t *testing.T) {
	mine := withTLS(t).TLSClientConfig() // of this process's certificate
	own := faultserver.Config{TLS: true, Faults: []faultserver.Fault{{Kind: faultserver.ALPNMissing, Nth: 2}}}
	inner := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("mine") }}
	own.TLSConfig = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "refused.test" {
			return nil, errors.New("mine too")
		}
		return inner, nil
	}}
	s := faultserver.Start(t, own)
	for _, name := range []string{"localhost", "localhost", "refused.test"} {
		_, _, err := dialTLS(t, s, func(cfg *tls.Config) { cfg.RootCAs, cfg.ServerName = mine.RootCAs, name })
		require.ErrorContains(t, err, "internal error")
	}
}

func TestALPNIsRefused(t *testing.T) {
	s := withTLS(t, faultserver.Fault{Kind: faultserver.ALPNRefused})
	_, tap, err := dialTLS(t, s, offers("h2", "http/1.1"))
	require.ErrorContains(t, err, "no application protocol")
	require.Equal(t, []byte{alertRecord, 3, 3, 0, 2, 2, 120}, tap.bytes())
	wantStruck(t, s, faultserver.ServerFIN, faultserver.ALPNRefused)
	c, _ := mustDialTLS(t, s)
	c.wantAlive()
}

func TestALPNIsMissing(t *testing.T) {
	s := withTLS(t, faultserver.Fault{Kind: faultserver.ALPNMissing})
	c, _ := mustDialTLS(t, s, offers("h2", "http/1.1"))
	require.Empty(t, c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol)
	c.wantAlive()
	require.Equal(t, "HTTP/1.1", onlyConn(t, s).Proto)
	require.Equal(t, []faultserver.Kind{faultserver.ALPNMissing}, onlyConn(t, s).Faults)
}

func TestALPNAgreesOnOneProtocolAndTheServerSpeaksTheOther(t *testing.T) {
	s := withTLS(t, faultserver.Fault{Kind: faultserver.ALPNMismatch})
	c, _ := mustDialTLS(t, s, offers("h2"))
	require.Equal(t, "h2", c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol)
	c.send(h2.ClientPreface)
	c.wantBytes("HTTP/1.1 505 HTTP Version Not Supported\r\n")
	require.Empty(t, s.Journal().Requests())

	c, _ = mustDialTLS(t, s, offers("http/1.1"))
	require.Equal(t, "http/1.1", c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol)
	c.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	f, err := h2.NewFramer(nil, c.br).ReadFrame()
	require.NoError(t, err)
	require.IsType(t, &h2.SettingsFrame{}, f)
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
		return s.Journal().Conns()[1].Reason == faultserver.ProtocolError
	}))
}

func TestASessionIsNotResumed(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := withTLS(t)
		cache := tls.NewLRUClientSessionCache(0)
		dial := func() (*rawConn, *wiretap, error) {
			return dialTLS(t, s, resumes(cache), func(cfg *tls.Config) { cfg.MaxVersion = version })
		}
		resumed := func() bool {
			c, _, err := dial()
			require.NoError(t, err)
			c.wantAlive() // and reads the ticket
			return c.Conn.(*tls.Conn).ConnectionState().DidResume
		}
		require.False(t, resumed())
		require.True(t, resumed(), "without a fault")

		remove := s.Inject(faultserver.Fault{Kind: faultserver.ResumptionForgotten})
		require.False(t, resumed())
		remove()
		require.True(t, resumed(), "a ticket of a connection that was struck is as good as any")

		before := len(s.Journal().Conns())
		remove = s.Inject(faultserver.Fault{Kind: faultserver.ResumptionRefused})
		_, tap, err := dial()
		require.ErrorContains(t, err, "handshake failure")
		require.Equal(t, []byte{alertRecord, 3, 3, 0, 2, 2, 40}, tap.bytes())
		require.NoError(t, s.Journal().Wait(t.Context(), func() bool {
			return s.Journal().Conns()[before].Fault == faultserver.ResumptionRefused
		}))
		cache = tls.NewLRUClientSessionCache(0)
		require.False(t, resumed(), "who offers none is served")
		remove()
		require.True(t, resumed())
	}
}
