//go:build unix

package weirtest

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// loginIterations are those of the hash of the superuser's password. PostgreSQL's 4096 protect passwords that people
// choose. This one is random, and with the race detector each login would take 18 ms of the processor for them.
const loginIterations = 1

// speedUpLogins stores the password of a connection's role, which must be random, with loginIterations.
func speedUpLogins(ctx context.Context, conn *pgx.Conn) error {
	c := conn.Config()
	verifier, err := scramVerifier(c.Password)
	if err != nil {
		return err
	}
	// PostgreSQL keeps a verifier as it is.
	_, err = conn.Exec(ctx, fmt.Sprintf("alter role %s password '%s'", pgx.Identifier{c.User}.Sanitize(), verifier))
	return err
}

// scramVerifier is what PostgreSQL stores of a password (RFC 5803).
func scramVerifier(password string) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, loginIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	sign := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s",
		loginIterations, encode(salt), encode(stored[:]), encode(sign("Server Key"))), nil
}
