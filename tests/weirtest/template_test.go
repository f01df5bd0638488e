//go:build unix

package weirtest

import (
	"testing"
	"testing/fstest"
)

func TestHashTellsSchemasApart(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	seen := map[string]string{}
	for name, files := range map[string]fstest.MapFS{
		"one":     {"1.sql": file("a"), "2.sql": file("b")},
		"renamed": {"1.sql": file("a"), "3.sql": file("b")},
		"changed": {"1.sql": file("a"), "2.sql": file("c")},
		"shifted": {"1.sql": file("ab"), "2.sql": file("")},
	} {
		hash, err := hashOf(files)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[hash] = name
	}
}
