package encryption

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// File is the contents of a file of keys: a Tink keyset in JSON. Its primary key wraps new data keys; the others open those that they
// wrapped before.
type File struct {
	handle *keyset.Handle
	aead   tink.AEAD
}

// wrapping is the associated data of wrapped data keys.
var wrapping = []byte("weir data key")

// Key is one key of a file.
type Key struct {
	ID      uint32 `json:"id"`
	Primary bool   `json:"primary"`
}

// ReadFile reads a file of keys.
func ReadFile(path string) (*File, error) {
	if err := checkMode(path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the encryption keys: %w", err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil { // its error may quote the file
		return nil, fmt.Errorf("the file %s has no encryption keys: weir encryption-key new makes one", path)
	}
	return use(handle)
}

func use(handle *keyset.Handle) (*File, error) {
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("using the encryption keys: %w", err)
	}
	return &File{handle, primitive}, nil
}

// NewFile makes a first key.
func NewFile() (*File, error) {
	return change(keyset.NewManager(), true)
}

// Add is the file with one more key, which is not the primary one yet.
func (f *File) Add() (*File, error) {
	return change(keyset.NewManagerFromHandle(f.handle), false)
}

func change(m *keyset.Manager, primary bool) (*File, error) {
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making an encryption key: %w", err)
	}
	if primary {
		if err := m.SetPrimary(id); err != nil {
			return nil, fmt.Errorf("making an encryption key: %w", err)
		}
	}
	return handled(m)
}

// Promote is the file with another primary key.
func (f *File) Promote(id uint32) (*File, error) {
	m := keyset.NewManagerFromHandle(f.handle)
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("the file has no key %d", id)
	}
	return handled(m)
}

// Remove is the file without a key, which must not be the primary one.
func (f *File) Remove(id uint32) (*File, error) {
	m := keyset.NewManagerFromHandle(f.handle)
	if f.Primary() == id {
		return nil, fmt.Errorf("key %d is the primary one: promote another one first", id)
	}
	if err := m.Delete(id); err != nil {
		return nil, fmt.Errorf("the file has no key %d", id)
	}
	return handled(m)
}

func handled(m *keyset.Manager) (*File, error) {
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("making an encryption key: %w", err)
	}
	return use(handle)
}

// Keys lists the keys, without what is secret.
func (f *File) Keys() []Key {
	var keys []Key
	for _, k := range f.handle.KeysetInfo().GetKeyInfo() {
		keys = append(keys, Key{k.GetKeyId(), k.GetKeyId() == f.Primary()})
	}
	return keys
}

// Primary is the id of the key that wraps new data keys.
func (f *File) Primary() uint32 { return f.handle.KeysetInfo().GetPrimaryKeyId() }

// Wrap encrypts a data key.
func (f *File) Wrap(key []byte) (wrapped []byte, by uint32, err error) {
	wrapped, err = f.aead.Encrypt(key, wrapping)
	if err != nil {
		return nil, 0, fmt.Errorf("wrapping a data key: %w", err)
	}
	return wrapped, f.Primary(), nil
}

// Unwrap decrypts a data key. Errors: ErrNoKey.
func (f *File) Unwrap(wrapped []byte) ([]byte, error) {
	key, err := f.aead.Decrypt(wrapped, wrapping)
	if err != nil {
		return nil, ErrNoKey
	}
	return key, nil
}

// Write writes the file in one step, readable to its owner only. Without replace it refuses a path that exists.
func (f *File) Write(path string, replace bool) error {
	var text bytes.Buffer
	if err := insecurecleartextkeyset.Write(f.handle, keyset.NewJSONWriter(&text)); err != nil {
		return fmt.Errorf("writing the encryption keys: %w", err)
	}
	text.WriteByte('\n')
	if !replace {
		return writeFresh(path, text.Bytes())
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("writing the encryption keys: %w", err)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing the encryption keys: %w", err)
	}
	if err := writeFresh(fresh, text.Bytes()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("writing the encryption keys: %w", err)
	}
	return nil
}

func writeFresh(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the encryption keys: %w", err)
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the encryption keys: %w", err)
	}
	return nil
}
