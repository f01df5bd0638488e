//go:build unix

package weirtest

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"time"
)

const (
	// clusterPatience bounds each request to the cluster: making a database, with all migrations the first time, or
	// dropping it.
	clusterPatience = 3 * time.Minute

	// poolSize is the number of connections of a test's pool: more than any test works with at once, and few enough for
	// a dozen parallel tests to stay below max_connections.
	poolSize = 20
)

// The memory of a test's process is small, so it collects garbage less often: with the race detector, a collection is
// dear. This changes nothing in the programs that a test starts.
func init() { debug.SetGCPercent(400) }

// Main runs a package's tests, leaves the cluster, and ends the process.
func Main(m *testing.M) {
	code := m.Run()
	if err := leaveTheCluster(); err != nil {
		fmt.Fprintln(os.Stderr, "weirtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}
