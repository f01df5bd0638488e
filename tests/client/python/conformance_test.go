package python

import (
	"path/filepath"
	"testing"

	"github.com/weirhq/weir/tests/client/conformance"
	"github.com/weirhq/weir/tests/weirtest"
)

// The clients of an installed package do as all clients do.
func TestPythonClientsConform(t *testing.T) {
	weirtest.Long(t, "it installs the package, and works tens of thousands of jobs")
	t.Parallel()
	path, err := filepath.Abs("driver.py")
	if err != nil {
		t.Fatal(err)
	}
	settings := []string{"PYTHONPATH=" + install(t), "PYTHONDONTWRITEBYTECODE=1"}
	driver := conformance.Driver{Client: "python", Settings: settings, Command: []string{python(t), path}}
	t.Run("REST", func(t *testing.T) { conformance.Calls(t, driver) })
	t.Run("SDK", func(t *testing.T) { conformance.Work(t, driver) })
}
