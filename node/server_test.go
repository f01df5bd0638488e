package node

import "testing"

func TestListenAddressBecomesReachable(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080",
		"0.0.0.0:80":     "127.0.0.1:80",
		"[::]:80":        "127.0.0.1:80",
		"10.1.2.3:80":    "10.1.2.3:80",
		"[::1]:80":       "[::1]:80",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s becomes %s; want %s", address, got, want)
		}
	}
}
