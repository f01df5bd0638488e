package db

import (
	"context"
	"net"
	"syscall"
	"time"
)

// lostAfter is how long sent data may stay unacknowledged before a connection counts as lost, where the system can tell.
const lostAfter = 5 * time.Second

// dial connects so that a peer that has vanished is noticed within seconds, also while nothing is sent.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
		Control: func(network, _ string, raw syscall.RawConn) error {
			if network == "unix" {
				return nil
			}
			return raw.Control(boundUnacknowledged)
		},
	}
	return dialer.DialContext(ctx, network, address)
}
