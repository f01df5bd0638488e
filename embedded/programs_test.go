//go:build unix

package embedded_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weirhq/weir/embedded"
)

func TestFindBinaries(t *testing.T) {
	dir, err := embedded.FindBinaries(os.Getenv("WEIR_POSTGRES_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := embedded.FindBinaries(dir); err != nil || again != dir {
		t.Errorf("FindBinaries(%q) = %q, %v", dir, again, err)
	}
	empty := t.TempDir()
	if _, err := embedded.FindBinaries(empty); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("an empty folder gives %v", err)
	}
}
