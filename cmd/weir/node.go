package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/node"
	"github.com/weirhq/weir/webhook"
)

// nodeFlags are the settings of a node that serve and dev share.
type nodeFlags struct {
	Addr               string   `help:"Address to listen on for HTTP." env:"WEIR_ADDR" default:"127.0.0.1:8080"`
	AllowedHosts       []string `help:"Names of hosts under which clients call the node, comma-separated, such as weir.example.com; *.example.com has all names of a domain, * is any. Always allowed: localhost, any IP address, and the host of --addr." env:"WEIR_ALLOWED_HOSTS" placeholder:"HOST,…"`
	MaxConnections     int32    `help:"Most database connections that serve calls; the node takes up to ${own_connections} more for its own work." env:"WEIR_MAX_CONNECTIONS" default:"16"`
	MaxBodyBytes       int64    `help:"Largest request body, in bytes." env:"WEIR_MAX_BODY_BYTES" default:"10485760"`
	MaxBytesInFlight   int64    `help:"Most bytes of all request bodies that the node holds at once; others are refused as overloaded." env:"WEIR_MAX_BYTES_IN_FLIGHT" default:"67108864"`
	MaxHTTPConnections int      `help:"Most connections of clients; others wait to be accepted." env:"WEIR_MAX_HTTP_CONNECTIONS" default:"20000"`
	MaxWaiting         int      `help:"Most calls that wait: claims, and those for the end of a job. Others are refused as overloaded." env:"WEIR_MAX_WAITING" default:"20000"`
	MaxStreams         int      `help:"Most streams of events. Others are refused as overloaded." env:"WEIR_MAX_STREAMS" default:"1000"`
	Auth               bool     `help:"Ask every caller for an API key. The default where --addr is beyond this machine." env:"WEIR_AUTH"`
	Insecure           bool     `help:"Let everyone do everything, although --addr is beyond this machine." env:"WEIR_INSECURE"`
	TLSCert            string   `name:"tls-cert" help:"PEM file of the certificate to serve HTTPS with. It is read again when it changes." env:"WEIR_TLS_CERT" type:"path" placeholder:"FILE"`
	TLSKey             string   `name:"tls-key" help:"PEM file of the certificate's key." env:"WEIR_TLS_KEY" type:"path" placeholder:"FILE"`
	TLSClientCA        string   `name:"tls-client-ca" help:"PEM file of authorities: a client with a certificate of theirs is the one that weir keys create --certificate made." env:"WEIR_TLS_CLIENT_CA" type:"path" placeholder:"FILE"`
	ShutdownSeconds    int      `help:"On shutdown, how long replies under way may take to finish." env:"WEIR_SHUTDOWN_SECONDS" default:"30"`
	AuditRetentionDays int      `help:"How long the audit trail is kept, in days; months go as a whole." env:"WEIR_AUDIT_RETENTION_DAYS" default:"365"`
	EncryptionKeyFile  string   `help:"File with keys that encrypt what encrypted queues store; weir encryption-key new makes one. It is read again when a key is needed." env:"WEIR_ENCRYPTION_KEY_FILE" type:"path" placeholder:"FILE"`
	PublicURL          string   `help:"Where people reach this service, such as https://weir.example.com, for the links in messages about alerts. Defaults to the address that it listens on." env:"WEIR_PUBLIC_URL" placeholder:"URL"`
	NoChores           bool     `help:"Leave the chores (roll-ups, retention, operations, webhooks, alerts) to other nodes. Jobs move without them." env:"WEIR_NO_CHORES"`
	ssoFlags
	webhookFlags
	logFlags
}

