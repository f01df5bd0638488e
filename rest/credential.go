package rest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// tokenFresh is how long a token that was read from a file is used before the file is read again.
const tokenFresh = time.Second

// maxToken bounds a file with a token.
const maxToken = 64 << 10

// Credential says how a client proves who it is, and which services it trusts. Its zero value proves nothing and trusts
// the system's authorities.
type Credential struct {
	// Token is an API key or an access token. Defaults to none.
	Token string
	// TokenFile holds a token, and wins over Token. It is read again when it is a second old, so that a long-running client follows a
	// rotation. Defaults to none.
	TokenFile string
	// CAFile holds certificates, in PEM, of authorities to trust beside the system's. Defaults to none.
	CAFile string
	// CertFile and KeyFile hold a client certificate and its key, in PEM. They are read for each new connection. Defaults to none.
	CertFile, KeyFile string
}

// tls makes the settings of connections to https URLs.
func (c Credential) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading certificates: %w", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s contains no certificate", c.CAFile)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a client certificate takes both --client-cert and --client-key")
	}
	if c.CertFile != "" {
		if _, err := c.certificate(nil); err != nil {
			return nil, err
		}
		config.GetClientCertificate = c.certificate
	}
	return config, nil
}

func (c Credential) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate: %w", err)
	}
	return &pair, nil
}

// token returns the token to send with each call. Its errors never quote it.
type token struct {
	file string

	mu     sync.Mutex
	text   string
	readAt time.Time
}

func (t *token) get() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == "" || !t.readAt.IsZero() && time.Since(t.readAt) < tokenFresh {
		return t.text, nil
	}
	info, err := os.Stat(t.file)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	if info.Size() > maxToken {
		return "", fmt.Errorf("%s is too large for a file with a token", t.file)
	}
	text, err := os.ReadFile(t.file)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	read := strings.TrimSpace(string(text))
	if err := checkToken(read); err != nil {
		return "", fmt.Errorf("%s holds no token: %w", t.file, err)
	}
	t.text, t.readAt = read, time.Now()
	return read, nil
}

// checkToken refuses what cannot be sent in a header.
func checkToken(text string) error {
	switch {
	case text == "":
		return errors.New("it is empty")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("it has spaces, or characters other than ASCII")
	}
	return nil
}
