// Package ack shows that a worker's answer about a job (complete, fail, snooze, release) is accepted once, only with
// the token of the current lease, singly and in batches.
package ack

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
