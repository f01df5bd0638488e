// Package transport tests how callers reach a node: over TLS, with certificates, and with how many calls at once.
package transport

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

// authority signs certificates.
type authority struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	folder string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, folder: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	a.cert = a.sign(template, template, a.key)
	a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// path is that of a file of the authority's.
func (a *authority) path(name string) string { return filepath.Join(a.folder, name) }

// write replaces a file in one step.
func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	a.writeText(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) writeText(name string, text []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name+".new"), text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(a.path(name+".new"), a.path(name)); err != nil {
		a.t.Fatal(err)
	}
}

// issue signs a certificate with this common name and these DNS names, and writes NAME.pem and NAME.key.
func (a *authority) issue(name string, serial int64, usage x509.ExtKeyUsage, names ...string) {
	a.t.Helper()
	a.issueFor(time.Hour, name, serial, usage, names...)
}

func (a *authority) issueFor(life time.Duration, name string, serial int64, usage x509.ExtKeyUsage, names ...string) {
	a.t.Helper()
	key := newKey(a.t)
	cert := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".key", "PRIVATE KEY", der)
	a.write(name+".pem", "CERTIFICATE", cert.Raw)
}

// client trusts the authority. With a name it shows the certificate of that name, even to a server that asks for others.
func (a *authority) client(of *authority, name string) *http.Client {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(of.path(name+".pem"), of.path(name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	a.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// start starts a node that serves HTTPS with the authority's certificate "node", and asks for keys.
func (a *authority) start(settings ...string) (*weirtest.Node, *weirtest.Process) {
	a.t.Helper()
	a.issue("node", 2, x509.ExtKeyUsageServerAuth)
	settings = append([]string{"WEIR_AUTH=true", "WEIR_TLS_CERT=" + a.path("node.pem"), "WEIR_TLS_KEY=" + a.path("node.key")}, settings...)
	d := weirtest.New(a.t)
	s, c := weirtest.StartServeUnready(a.t, d, settings...)
	s.Client = a.client(nil, "")
	s.Key = weirtest.Value[string](a.t, d, "select key from weir.create_key('admin of the test', '{admin}')")
	s.Eventually("the node is ready", func() bool {
		r, err := s.As("").Send(a.t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && r.Status == http.StatusOK
	})
	return s, c
}

// serial is that of the certificate that new connections get.
func (a *authority) serial(s *weirtest.Node) int64 {
	a.t.Helper()
	conn, err := tls.Dial("tcp", s.URL[len("https://"):], a.client(nil, "").Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

var broken = bytes.Repeat([]byte("broken\n"), 3)
