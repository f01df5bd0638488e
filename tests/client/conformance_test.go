//go:build unix

package client_test

import (
	"os"
	"testing"

	"github.com/weirhq/weir/tests/client/conformance"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestGoClientsConform(t *testing.T) {
	t.Parallel()
	driver := conformance.Driver{Client: "go", Settings: []string{driverVariable + "=on"}, Command: []string{os.Args[0]}}
	t.Run("REST", func(t *testing.T) { conformance.Calls(t, driver) })
	t.Run("SDK", func(t *testing.T) {
		weirtest.Long(t, "it works tens of thousands of jobs")
		conformance.Work(t, driver)
	})
}
