package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// NewKey is an API key to make. Name and Roles are required.
type NewKey struct {
	Name          string        `json:"name" minLength:"1" maxLength:"200" doc:"Names the key for people." example:"billing-service"`
	Roles         []access.Role `json:"roles" minItems:"1" maxItems:"5" enum:"producer,worker,reader,operator,admin" doc:"What it may do."`
	Queues        []string      `json:"queues,omitempty" minItems:"1" maxItems:"100" maxLength:"128" pattern:"^[A-Za-z0-9_.:*-]+$" doc:"The queues that it may use: names, with * for any characters. Defaults to all." example:"mail-*"`
	Tenant        string        `json:"tenant,omitempty" minLength:"1" maxLength:"200" doc:"It sees and makes only what is this tenant's. Defaults to no tenant: it sees all."`
	ExpiresAt     *time.Time    `json:"expires_at,omitempty" doc:"Not accepted from then on. Defaults to never."`
	RatePerSecond *float64      `json:"rate_per_second,omitempty" minimum:"0.001" maximum:"1000000" doc:"Most calls a second on each node. Defaults to no limit."`
	Redact        bool          `json:"redact,omitempty" doc:"It sees jobs without their args, results, metadata and the texts of errors. Defaults to false."`
	Kind          string        `json:"kind,omitempty" enum:"key,cert" doc:"key: an API key. cert: there is no key, but who shows a client certificate with this name is let in. Defaults to key."`
}

// KeyEdit is what can be changed of a key. Nil leaves a setting as it is.
type KeyEdit struct {
	Name          *string       `json:"name,omitempty" minLength:"1" maxLength:"200" doc:"Names the key for people."`
	Roles         []access.Role `json:"roles,omitempty" minItems:"1" maxItems:"5" enum:"producer,worker,reader,operator,admin" doc:"What it may do."`
	Queues        *[]string     `json:"queues,omitempty" maxItems:"100" maxLength:"128" pattern:"^[A-Za-z0-9_.:*-]+$" doc:"Patterns of the queues that it may use; empty: all."`
	Redact        *bool         `json:"redact,omitempty" doc:"It sees no args, results, metadata and texts of errors."`
	RatePerSecond *float64      `json:"rate_per_second,omitempty" minimum:"0" maximum:"1000000" doc:"Most calls a second on each node; 0: no limit."`
	ExpiresAt     *time.Time    `json:"expires_at,omitempty" doc:"Not accepted from then on."`
}

// settings are the edit as SQL takes it, where null lifts a bound.
func (k KeyEdit) settings() (json.RawMessage, error) {
	settings := map[string]any{}
	if k.Name != nil {
		settings["name"] = *k.Name
	}
	if k.Roles != nil {
		settings["roles"] = k.Roles
	}
	if k.Queues != nil {
		settings["queues"] = nil
		if len(*k.Queues) > 0 {
			settings["queues"] = *k.Queues
		}
	}
	if k.Redact != nil {
		settings["redact"] = *k.Redact
	}
	if k.RatePerSecond != nil {
		settings["rate_per_second"] = nonZero(*k.RatePerSecond)
	}
	if k.ExpiresAt != nil {
		settings["expires_at"] = utc(k.ExpiresAt)
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("encoding settings: %w", err)
	}
	return text, nil
}

// Key is an API key, without its secret.
type Key struct {
	ID            string        `json:"id" doc:"The public part of the key, which names it." example:"3f9a1c0b7d5e2468"`
	Name          string        `json:"name" doc:"Its name." example:"billing-service"`
	Roles         []access.Role `json:"roles" enum:"producer,worker,reader,operator,admin" doc:"What it may do."`
	Queues        []string      `json:"queues,omitempty" doc:"Patterns of the queues that it may use; absent: all."`
	Tenant        string        `json:"tenant,omitempty" doc:"The tenant that it is bound to."`
	Redact        bool          `json:"redact,omitempty" doc:"It sees no args, results, metadata and texts of errors."`
	RatePerSecond *float64      `json:"rate_per_second,omitempty" doc:"Most calls a second on each node."`
	Kind          string        `json:"kind" enum:"key,cert,oidc" doc:"key: an API key. cert: the holder of a client certificate with this name. oidc: a subject of access tokens, recorded with its first call."`
	State         string        `json:"state" enum:"active,expired,revoked" doc:"active: it is accepted."`
	CreatedAt     time.Time     `json:"created_at" doc:"When it was made."`
	CreatedBy     string        `json:"created_by" doc:"Who made it."`
	ExpiresAt     *time.Time    `json:"expires_at,omitempty" doc:"Not accepted from then on."`
	RevokedAt     *time.Time    `json:"revoked_at,omitempty" doc:"When it was revoked."`
	OldKeyUntil   *time.Time    `json:"old_key_until,omitempty" doc:"Until when the key before the last rotation is accepted too."`
	LastUsedAt    *time.Time    `json:"last_used_at,omitempty" doc:"When it was last used, at most two minutes late."`
	Secret        string        `json:"key,omitempty" doc:"The key itself, for the header Authorization: Bearer. Only the answer that makes or rotates it has it." example:"weir_3f9a1c0b7d5e2468_…"`
}