// Validate is called by kong.
func (f nodeFlags) Validate() error {
	switch {
	case f.MaxConnections < 1 || f.MaxConnections > 10_000:
		return errors.New("--max-connections must be from 1 to 10000")
	case f.MaxBodyBytes < 1024:
		return errors.New("--max-body-bytes must be at least 1024")
	case f.MaxBytesInFlight < f.MaxBodyBytes:
		return errors.New("--max-bytes-in-flight must be at least --max-body-bytes")
	case f.MaxHTTPConnections < 1 || f.MaxWaiting < 1 || f.MaxStreams < 1:
		return errors.New("--max-http-connections, --max-waiting and --max-streams must be at least 1")
	case f.Auth && f.Insecure:
		return errors.New("--auth and --insecure exclude each other")
	case f.AuditRetentionDays < 1 || f.AuditRetentionDays > 36_500:
		return errors.New("--audit-retention-days must be from 1 to 36500")
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case f.TLSClientCA != "" && f.TLSCert == "":
		return errors.New("--tls-client-ca takes --tls-cert and --tls-key too")
	case f.Insecure && (f.OIDCIssuer != "" || f.TLSClientCA != ""):
		return errors.New("--insecure excludes --oidc-issuer and --tls-client-ca")
	case f.PublicURL != "" && !isWebURL(f.PublicURL):
		return errors.New("--public-url must be http:// or https:// with a host")
	case f.ShutdownSeconds < 0:
		return errors.New("--shutdown-seconds must not be negative")
	}
	return nil
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// newNode makes a node from the flags. directURL reaches PostgreSQL itself, without a pooler.
func (f nodeFlags) newNode(
	ctx context.Context, listener net.Listener, log *slog.Logger, databaseURL, directURL string, drain time.Duration,
) (*node.Node, error) {
	webhooks, err := f.webhooks()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	issuer, err := f.issuer(log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	keys, err := f.encryptionKeys()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	if f.TLSCert == "" && !onLoopback(listener.Addr()) {
		log.Warn("others than this machine can call, without TLS: keys and jobs cross the network in the clear, unless a proxy in front "+
			"ends TLS", "addr", listener.Addr().String())
	}
	return node.New(ctx, node.Config{
		Listener: listener, DatabaseURL: databaseURL, DirectURL: directURL, Logger: log, Version: readBuild().version,
		MaxConnections: f.MaxConnections, MaxBodyBytes: f.MaxBodyBytes, MaxBytesInFlight: f.MaxBytesInFlight,
		MaxHTTPConnections: f.MaxHTTPConnections, MaxWaiting: f.MaxWaiting, MaxStreams: f.MaxStreams, AllowedHosts: f.allowedHosts(), NoChores: f.NoChores, Webhooks: webhooks,
		AuditRetentionDays: f.AuditRetentionDays, Keys: keys, PublicURL: f.PublicURL,
		TLS:    node.TLSFiles{Cert: f.TLSCert, Key: f.TLSKey, ClientCA: f.TLSClientCA},
		Issuer: issuer, Auth: f.authenticates(listener.Addr()), Drain: drain, Shutdown: time.Duration(f.ShutdownSeconds) * time.Second,
		KeepGC: os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "",
	})
}

// encryptionKeys are those in the file; nil: none is given.
func (f nodeFlags) encryptionKeys() (*encryption.Keys, error) {
	if f.EncryptionKeyFile == "" {
		return nil, nil
	}
	return encryption.OpenKeys(f.EncryptionKeyFile)
}

// authenticates says whether callers need a credential: where others than this machine can call, unless told otherwise,
// and where another credential than a key has been set up.
func (f nodeFlags) authenticates(addr net.Addr) bool {
	return f.Auth || f.OIDCIssuer != "" || f.TLSClientCA != "" || !f.Insecure && !onLoopback(addr)
}

func onLoopback(addr net.Addr) bool {
	tcp, isTCP := addr.(*net.TCPAddr)
	return isTCP && tcp.IP.IsLoopback()
}

// allowedHosts adds the host that the node listens on, if it has a name.
func (f nodeFlags) allowedHosts() []string {
	host, _, err := net.SplitHostPort(f.Addr)
	if err != nil || host == "" || net.ParseIP(host) != nil {
		return f.AllowedHosts
	}
	return append(slices.Clone(f.AllowedHosts), host)
}

// webhookFlags say which receivers webhooks may reach.
type webhookFlags struct {
	WebhookAllowNetworks []netip.Prefix `help:"Private networks that webhooks may reach, comma-separated, such as 10.1.0.0/16." env:"WEIR_WEBHOOK_ALLOW_NETWORKS" placeholder:"NETWORK,…"`
	WebhookCAFile        string         `help:"PEM file of certificate authorities to trust for webhooks, in addition to the system's." env:"WEIR_WEBHOOK_CA_FILE" type:"path" placeholder:"FILE"`
}

func (f webhookFlags) webhooks() (webhook.Config, error) {
	config := webhook.Config{Allow: f.WebhookAllowNetworks}
	if f.WebhookCAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(f.WebhookCAFile)
	if err != nil {
		return config, fmt.Errorf("reading certificates: %w", err)
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool()
	}
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return config, fmt.Errorf("%s contains no certificate", f.WebhookCAFile)
	}
	return config, nil
}
