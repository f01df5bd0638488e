package jobs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/clock"
)

const (
	keyFresh      = time.Second     // a key that was read longer ago is read again, beside the call,
	keyStale      = 2 * time.Second // and one from before then by the call itself: so a revocation is in force by then, notified or not
	keysKept      = 10_000          // keys that a node remembers, those that do not exist too
	strangersRate = 50              // look-ups a second of keys that this node does not know
	usesWritten   = time.Minute     // how often last_used_at is written
)

// ErrUnauthenticated is the error of a key that is not accepted.
var ErrUnauthenticated = errors.New("the key is not accepted: it is unknown, expired or revoked")

// keyring knows the keys that callers have used lately, so that a call costs the database nothing.
type keyring struct {
	q         *db.Queries
	clock     clock.Clock
	sealer    atomic.Pointer[sealer]
	flight    singleflight.Group
	strangers *rate.Limiter

	mu      sync.Mutex
	known   map[string]*knownKey // by the key's id, cert: and the names of a certificate, oidc: and a subject
	used    map[int32]struct{}   // principals since usedAt
	usedAt  time.Time
	reading map[string]bool // keys that are read beside a call
}

// knownKey is what the database said of a key. A nil principal: there is no such key.
type knownKey struct {
	principal *access.Principal
	row       db.PrincipalOfKeyRow
	readAt    time.Time
}

func newKeyring(e *Engine) *keyring {
	return &keyring{
		q: e.q, clock: e.clock, strangers: rate.NewLimiter(strangersRate, 2*strangersRate),
		known: map[string]*knownKey{}, used: map[int32]struct{}{}, usedAt: e.clock.Now(), reading: map[string]bool{},
	}
}

// Authenticate returns the principal of an API key. Errors: ErrUnauthenticated, Overloaded, Unavailable.
func (e *Engine) Authenticate(ctx context.Context, key access.Key) (*access.Principal, error) {
	k := e.keyring
	if err := k.ready(ctx); err != nil {
		return nil, err
	}
	known, err := k.look(ctx, key.ID, func(ctx context.Context) (*knownKey, error) { return k.ofKey(ctx, key.ID) })
	if err != nil {
		return nil, err
	}
	if !known.accepts(key, k.clock.Now()) {
		return nil, ErrUnauthenticated
	}
	k.use(known.principal.ID)
	return known.principal, nil
}

// accepts compares the key, and looks at the times, by this machine's clock.
func (k *knownKey) accepts(key access.Key, now time.Time) bool {
	if !k.inForce(now) {
		return false
	}
	return key.Is(k.row.KeyHash) || k.row.OldKeyUntil != nil && now.Before(*k.row.OldKeyUntil) && key.Is(k.row.OldKeyHash)
}

func (k *knownKey) inForce(now time.Time) bool {
	return k.principal != nil && k.row.RevokedAt == nil && (k.row.ExpiresAt == nil || now.Before(*k.row.ExpiresAt))
}

// ready reads the secret of tokens, once.
func (k *keyring) ready(ctx context.Context) error {
	if k.sealer.Load() != nil {
		return nil
	}
	secret, err := k.q.TokenSecret(ctx)
	if err != nil {
		return fromDB("reading the secret of tokens", err)
	}
	s, err := newSealer(secret)
	if err != nil {
		return err
	}
	k.sealer.Store(s)
	return nil
}

// look returns what is known under a name, from memory if that is fresh enough, or else by asking the database.
func (k *keyring) look(ctx context.Context, name string, ask question) (*knownKey, error) {
	k.mu.Lock()
	known := k.known[name]
	age := keyStale
	if known != nil {
		age = k.clock.Since(known.readAt)
	}
	refresh := age >= keyFresh && age < keyStale && !k.reading[name]
	if refresh {
		k.reading[name] = true
	}
	k.mu.Unlock()
	switch {
	case refresh:
		go k.refresh(name, ask)
		return known, nil
	case age < keyStale:
		return known, nil
	case known == nil && !k.strangers.Allow():
		return nil, &Error{Code: Overloaded, Message: "too many unknown callers are being looked up", Hint: "Try again in a second."}
	}
	found, err, _ := k.flight.Do(name, func() (any, error) { return k.read(context.WithoutCancel(ctx), name, ask) })
	if err != nil {
		return nil, err
	}
	return found.(*knownKey), nil
}

// question asks the database who calls. An answer without a principal: it does not know.
type question func(context.Context) (*knownKey, error)

func (k *keyring) refresh(name string, ask question) {
	ctx, cancel := context.WithTimeout(context.Background(), keyStale)
	defer cancel()
	_, _ = k.read(ctx, name, ask) // the next call reads it itself, and has the error
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.reading, name)
}

// read asks the database, and remembers the answer.
func (k *keyring) read(ctx context.Context, name string, ask question) (*knownKey, error) {
	began := k.clock.Now()
	found, err := ask(ctx)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		found = &knownKey{}
	case err != nil:
		return nil, fromDB("looking up who calls", err)
	}
	found.readAt = began
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= keysKept {
		maps.DeleteFunc(k.known, func(_ string, known *knownKey) bool { return k.clock.Since(known.readAt) >= keyStale })
	}
	if len(k.known) < keysKept {
		k.known[name] = found
	}
	return found, nil
}

func (k *keyring) ofKey(ctx context.Context, id string) (*knownKey, error) {
	row, err := k.q.PrincipalOfKey(ctx, id)
	if err != nil {
		return nil, err
	}
	return &knownKey{row: row, principal: &access.Principal{
		ID: row.ID, Name: row.Name, KeyID: id, Roles: rolesOf(row.Roles), Queues: row.Queues, Tenant: value(row.Tenant),
		Redact: row.Redact, RatePerSecond: value(row.RatePerSecond),
	}}, nil
}

// forget makes the next call with a key read it again.
func (k *keyring) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.known, func(name string, known *knownKey) bool {
		return name == id || known.principal != nil && known.principal.KeyID == id
	})
}

// use notes that a principal has called, and writes that down now and then.
func (k *keyring) use(id int32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.used[id] = struct{}{}
	if k.clock.Since(k.usedAt) < usesWritten {
		return
	}
	ids := slices.Collect(maps.Keys(k.used))
	k.used, k.usedAt = map[int32]struct{}{}, k.clock.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		_ = k.q.TouchPrincipals(ctx, ids) // a convenience, and written again in a minute
	}()
}
