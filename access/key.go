package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// An API key is weir_ID_SECRET, as weir.create_key makes it: 16 hexadecimal digits that name it, and 36 bytes in
// base64url, which are 32 random ones and a checksum of 4.
const (
	keyPrefix   = "weir_"
	idLength    = 16
	secretBytes = 32
	sumBytes    = 4
)

// Key is an API key that has the right form. Whether it is in force only the database knows.
type Key struct {
	ID   string
	hash [sha256.Size]byte
}

// ParseKey reads an API key. Its checksum tells a mistyped or cut key from a revoked one without asking the database.
func ParseKey(text string) (Key, bool) {
	rest, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return Key{}, false
	}
	id, secret, ok := strings.Cut(rest, "_")
	if !ok || len(id) != idLength || !isHex(id) {
		return Key{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(secret)
	if err != nil || len(raw) != secretBytes+sumBytes {
		return Key{}, false
	}
	sum := sha256.Sum256(append([]byte(keyPrefix+id), raw[:secretBytes]...))
	if subtle.ConstantTimeCompare(sum[:sumBytes], raw[secretBytes:]) != 1 {
		return Key{}, false
	}
	return Key{ID: id, hash: sha256.Sum256([]byte(text))}, true
}

// Is says whether the hash is this key's, in constant time.
func (k Key) Is(hash []byte) bool { return subtle.ConstantTimeCompare(k.hash[:], hash) == 1 }

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && s == strings.ToLower(s)
}
