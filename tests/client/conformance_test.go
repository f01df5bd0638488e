//go:build unix

package client_test

import (
	"os"
	"testing"

	"github.com/weirhq/weir/tests/client/conformance"
)

func driver() conformance.Driver {
	return conformance.Driver{Client: "go", Settings: []string{driverVariable + "=on"}, Command: []string{os.Args[0]}}
}

func TestRESTClientConforms(t *testing.T) {
	t.Parallel()
	conformance.Calls(t, driver())
}
