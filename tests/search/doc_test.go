// Package search shows that each filter of jobs, alone and with others, finds what a plain count over the jobs finds,
// through every door and for callers bound to a tenant; and how words, args and bad input are read.
package search

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
