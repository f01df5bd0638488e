package jobs

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/weirhq/weir/access"
)

// Token names a lease. Number is the fencing token of the database, which can be guessed. Where callers are
// authenticated it carries a seal, which cannot: it binds the number to the job and to the principal that claimed it.
type Token struct {
	Number int64
	seal   [sealBytes]byte
	sealed bool
}

const sealBytes = 8

// TokenPattern is the form of a token: the number, and a seal behind a dot where callers are authenticated.
const TokenPattern = `^[0-9]+(\.[0-9a-f]{16})?$`

// MarshalText writes the number, and the seal behind a dot.
func (t Token) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// AppendText is MarshalText for a text that grows.
func (t Token) AppendText(text []byte) ([]byte, error) {
	text = strconv.AppendInt(text, t.Number, 10)
	if t.sealed {
		text = hex.AppendEncode(append(text, '.'), t.seal[:])
	}
	return text, nil
}

var (
	errToken       = errors.New("a token is what came with the job: a whole number in a string")
	errSealedToken = errors.New("a token is what came with the job: a whole number in a string, with its seal")
)

// UnmarshalText reads what MarshalText writes.
func (t *Token) UnmarshalText(text []byte) error {
	number, seal, sealed := bytes.Cut(text, []byte("."))
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || n < 0 {
		return errToken
	}
	*t = Token{Number: n, sealed: sealed}
	if !sealed {
		return nil
	}
	if len(seal) != hex.EncodedLen(sealBytes) {
		return errSealedToken
	}
	if _, err := hex.Decode(t.seal[:], seal); err != nil {
		return errSealedToken
	}
	return nil
}

// noToken is the number of no lease.
const noToken = -1

// sealer seals tokens, with a secret that all nodes of a database share. A seal is the CBC-MAC of two blocks, always
// two: the principal and the job, then the number.
type sealer struct{ block cipher.Block }

func newSealer(secret []byte) (*sealer, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("reading the secret of tokens: %w", err)
	}
	return &sealer{block}, nil
}

func (s *sealer) seal(p *access.Principal, job ID, number int64) Token {
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint32(b[:4], uint32(p.ID))
	binary.BigEndian.PutUint64(b[4:12], uint64(job))
	s.block.Encrypt(b[:], b[:])
	binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])^uint64(number))
	s.block.Encrypt(b[:], b[:])
	return Token{Number: number, seal: [sealBytes]byte(b[:sealBytes]), sealed: true}
}

// sealPosition seals a place in the events of the database. No principal has the number that goes before it.
func (s *sealer) sealPosition(at, seq int64) string {
	t := s.seal(&access.Principal{ID: -1}, ID(at), seq)
	return hex.EncodeToString(t.seal[:])
}

// sealed is the token for the caller that has just claimed a job.
func (e *Engine) sealed(p *access.Principal, job ID, number int64) Token {
	if p == nil {
		return Token{Number: number}
	}
	return e.keyring.sealer.Load().seal(p, job, number)
}

// fence is the number of a token that a caller names, or one that no lease has if the token is not this caller's.
func (e *Engine) fence(ctx context.Context, job ID, t Token) int64 {
	p := access.From(ctx)
	if p == nil {
		return t.Number
	}
	if want := e.sealed(p, job, t.Number); !t.sealed || subtle.ConstantTimeCompare(want.seal[:], t.seal[:]) != 1 {
		return noToken
	}
	return t.Number
}

// checkedFence is fence. It returns JobNotFound for a token that is not this caller's of a job that the caller may not see.
func (e *Engine) checkedFence(ctx context.Context, job ID, t Token) (int64, error) {
	number := e.fence(ctx, job, t)
	if number == noToken {
		return number, e.CheckJob(ctx, job)
	}
	return number, nil
}

// fenced are acks whose tokens were checked.
func (e *Engine) fenced(ctx context.Context, acks []Ack) []Ack {
	if access.From(ctx) == nil {
		return acks
	}
	own := make([]Ack, len(acks))
	for i, a := range acks {
		a.Token = Token{Number: e.fence(ctx, a.ID, a.Token)}
		own[i] = a
	}
	return own
}
