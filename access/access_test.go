package access

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestPatternsOfQueues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"mail", "mail", true},
		{"mail", "mails", false},
		{"mail*", "mail", true},
		{"mail*", "mail-eu", true},
		{"*mail", "e-mail", true},
		{"*mail", "e-mails", false},
		{"a*b*c", "a1b2c", true},
		{"a*b*c", "abc", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"*", "anything", true},
		{"**", "x", true},
		{"", "x", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q matches %q: got %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}

func newKey(id string) string {
	secret := make([]byte, secretBytes)
	sum := sha256.Sum256(append([]byte(keyPrefix+id), secret...))
	return keyPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(append(secret, sum[:sumBytes]...))
}

func TestKeyOfAnyOtherFormIsRefused(t *testing.T) {
	t.Parallel()
	good := newKey("0123456789abcdef")
	key, ok := ParseKey(good)
	if !ok || key.ID != "0123456789abcdef" {
		t.Fatalf("got %v, %v for a good key", key, ok)
	}
	hash := sha256.Sum256([]byte(good))
	if !key.Is(hash[:]) || key.Is(nil) || key.Is(make([]byte, sha256.Size)) {
		t.Error("a key must match its own hash and no other")
	}
	for _, bad := range []string{
		"", "weir_", good[:len(good)-1], good + "A", strings.ToUpper(good), strings.Replace(good, "weir_", "", 1),
		strings.Replace(good, "0123", "0124", 1), strings.Replace(good, "_A", "_B", 1), newKey("0123456789ABCDEF"), newKey("short"),
	} {
		if _, ok := ParseKey(bad); ok {
			t.Errorf("%q was taken for a key", bad)
		}
	}
}
