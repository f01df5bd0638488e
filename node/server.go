package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	// headerTimeout bounds how long a client may take to send a request's header.
	headerTimeout = 10 * time.Second

	// idleTimeout is how long a connection without a request stays open. It is longer than load balancers keep theirs,
	// so that the node is never the one that closes a connection while a request is on its way.
	idleTimeout = 3 * time.Minute

	// maxHeaderBytes bounds a request's header: a path and a query with filters, and a credential.
	maxHeaderBytes = 64 << 10

	// maxHTTP2Streams bounds the requests of one HTTP/2 connection that are under way.
	maxHTTP2Streams = 250

	// An HTTP/2 connection without a frame for pingAfter gets a ping, and ends unless the client answers within pingTimeout. One that takes
	// no bytes for writeTimeout ends too.
	pingAfter    = time.Minute
	pingTimeout  = 15 * time.Second
	writeTimeout = 30 * time.Second
)

// newServer makes the HTTP server. A handshake of TLS must end within headerTimeout too. Every request's context descends from requests.
func newServer(requests context.Context, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler,
		// No WriteTimeout and no ReadTimeout: both count from the request's first byte, and a claim may wait for 60 s.
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxHTTP2Streams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout,
		},
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Listen takes an address. Call it before anything else: then a port in use is known before anything is changed.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program, perhaps another weir: "+
			"stop it, or choose another address with --addr", address)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", address, err)
	}
	return listener, nil
}

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
