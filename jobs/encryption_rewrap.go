package jobs

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/jobs/clock"
)

// newSecret is the secret of a webhook: as its owner sees it once, and as it is stored. Empty: the database makes one, and keeps it
// readable.
type newSecret struct {
	shown  string
	stored *string
}

func (v *vault) newWebhookSecret(ctx context.Context) (newSecret, error) {
	if v.keys == nil {
		return newSecret{}, nil
	}
	shown := newWebhookSecret()
	stored, err := v.encryptText(ctx, secretField, shown)
	return newSecret{shown, &stored}, err
}

func newWebhookSecret() string {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it does not fail
	return "whsec_" + base64.StdEncoding.EncodeToString(key[:])
}

func (v *vault) encryptText(ctx context.Context, field, text string) (string, error) {
	key, err := v.dataKey(ctx)
	if err != nil {
		return "", err
	}
	return key.Encrypt(field, []byte(text))
}

// webhookSecret is the secret of a webhook as its owner knows it.
func (v *vault) webhookSecret(ctx context.Context, stored string) (string, error) {
	if !strings.HasPrefix(stored, encryption.Prefix) {
		return stored, nil
	}
	secret, err := v.decrypt(ctx, secretField, json.RawMessage(`"`+stored+`"`))
	if err != nil {
		return "", missing("this node cannot decrypt the secret of a webhook", err)
	}
	return string(secret), nil
}

// Rewrapped is the result of Rewrap.
type Rewrapped struct {
	Rewrapped int       `json:"rewrapped"` // data keys
	Secrets   int       `json:"secrets"`   // of webhooks and alert targets, that were readable before
	Left      []LeftKey `json:"left"`
}

// LeftKey counts the data keys that a key outside of the file wrapped.
type LeftKey struct {
	WrappedBy uint32 `json:"wrapped_by"`
	DataKeys  int    `json:"data_keys"`
}

// Rewrap wraps every data key with the primary key of the file, and encrypts secrets of webhooks and alert targets that are readable. What the data keys
// encrypted stays as it is.
func Rewrap(ctx context.Context, conn *pgx.Conn, keys *encryption.Keys) (Rewrapped, error) {
	done := Rewrapped{Left: []LeftKey{}}
	q := db.New(conn)
	_, primary, err := keys.Wrap(encryption.NewDataKey())
	if err != nil {
		return done, err
	}
	rows, err := q.DataKeysNotWrappedBy(ctx, int64(primary))
	if err != nil {
		return done, fromDB("reading data keys", err)
	}
	left := map[int64]int{}
	for _, r := range rows {
		key, err := keys.Unwrap(r.Wrapped)
		if errors.Is(err, encryption.ErrNoKey) {
			left[r.WrappedBy]++
			continue
		} else if err != nil {
			return done, err
		}
		wrapped, by, err := keys.Wrap(key)
		if err != nil {
			return done, err
		}
		if err := q.RewrapDataKey(ctx, db.RewrapDataKeyParams{ID: r.ID, Wrapped: wrapped, WrappedBy: int64(by), Was: r.WrappedBy}); err != nil {
			return done, fromDB("storing a data key", err)
		}
		done.Rewrapped++
	}
	for by, n := range left {
		done.Left = append(done.Left, LeftKey{uint32(by), n})
	}
	v := &vault{keys: keys, q: q, clock: clock.Clock{}, known: map[int32]*encryption.DataKey{}}
	if done.Secrets, err = v.encryptWebhookSecrets(ctx); err != nil {
		return done, err
	}
	alerts, err := v.encryptAlertSecrets(ctx)
	done.Secrets += alerts
	return done, err
}

// encryptWebhookSecrets encrypts those that are readable. One that changes meanwhile is left for the next time.
func (v *vault) encryptWebhookSecrets(ctx context.Context) (int, error) {
	rows, err := v.q.ReadableWebhookSecrets(ctx)
	if err != nil {
		return 0, fromDB("reading the secrets of webhooks", err)
	}
	for _, r := range rows {
		params := db.StoreWebhookSecretParams{WebhookID: r.WebhookID, Secret: r.Secret, Was: r.Secret, OldSecret: r.OldSecret, OldWas: r.OldSecret}
		for _, secret := range []*string{&params.Secret, &params.OldSecret} {
			if *secret == "" || strings.HasPrefix(*secret, encryption.Prefix) {
				continue
			}
			if *secret, err = v.encryptText(ctx, secretField, *secret); err != nil {
				return 0, err
			}
		}
		if err := v.q.StoreWebhookSecret(ctx, params); err != nil {
			return 0, fromDB("storing the secret of a webhook", err)
		}
	}
	return len(rows), nil
}

// encryptAlertSecrets encrypts those that are readable. One that changes meanwhile is left for the next time.
func (v *vault) encryptAlertSecrets(ctx context.Context) (int, error) {
	rows, err := v.q.ReadableAlertSecrets(ctx)
	if err != nil {
		return 0, fromDB("reading the secrets of alert targets", err)
	}
	for _, r := range rows {
		secret, err := v.encryptText(ctx, alertField, r.Secret)
		if err != nil {
			return 0, err
		}
		if err := v.q.StoreAlertSecret(ctx, db.StoreAlertSecretParams{TargetID: r.TargetID, Field: r.Field, Secret: secret, Was: r.Secret}); err != nil {
			return 0, fromDB("storing a secret of an alert target", err)
		}
	}
	return len(rows), nil
}
