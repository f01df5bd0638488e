// Package encryption encrypts values with data keys, and data keys with the keys in a file of the operator's: envelope encryption, by
// Tink with AES-256-GCM. It knows neither the database nor the engine.
package encryption

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Prefix begins everything that is encrypted: then come the id of the data key, a colon, and base64.
const Prefix = "weir:encrypted:1:"

// mark begins what readers of any version may take for encrypted.
const mark = "weir:encrypted:"

// MaxPerKey is how many values one data key encrypts. Nonces are random, of 96 bits, so of 2^32 values of a key two have the same
// nonce with a chance of 2^-33, which NIST SP 800-38D allows. This is a sixteenth of that.
const MaxPerKey = 1 << 28

// The errors of Decrypt.
var (
	ErrNoKey    = errors.New("the key that it takes is missing")
	ErrTampered = errors.New("it was changed, or belongs elsewhere")
)

// IsEncrypted says whether a JSON value has the form of an encrypted one: a string that begins with the prefix, however it is written.
func IsEncrypted(value []byte) bool {
	value = bytes.TrimLeft(value, " \t\r\n")
	if len(value) == 0 || value[0] != '"' {
		return false
	}
	if bytes.IndexByte(value[:min(len(value), 1+6*len(mark))], '\\') < 0 {
		return bytes.HasPrefix(value[1:], []byte(mark))
	}
	return beginsWithMark(value[1:])
}

// beginsWithMark looks at a JSON string that has escapes.
func beginsWithMark(text []byte) bool {
	for i := range len(mark) {
		var c byte
		switch {
		case len(text) == 0:
			return false
		case len(text) >= 6 && text[0] == '\\' && text[1] == 'u':
			code, err := strconv.ParseUint(string(text[2:6]), 16, 16)
			if err != nil || code > 127 {
				return false
			}
			c, text = byte(code), text[6:]
		default:
			c, text = text[0], text[1:]
		}
		if c != mark[i] {
			return false
		}
	}
	return true
}

// KeyOf is the id of the data key of an encrypted value, without its quotes, and what the key encrypted.
func KeyOf(value string) (id int32, sealed []byte, err error) {
	rest, ok := strings.CutPrefix(value, Prefix)
	number, text, found := strings.Cut(rest, ":")
	n, err := strconv.ParseInt(number, 10, 32)
	if !ok || !found || err != nil || n <= 0 {
		return 0, nil, ErrTampered
	}
	sealed, err = base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, nil, ErrTampered
	}
	return int32(n), sealed, nil
}

// DataKey encrypts values. Several goroutines may use it.
type DataKey struct {
	ID   int32
	aead tink.AEAD
}

// NewDataKey makes the 32 bytes of a data key.
func NewDataKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it does not fail
	return key
}

// UseDataKey makes a DataKey of its bytes.
func UseDataKey(id int32, key []byte) (*DataKey, error) {
	aead, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("using data key %d: %w", id, err)
	}
	return &DataKey{id, aead}, nil
}

// context is what a value is bound to: it is of this field, and of this key.
func (k *DataKey) context(field string) []byte {
	return []byte("weir 1 " + field + " " + strconv.Itoa(int(k.ID)))
}

// Encrypt returns a value as it is stored, which needs no escapes in JSON. The field is what it is: args are not opened as a result.
func (k *DataKey) Encrypt(field string, value []byte) (string, error) {
	sealed, err := k.aead.Encrypt(value, k.context(field))
	if err != nil {
		return "", fmt.Errorf("encrypting: %w", err)
	}
	return Prefix + strconv.Itoa(int(k.ID)) + ":" + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Decrypt opens what KeyOf returned. Errors: ErrTampered.
func (k *DataKey) Decrypt(field string, sealed []byte) ([]byte, error) {
	value, err := k.aead.Decrypt(sealed, k.context(field))
	if err != nil {
		return nil, ErrTampered
	}
	return value, nil
}

// Keys are those in the operator's file. It is read each time that a data key is made or first used, which is seldom, so what
// changes in it counts at once.
type Keys struct {
	path string
	mu   sync.Mutex
}

// OpenKeys checks the file.
func OpenKeys(path string) (*Keys, error) {
	k := &Keys{path: path}
	_, err := k.read()
	return k, err
}

func (k *Keys) read() (*File, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return ReadFile(k.path)
}

// Wrap encrypts a data key with the primary key of the file, and returns that key's id.
func (k *Keys) Wrap(key []byte) (wrapped []byte, by uint32, err error) {
	file, err := k.read()
	if err != nil {
		return nil, 0, err
	}
	return file.Wrap(key)
}

// Unwrap decrypts a data key. Errors: ErrNoKey, where no key in the file can.
func (k *Keys) Unwrap(wrapped []byte) ([]byte, error) {
	file, err := k.read()
	if err != nil {
		return nil, err
	}
	return file.Unwrap(wrapped)
}

// checkMode refuses a file that every user of the machine can read or change.
func checkMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading the encryption keys: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("every user of this machine can use the encryption keys in %s: take that away with chmod o= %s", path, path)
	}
	return nil
}
