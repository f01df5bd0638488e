// Package cli holds what all client commands have in common: confirmation, --json, ids and names, exit statuses.
package cli

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }
