//go:build unix

package weirtest

import "testing"

// Long skips a test in short mode, which is what `make test-fast` runs. Call it first in a test that takes more than five
// seconds on a machine with nothing else to do.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: make test runs it")
	}
}
