// Package node is one running node of weir: the engine with its loops, the chores, and the HTTP server in front of
// them, from the first connection to an orderly end. The commands serve and dev both run one.
//
// It takes everything that it needs as a Config: it reads no flags and no environment. It must not import cli or
// worker, which are clients of a node and talk to it over HTTP.
package node

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/weirhq/weir/alert"
	"github.com/weirhq/weir/api"
	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/chores"
	"github.com/weirhq/weir/sso"
	"github.com/weirhq/weir/webhook"
)

// Config is how a Node is set up. Listener, DatabaseURL and Logger are required.
type Config struct {
	// Listener is where the node serves HTTP. The node closes it.
	Listener    net.Listener
	DatabaseURL string
	// DirectURL is an address of the same database that bypasses a pooler in transaction mode. Defaults to DatabaseURL.
	DirectURL string
	Logger    *slog.Logger
	// Version is this build's, as clients and webhooks see it.
	Version string

	// MaxConnections bounds the connections that serve calls; see OwnConnections for the others. Defaults to 16.
	MaxConnections int32
	// MaxBodyBytes bounds a request's body. Defaults to that of api.
	MaxBodyBytes int64
	// MaxBytesInFlight bounds the bytes of the bodies that the node holds, and of the enqueues and acks that wait. Defaults to 64 MiB each.
	MaxBytesInFlight int64
	// MaxHTTPConnections bounds the connections of clients; more wait to be accepted. Defaults to 20,000.
	MaxHTTPConnections int
	// MaxWaiting bounds the calls that wait. Defaults to that of api.
	MaxWaiting int
	// MaxStreams bounds the streams of events. Defaults to that of api.
	MaxStreams int
	// AllowedHosts are the names under which clients call the node: see api. Defaults to none but localhost.
	AllowedHosts []string
	// TLS are the files to serve HTTPS with. They are read again when they change. Defaults to plain HTTP.
	TLS TLSFiles
	// Auth asks every caller for an API key. Defaults to false.
	Auth bool
	// Issuer checks the access tokens of callers, beside API keys. Defaults to none.
	Issuer *sso.Issuer
	// AuditRetentionDays is how long the audit trail is kept. Defaults to that of jobs.
	AuditRetentionDays int
	// Keys encrypt what encrypted queues store. Defaults to none.
	Keys *encryption.Keys
	// Drain is how long a node that is asked to stop answers "not ready" before it refuses connections. Defaults to 0.
	Drain time.Duration
	// Shutdown is how long replies under way may then take. Defaults to 0.
	Shutdown time.Duration
	// NoChores leaves the chores to other nodes. Defaults to false.
	NoChores bool
	// Webhooks is how chores reach webhooks. Defaults to public addresses only.
	Webhooks webhook.Config
	// PublicURL is where people reach the service, for the links in messages about alerts. Defaults to that of the listener.
	PublicURL string
	// KeepGC leaves the settings of the garbage collector as they are. Defaults to false: see tuneMemory.
	KeepGC bool
}

// Node is one running weir.
type Node struct {
	config Config
	log    *slog.Logger
	engine *jobs.Engine
	chores *chores.Chores // nil: other nodes run them
	server *http.Server
	tls    *certificate       // nil: plain HTTP
	cancel context.CancelFunc // ends every request
}

// New makes a Node. It connects to the database when it is first used; Run makes it serve. If New fails, it has closed
// the listener.
func New(ctx context.Context, c Config) (_ *Node, err error) {
	if c.DirectURL == "" {
		c.DirectURL = c.DatabaseURL
	}
	if c.MaxHTTPConnections == 0 {
		c.MaxHTTPConnections = 20_000
	}
	requests, cancel := context.WithCancel(context.Background())
	n := &Node{config: c, log: c.Logger, cancel: cancel}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if c.TLS != (TLSFiles{}) {
		if n.tls, err = newCertificate(c.TLS, c.Logger); err != nil {
			return nil, err
		}
	}
	registry := prometheus.NewRegistry()
	processes := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	registry.MustRegister(collectors.NewGoCollector(), processes)
	n.engine, err = jobs.Open(ctx, jobs.Config{
		DatabaseURL: c.DatabaseURL, ListenURL: c.DirectURL, MaxConns: c.MaxConnections, MaxQueuedBytes: c.MaxBytesInFlight,
		AuditRetentionDays: c.AuditRetentionDays, Keys: c.Keys,
		Logger: c.Logger, Metrics: registry,
	})
	if err != nil {
		return nil, err
	}
	if !c.NoChores {
		c.Webhooks.Version = c.Version
		sender := webhook.NewSender(c.Webhooks)
		n.chores, err = chores.Open(ctx, chores.Config{
			DatabaseURL: c.DirectURL, Engine: n.engine, Sender: sender, Logger: c.Logger,
			Alerts: alert.NewSender(alert.Config{HTTP: sender, PublicURL: cmp.Or(c.PublicURL, n.URL()), RootCAs: c.Webhooks.RootCAs}),
		})
		if err != nil {
			return nil, err
		}
	}
	handler, err := api.New(api.Config{
		Engine: n.engine, Logger: c.Logger, Registry: registry, Version: c.Version, Auth: c.Auth, Issuer: c.Issuer, MaxBodyBytes: c.MaxBodyBytes,
		MaxBytesInFlight: c.MaxBytesInFlight, MaxWaiting: c.MaxWaiting, MaxStreams: c.MaxStreams, AllowedHosts: c.AllowedHosts,
	})
	if err != nil {
		return nil, err
	}
	n.server = newServer(requests, handler, c.Logger)
	if n.tls != nil {
		n.server.TLSConfig = n.tls.server()
	}
	return n, nil
}

// URL is where a client on this machine reaches the node.
func (n *Node) URL() string {
	scheme := "http"
	if n.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + reachable(n.config.Listener.Addr().String())
}

// Close gives back what New took, for a node that was not run.
func (n *Node) Close() {
	n.cancel()
	n.config.Listener.Close()
	if n.engine != nil {
		n.engine.Close()
	}
}
