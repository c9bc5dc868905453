package faultserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// generatedCertificate makes the certificate of this process. It is valid
// from before any virtual clock begins (testing/synctest starts in 2000) until
// long after.
var generatedCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"faultserver"}},
		NotBefore:             time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
})

// serverTLS completes the user's configuration, or makes one.
func serverTLS(given *tls.Config, http1, http2 bool) (*tls.Config, error) {
	cfg := &tls.Config{}
	if given != nil {
		cfg = given.Clone()
	} else {
		cert, err := generatedCertificate()
		if err != nil {
			return nil, fmt.Errorf("faultserver: generate a certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	if len(cfg.NextProtos) == 0 {
		if http2 {
			cfg.NextProtos = append(cfg.NextProtos, "h2")
		}
		if http1 {
			cfg.NextProtos = append(cfg.NextProtos, "http/1.1")
		}
	}
	cfg.GetConfigForClient = withFaults(cfg)
	return cfg, nil
}

// clientTLS returns a configuration that trusts the server's first certificate
// under whatever address the server is reached. A server that chooses its
// certificates by function cannot be asked for them: then nothing is verified.
func clientTLS(server *tls.Config) *tls.Config {
	if len(server.Certificates) == 0 || len(server.Certificates[0].Certificate) == 0 {
		return &tls.Config{InsecureSkipVerify: true}
	}
	leaf, err := x509.ParseCertificate(server.Certificates[0].Certificate[0])
	if err != nil {
		return &tls.Config{InsecureSkipVerify: true}
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AddCert(leaf)
	if len(leaf.DNSNames) > 0 {
		cfg.ServerName = leaf.DNSNames[0]
	}
	return cfg
}

// CertificatePEM returns the server's certificate chain in PEM, for a client
// that reads what it trusts from a file. Without TLS, and if the server's own
// configuration chooses certificates by function, it is nil.
func (s *Server) CertificatePEM() []byte {
	if s.set.tls == nil || len(s.set.tls.Certificates) == 0 {
		return nil
	}
	var chain []byte
	for _, der := range s.set.tls.Certificates[0].Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return chain
}
