package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/weirhq/weir/api"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/chores"
	"github.com/weirhq/weir/webhook"
)

const (
	// headerPatience is how long a client may take to send a request's header.
	headerPatience = 10 * time.Second

	// idlePatience is how long a connection without a request is kept. It is longer than load balancers keep theirs, so that it
	// is never the node that closes a connection while a request is on its way.
	idlePatience = 3 * time.Minute

	// closePatience bounds what is left to do when the replies are finished: ending chores, loops and connections.
	closePatience = 15 * time.Second
)

// nodeFlags are the settings of a node, whoever its database is run by.
type nodeFlags struct {
	Addr            string `help:"Where to listen for HTTP." env:"WEIR_ADDR" default:"127.0.0.1:8080"`
	MaxConnections  int32  `help:"Bounds the connections to the database that serve calls; the node has seventeen more for its own work." env:"WEIR_MAX_CONNECTIONS" default:"16"`
	MaxBodyBytes    int64  `help:"The largest request body." env:"WEIR_MAX_BODY_BYTES" default:"10485760"`
	ShutdownSeconds int    `help:"How long replies under way may take to finish when the node is told to end." env:"WEIR_SHUTDOWN_SECONDS" default:"30"`
	NoChores        bool   `help:"Leave the chores to other nodes: roll-ups, retention, operations, webhooks. Jobs do not need them to move." env:"WEIR_NO_CHORES"`
	webhookFlags
	logFlags
}

// webhookFlags say whom webhooks may reach.
type webhookFlags struct {
	WebhookAllowNetworks []netip.Prefix `help:"Networks that webhooks may be sent to although they are not public, such as 10.1.0.0/16, with commas between." env:"WEIR_WEBHOOK_ALLOW_NETWORKS" placeholder:"NETWORK,…"`
	WebhookCAFile        string         `help:"Certificates, as PEM, of authorities that webhooks' receivers may have theirs from, beside those of the system." env:"WEIR_WEBHOOK_CA_FILE" type:"path" placeholder:"FILE"`
}

func (f webhookFlags) sender() (*webhook.Sender, error) {
	config := webhook.Config{Allow: f.WebhookAllowNetworks, Version: readBuild().version}
	if f.WebhookCAFile != "" {
		text, err := os.ReadFile(f.WebhookCAFile)
		if err != nil {
			return nil, fmt.Errorf("reading certificates: %w", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("there is no certificate in %s", f.WebhookCAFile)
		}
	}
	return webhook.NewSender(config), nil
}

// Validate is called by kong.
func (f nodeFlags) Validate() error {
	switch {
	case f.MaxConnections < 1 || f.MaxConnections > 10_000:
		return errors.New("--max-connections must be from 1 to 10000")
	case f.MaxBodyBytes < 1024:
		return errors.New("--max-body-bytes must be at least 1024")
	case f.ShutdownSeconds < 0:
		return errors.New("--shutdown-seconds must not be negative")
	}
	return nil
}

// listen takes the address. It comes first of all, so that a port in use is known before anything else is done.
func (f nodeFlags) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", f.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: another program, perhaps another weir, listens there; stop it, or choose another address with --addr", f.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", f.Addr, err)
	}
	return listener, nil
}

// node is one running weir: the engine, its loops, and the HTTP server before it.
type node struct {
	flags    nodeFlags
	drain    time.Duration // how long to answer "not ready" before refusing connections
	log      *slog.Logger
	listener net.Listener
	engine   *jobs.Engine
	chores   *chores.Chores // nil: other nodes do them
	server   *http.Server
	cancel   context.CancelFunc // ends every request
}

// newNode makes a node on a listener, which the node closes. directURL is an address of the database that reaches PostgreSQL itself.
func newNode(ctx context.Context, flags nodeFlags, listener net.Listener, log *slog.Logger, databaseURL, directURL string) (_ *node, err error) {
	requests, cancel := context.WithCancel(context.Background())
	n := &node{flags: flags, log: log, listener: listener, cancel: cancel}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.engine, err = jobs.Open(ctx, jobs.Config{
		DatabaseURL: databaseURL, ListenURL: directURL, MaxConns: flags.MaxConnections, Logger: log, Metrics: registry,
	})
	if err != nil {
		return nil, err
	}
	if !flags.NoChores {
		sender, err := flags.sender()
		if err != nil {
			return nil, err
		}
		n.chores, err = chores.Open(ctx, chores.Config{DatabaseURL: directURL, Engine: n.engine, Sender: sender, Logger: log})
		if err != nil {
			return nil, err
		}
	}
	handler, err := api.New(api.Config{
		Engine: n.engine, Logger: log, Registry: registry, Version: readBuild().version, MaxBodyBytes: flags.MaxBodyBytes,
	})
	if err != nil {
		return nil, err
	}
	n.server = &http.Server{
		Handler: handler,
		// No WriteTimeout and no ReadTimeout: both count from the request's first byte, and a claim may wait for 60 s.
		ReadHeaderTimeout: headerPatience,
		IdleTimeout:       idlePatience,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return n, nil
}

// url is where a client on this machine finds the node.
func (n *node) url() string { return "http://" + reachable(n.listener.Addr().String()) }

// reachable turns an address to listen on into one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// run serves until it is asked to stop, and then ends in this order: no more claims, "not ready", no more connections, replies
// finished, chores and loops ended, connections to the database closed. When stop insists, replies are cut off.
func (n *node) run(stop *stop) error {
	background, endBackground := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { n.engine.Run(background) })
	if n.chores != nil {
		working.Go(func() { n.chores.Run(background) })
	}
	go boundMemory(background)
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(n.listener) }()

	var err error
	select {
	case err = <-served:
	case <-stop.asked.Done():
		err = n.finishReplies(stop)
	}
	endBackground()
	n.cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		working.Wait()
		n.engine.Close()
	}()
	select {
	case <-closed:
	case <-stop.insisted.Done():
	case <-time.After(closePatience):
		n.log.Warn("the work in the background does not end; leaving it")
	}
	return err
}

// finishReplies takes no more work and returns when the last reply is out, or cut off.
func (n *node) finishReplies(stop *stop) error {
	n.log.Info("stopping: no more claims, finishing replies; a second signal ends at once")
	n.engine.Drain()
	select {
	case <-time.After(n.drain):
	case <-stop.insisted.Done():
	}
	patience, cancel := context.WithTimeout(stop.insisted, time.Duration(n.flags.ShutdownSeconds)*time.Second)
	defer cancel()
	if err := n.server.Shutdown(patience); err != nil {
		n.log.Warn("cut off the replies that were still under way")
		return n.server.Close()
	}
	return nil
}

// close gives back what newNode took, for a node that was not run.
func (n *node) close() {
	n.cancel()
	n.listener.Close()
	if n.engine != nil {
		n.engine.Close()
	}
}
