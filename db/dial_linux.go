package db

import "golang.org/x/sys/unix"

// boundUnacknowledged is best effort: without it the kernel gives up after a quarter of an hour, and pools after the time limit of a statement.
func boundUnacknowledged(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lostAfter.Milliseconds()))
}
