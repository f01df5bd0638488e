package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"time"
)

// certificateFresh is how long files are taken to be what they were. Handshakes read them again after that.
const certificateFresh = time.Second

// TLSFiles are the files in PEM that a node serves HTTPS with. Its zero value means plain HTTP.
type TLSFiles struct {
	// Cert holds the node's certificate and those in between, Key its private key.
	Cert, Key string
	// ClientCA holds the authorities whose client certificates the node takes. Defaults to none.
	ClientCA string
}

// certificate serves the files as they are. A handshake after they have changed gets what is new, while connections
// under way keep what they have. Files that are broken change nothing, and are logged once.
type certificate struct {
	files TLSFiles
	log   *slog.Logger

	mu     sync.Mutex
	config *tls.Config
	tried  [3][]byte // the contents of the files when they were last tried
	readAt time.Time
}

// newCertificate reads the files, which must be good to begin with.
func newCertificate(files TLSFiles, log *slog.Logger) (*certificate, error) {
	if files.Cert == "" || files.Key == "" {
		return nil, errors.New("HTTPS takes both a certificate and its key")
	}
	c := &certificate{files: files, log: log}
	texts, err := c.read()
	if err != nil {
		return nil, err
	}
	c.tried, c.readAt = texts, time.Now()
	c.config, err = c.parse(texts)
	return c, err
}

// server is the configuration of a listener. Each handshake asks for the current one.
func (c *certificate) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil },
	}
}

func (c *certificate) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.readAt) < certificateFresh {
		return c.config
	}
	c.readAt = time.Now()
	texts, err := c.read()
	if reflect.DeepEqual(texts, c.tried) { // what could not be read is empty
		return c.config
	}
	c.tried = texts
	var config *tls.Config
	if err == nil {
		config, err = c.parse(texts)
	}
	if err != nil {
		c.log.Error("the new certificate cannot be used; the one before stays in use", "error", err)
		return c.config
	}
	c.config = config
	c.log.Info("serving a new certificate", "expires_at", config.Certificates[0].Leaf.NotAfter)
	return c.config
}

func (c *certificate) read() (texts [3][]byte, err error) {
	for i, path := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if path == "" {
			continue
		}
		if texts[i], err = os.ReadFile(path); err != nil {
			return [3][]byte{}, fmt.Errorf("reading the certificate: %w", err)
		}
	}
	return texts, nil
}

// parse makes the configuration of a connection. A request without a client certificate may have another credential.
func (c *certificate) parse(texts [3][]byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return nil, fmt.Errorf("%s and %s are not a certificate and its key: %w", c.files.Cert, c.files.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if c.files.ClientCA != "" {
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		config.SessionTicketsDisabled = true // a resumed session would bring back a certificate that is no longer trusted
		if !config.ClientCAs.AppendCertsFromPEM(texts[2]) {
			return nil, fmt.Errorf("%s contains no certificate", c.files.ClientCA)
		}
	}
	return config, nil
}
