package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/singleflight"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/jobs/clock"
)

// The fields that are encrypted. A value is bound to its field.
const (
	argsField   = "args"
	resultField = "result"
	errorField  = "error"
	logField    = "log"
	secretField = "webhook secret"
	alertField  = "alert secret"
)

const (
	dataKeyFor   = 24 * time.Hour   // how long a node encrypts with one data key
	queuesFlight = "queues"         // the name of that reading in vault.flight
	queuesFresh  = 10 * time.Second // which queues are encrypted is read again, beside a call, when it was read longer ago
)

// vault encrypts what goes to the database for encrypted queues, and decrypts what comes from it. It knows the queues by heart. What it
// remembers may be old, which does no harm: SQL refuses what should be encrypted and is not.
type vault struct {
	keys   *encryption.Keys // nil: this node has none
	q      *db.Queries
	clock  clock.Clock
	flight singleflight.Group

	queues    atomic.Pointer[map[string]struct{}]
	queuesAt  atomic.Int64 // in nanoseconds
	refreshes atomic.Bool

	mu      sync.Mutex
	known   map[int32]*encryption.DataKey
	current *encryption.DataKey // for what is encrypted now
	left    int                 // how many more values it may encrypt
	until   time.Time           // and until when
}

func newVault(e *Engine, keys *encryption.Keys) *vault {
	return &vault{keys: keys, q: e.q, clock: e.clock, known: map[int32]*encryption.DataKey{}}
}

// encrypted returns the names of the encrypted queues.
func (v *vault) encrypted(ctx context.Context) (map[string]struct{}, error) {
	queues := v.queues.Load()
	if queues == nil {
		return v.refresh(ctx)
	}
	if v.clock.Now().UnixNano()-v.queuesAt.Load() > int64(queuesFresh) && v.refreshes.CompareAndSwap(false, true) {
		go func() {
			defer v.refreshes.Store(false)
			_, _ = v.refresh(context.WithoutCancel(ctx)) // the next call tries again
		}()
	}
	return *queues, nil
}

// refresh returns what it read: forget may have dropped it already.
func (v *vault) refresh(ctx context.Context) (map[string]struct{}, error) {
	found, err, _ := v.flight.Do(queuesFlight, func() (any, error) {
		names, err := v.q.EncryptedQueues(ctx)
		if err != nil {
			return nil, fromDB("reading which queues are encrypted", err)
		}
		queues := make(map[string]struct{}, len(names))
		for _, name := range names {
			queues[name] = struct{}{}
		}
		v.queues.Store(&queues)
		v.queuesAt.Store(v.clock.Now().UnixNano())
		return queues, nil
	})
	if err != nil {
		return nil, err
	}
	return found.(map[string]struct{}), nil
}

// forget is called when the settings of a queue have changed.
func (v *vault) forget(string) { v.queues.Store(nil) }

// missing is the error of a node that should encrypt or decrypt and cannot.
func missing(what string, cause error) *Error {
	return &Error{
		Code: EncryptionUnavailable, Message: what, cause: cause,
		Hint: "Ask another node. Its operator gives a node the keys with weir serve --encryption-key-file.",
	}
}

// dataKey is the key to encrypt a value with. A node makes its own: what the others know of theirs need not be counted.
func (v *vault) dataKey(ctx context.Context) (*encryption.DataKey, error) {
	if v.keys == nil {
		return nil, missing("the queue is encrypted, and this node has no encryption key", nil)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.current == nil || v.left == 0 || v.clock.Now().After(v.until) {
		bytes := encryption.NewDataKey()
		wrapped, by, err := v.keys.Wrap(bytes)
		if err != nil {
			return nil, missing("this node cannot use its encryption key", err)
		}
		id, err := v.q.NewDataKey(ctx, db.NewDataKeyParams{Wrapped: wrapped, WrappedBy: int64(by)})
		if err != nil {
			return nil, fromDB("storing a data key", err)
		}
		key, err := encryption.UseDataKey(id, bytes)
		if err != nil {
			return nil, err
		}
		v.current, v.left, v.until, v.known[id] = key, encryption.MaxPerKey, v.clock.Now().Add(dataKeyFor), key
	}
	v.left--
	return v.current, nil
}

// find returns a data key of any node.
func (v *vault) find(ctx context.Context, id int32) (*encryption.DataKey, error) {
	v.mu.Lock()
	key := v.known[id]
	v.mu.Unlock()
	if key != nil {
		return key, nil
	}
	if v.keys == nil {
		return nil, encryption.ErrNoKey
	}
	found, err, _ := v.flight.Do(fmt.Sprint(id), func() (any, error) {
		wrapped, err := v.q.DataKey(ctx, id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, encryption.ErrNoKey
		} else if err != nil {
			return nil, err
		}
		bytes, err := v.keys.Unwrap(wrapped)
		if err != nil {
			return nil, err
		}
		key, err := encryption.UseDataKey(id, bytes)
		if err != nil {
			return nil, err
		}
		v.mu.Lock()
		v.known[id] = key
		v.mu.Unlock()
		return key, nil
	})
	if err != nil {
		return nil, err
	}
	return found.(*encryption.DataKey), nil
}

// encrypt returns a value as JSON for the database.
func (v *vault) encrypt(ctx context.Context, field string, value []byte) (json.RawMessage, error) {
	key, err := v.dataKey(ctx)
	if err != nil {
		return nil, err
	}
	text, err := key.Encrypt(field, value)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(`"` + text + `"`), nil
}

// decrypt returns a value from the database as it was before it was encrypted, and any other as it is. With an error it returns the value
// as it is stored.
func (v *vault) decrypt(ctx context.Context, field string, value json.RawMessage) (json.RawMessage, error) {
	if len(value) < len(encryption.Prefix)+2 || !encryption.IsEncrypted(value) {
		return value, nil
	}
	id, sealed, err := encryption.KeyOf(string(value[1 : len(value)-1]))
	if err != nil {
		return value, err
	}
	key, err := v.find(ctx, id)
	if err != nil {
		return value, err
	}
	plain, err := key.Decrypt(field, sealed)
	if err != nil {
		return value, err
	}
	return plain, nil
}

// shown is decrypt for what people look at: a value that this node cannot decrypt is shown as it is stored.
func (v *vault) shown(ctx context.Context, field string, value json.RawMessage) json.RawMessage {
	value, _ = v.decrypt(ctx, field, value)
	return value
}

// twice does it again, if SQL refused a readable value of a queue that this node did not know to be encrypted.
func (v *vault) twice(ctx context.Context, do func() error) error {
	err := do()
	if db.SQLState(err) != "WR023" && CodeOf(err) != QueueEncrypted {
		return err
	}
	v.flight.Forget(queuesFlight) // one under way may have read them before the change
	if _, err := v.refresh(ctx); err != nil {
		return err
	}
	return do()
}

// skips says whether a search in some queues (none: in all) does not see into values that are encrypted.
func (v *vault) skips(ctx context.Context, names []string) bool {
	queues, err := v.encrypted(ctx)
	if err != nil {
		return false // the search says what is wrong with the database
	}
	return len(names) == 0 && len(queues) > 0 || slices.ContainsFunc(names, func(name string) bool { _, ok := queues[name]; return ok })
}
