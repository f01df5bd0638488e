//go:build unix

package embedded

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// If scripts/setup cannot install PostgreSQL and PgBouncer, it keeps a copy in the cache.
func TestUsersCacheIsSearchedLast(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cache, err := os.UserCacheDir() // on macOS it is in HOME
	if err != nil {
		t.Fatal(err)
	}
	before := candidates()
	bin := filepath.Join(cache, "weir", "programs", "some", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres", "weir-test-program", "sh"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := candidates(), append(before, bin); !slices.Equal(got, want) {
		t.Errorf("candidates() = %q, want %q", got, want)
	}
	if got, want := FindProgram("weir-test-program"), filepath.Join(bin, "weir-test-program"); got != want {
		t.Errorf("FindProgram = %q, want %q", got, want)
	}
	if got := FindProgram("sh"); got == "" || filepath.Dir(got) == bin {
		t.Errorf("FindProgram = %q, want the one on PATH", got)
	}
	if got := FindProgram("weir-test-missing"); got != "" {
		t.Errorf("FindProgram = %q, want none", got)
	}
}
