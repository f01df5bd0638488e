//go:build unix

package weirtest

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Patience bounds the wait for anything that must happen. It is generous, as a machine may be slow and busy; only a
// failing test waits this long.
const Patience = 90 * time.Second

// Soon bounds what must happen without a wait. It takes a fraction of a second, or several seconds where the machine
// stalls, and must not take until the end of a wait, a lease or a lock, which last a minute.
const Soon = 40 * time.Second

// Long leaves a test out of `make test-fast` (go test -short). Call it first in a test of more than about three seconds.
func Long(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: " + why)
	}
}

// Eventually polls until ok, and fails the test if that does not happen within Patience.
func (s *Node) Eventually(what string, ok func() bool) {
	s.T.Helper()
	Eventually(s.T, what, ok)
}

// Eventually polls until ok, and fails the test if that does not happen within Patience.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	wait := 2 * time.Millisecond // then longer: polling takes time from what the test waits for
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(wait) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		wait = min(wait*3/2, 50*time.Millisecond)
	}
}

// RandomDuration returns a duration below most.
func RandomDuration(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}