// NewKey makes an API key, and returns it with its secret. Errors: InvalidArgument, KeyExists.
func (e *Engine) NewKey(ctx context.Context, k NewKey) (Key, error) {
	roles := make([]string, len(k.Roles))
	for i, r := range k.Roles {
		roles[i] = string(r)
	}
	made, err := e.changes.CreateKey(ctx, db.CreateKeyParams{
		Name: k.Name, Roles: roles, Queues: k.Queues, Tenant: nonZero(k.Tenant), ExpiresAt: utc(k.ExpiresAt), RatePerSecond: k.RatePerSecond,
		Redact: k.Redact, CreatedBy: callerName(ctx), Kind: cmp.Or(k.Kind, "key"),
	})
	if err != nil {
		return Key{}, fromDB("making a key", err)
	}
	key, err := e.Key(ctx, made.ID)
	key.Secret = made.Key
	return key, err
}

// Keys lists up to limit keys by id, from the one after an id.
func (e *Engine) Keys(ctx context.Context, after string, limit int) ([]Key, error) {
	return e.listKeys(ctx, db.ListKeysParams{After: after, MaxKeys: int32(limit)})
}

// Key returns one key. Errors: KeyNotFound.
func (e *Engine) Key(ctx context.Context, id string) (Key, error) {
	found, err := e.listKeys(ctx, db.ListKeysParams{ID: &id, MaxKeys: 1})
	if err != nil {
		return Key{}, err
	}
	if len(found) == 0 {
		return Key{}, &Error{Code: KeyNotFound, Message: fmt.Sprintf("there is no key %q", id), Hint: "GET /v1/keys lists all keys."}
	}
	return found[0], nil
}

// EditKey changes the given settings of a key. Errors: InvalidArgument, KeyNotFound, KeyExists.
func (e *Engine) EditKey(ctx context.Context, id string, edit KeyEdit) (Key, error) {
	settings, err := edit.settings()
	if err != nil {
		return Key{}, err
	}
	if err := e.changes.EditKey(ctx, db.EditKeyParams{ID: id, Settings: settings}); err != nil {
		return Key{}, fromDB("changing a key", err)
	}
	e.keyring.forget(id)
	return e.Key(ctx, id)
}

// RotateKey gives a key a new secret, which is returned with it. The old one is accepted for this long. Errors:
// InvalidArgument, KeyNotFound.
func (e *Engine) RotateKey(ctx context.Context, id string, keepOld time.Duration) (Key, error) {
	secret, err := e.changes.RotateKey(ctx, db.RotateKeyParams{ID: id, KeepOldSeconds: keepOld.Seconds()})
	if err != nil {
		return Key{}, fromDB("rotating a key", err)
	}
	e.keyring.forget(id)
	key, err := e.Key(ctx, id)
	key.Secret = secret
	return key, err
}

// RevokeKey revokes a key for good. Errors: KeyNotFound.
func (e *Engine) RevokeKey(ctx context.Context, id string) error {
	err := fromDB("revoking a key", e.changes.RevokeKey(ctx, id))
	e.keyring.forget(id)
	return err
}

func (e *Engine) listKeys(ctx context.Context, params db.ListKeysParams) ([]Key, error) {
	rows, err := e.q.ListKeys(ctx, params)
	if err != nil {
		return nil, fromDB("listing keys", err)
	}
	keys := make([]Key, len(rows))
	for i, r := range rows {
		keys[i] = Key{
			ID: value(r.ID), Name: r.Name, Roles: rolesOf(r.Roles), Queues: r.Queues, Tenant: value(r.Tenant), Redact: r.Redact, RatePerSecond: r.RatePerSecond,
			Kind: r.Kind, State: r.State, CreatedAt: r.CreatedAt.UTC(), CreatedBy: r.CreatedBy, ExpiresAt: utc(r.ExpiresAt), RevokedAt: utc(r.RevokedAt),
			OldKeyUntil: utc(r.OldKeyUntil), LastUsedAt: utc(r.LastUsedAt),
		}
	}
	return keys, nil
}

func rolesOf(names []string) []access.Role {
	roles := make([]access.Role, len(names))
	for i, name := range names {
		roles[i] = access.Role(name)
	}
	return roles
}

// callerName is who calls, for people.
func callerName(ctx context.Context) string {
	if p := access.From(ctx); p != nil {
		return p.Name
	}
	return "a node without authentication"
}
