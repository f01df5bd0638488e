// Package openapi shows that the OpenAPI documents describe every operation, and that every answer conforms to them.
package openapi

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type obj = weirtest.Object

func TestMain(m *testing.M) { weirtest.Main(m) }
