package faultserver

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

var errResumptionRefused = errors.New("faultserver: resumption is refused by a fault")

// withFaults chooses the configuration of one handshake: the given one as the
// faults that struck the connection have changed it. It is chosen here, not
// given to tls.Server, so that all connections share the keys of the session
// tickets.
func withFaults(given *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	choose := given.GetConfigForClient
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var chosen *tls.Config
		if choose != nil {
			var err error
			if chosen, err = choose(hello); err != nil {
				return nil, err
			}
		}
		under, ok := hello.Conn.(*handshakeConn)
		if !ok || len(under.c.struck) == 0 {
			return chosen, nil
		}
		cfg := cmp.Or(chosen, given).Clone()
		return cfg, spoil(cfg, under)
	}
}

// spoil changes a configuration as the connection's faults say.
func spoil(cfg *tls.Config, under *handshakeConn) error {
	p := under.c.struck
	if f, ok := p.get(CertificateWrongName, CertificateExpired, CertificateUnknownAuthority); ok {
		cert, err := faultyCertificate(f)
		if err != nil {
			return fmt.Errorf("faultserver: %v: %w", f.Kind, err)
		}
		cfg.Certificates, cfg.GetCertificate = []tls.Certificate{cert}, nil
		cfg.UnwrapSession = forgetSession // a resumed session shows no certificate
	}
	if f, ok := p.get(ALPNRefused, ALPNMissing); ok {
		cfg.NextProtos = nil
		if f.Kind == ALPNRefused {
			cfg.NextProtos = []string{"none-that-you-know"}
		}
	}
	if p.has(ResumptionForgotten) {
		cfg.UnwrapSession = forgetSession
	}
	if p.has(ResumptionRefused) {
		cfg.UnwrapSession = func(ticket []byte, _ tls.ConnectionState) (*tls.SessionState, error) {
			if len(ticket) == 0 { // before TLS 1.3 that asks for one
				return nil, nil
			}
			writeAlert(under.Conn, alertHandshakeFailure) // crypto/tls would send none
			return nil, errResumptionRefused
		}
	}
	return nil
}

// forgetSession makes the handshake a full one.
func forgetSession([]byte, tls.ConnectionState) (*tls.SessionState, error) { return nil, nil }

// faultyCertificate makes a certificate with one flaw.
func faultyCertificate(f Fault) (tls.Certificate, error) {
	authority, err := generatedCertificate()
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	good := authority.Leaf
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: f.Kind.String(), Organization: []string{"faultserver"}},
		NotBefore:    good.NotBefore,
		NotAfter:     good.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  good.ExtKeyUsage,
		DNSNames:     good.DNSNames,
		IPAddresses:  good.IPAddresses,
	}
	parent, signer := good, authority.PrivateKey
	switch f.Kind {
	case CertificateWrongName:
		template.DNSNames, template.IPAddresses = []string{cmp.Or(f.Value, "wrong-name.invalid")}, nil
	case CertificateExpired:
		// Before the clock of testing/synctest begins, too.
		template.NotAfter = good.NotBefore.Add(24 * time.Hour)
	case CertificateUnknownAuthority:
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
