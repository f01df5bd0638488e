package node

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// closeTimeout bounds the end of chores, loops and connections, once the last reply is out.
const closeTimeout = 15 * time.Second

// Run serves until asked is done. Then it stops in this order: no more claims, "not ready", no more connections,
// replies finished, chores and loops ended, database connections closed. When insisted is done too, it cuts off the
// replies under way and returns at once.
func (n *Node) Run(asked, insisted context.Context) error {
	background, endBackground := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() { n.engine.Run(background) })
	if n.chores != nil {
		working.Go(func() { n.chores.Run(background) })
	}
	if !n.config.KeepGC {
		go tuneMemory(background)
	}
	served := make(chan error, 1)
	go func() { served <- n.serve(netutil.LimitListener(n.config.Listener, n.config.MaxHTTPConnections)) }()

	var err error
	select {
	case err = <-served:
	case <-asked.Done():
		err = n.finishReplies(insisted)
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
	case <-insisted.Done():
	case <-time.After(closeTimeout):
		n.log.Warn("background work did not stop in time; exiting without it")
	}
	return err
}

func (n *Node) serve(listener net.Listener) error {
	if n.tls != nil {
		return n.server.ServeTLS(listener, "", "")
	}
	return n.server.Serve(listener)
}

// finishReplies refuses new work and returns when the last reply is out, or cut off.
func (n *Node) finishReplies(insisted context.Context) error {
	n.log.Info("stopping: no more claims, finishing replies; a second signal ends at once")
	n.engine.Drain()
	select {
	case <-time.After(n.config.Drain):
	case <-insisted.Done():
	}
	deadline, cancel := context.WithTimeout(insisted, n.config.Shutdown)
	defer cancel()
	if err := n.server.Shutdown(deadline); err != nil {
		n.log.Warn("cut off the replies that were still under way")
		return n.server.Close()
	}
	return nil
}
