// Package facet shows that the counts of jobs by facets are those of a plain count over the jobs, through every door
// and for callers bound to a tenant or to queues, and that counts that were cut short say so.
package facet

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
