package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/jobs"
)

// AccessKeyPath is the path of one key.
type AccessKeyPath struct {
	ID string `path:"id" pattern:"^[0-9a-f]+$" maxLength:"16" doc:"The id of the key, its public part." example:"3f9a1c0b7d5e2468"`
}

type accessKeyBodyInput struct {
	AccessKeyPath
	Payload
}

// KeyRotateRequest says how long the key before is accepted too.
type KeyRotateRequest struct {
	KeepOldSeconds *float64 `json:"keep_old_seconds,omitempty" minimum:"0" maximum:"7776000" doc:"How long the old key is accepted beside the new one. Defaults to a day."`
}

// KeyPage is one page of the list of keys.
type KeyPage struct {
	Items      []jobs.Key `json:"items" doc:"The keys, by id."`
	NextCursor *string    `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

// Caller is who calls.
type Caller struct {
	Authenticated bool          `json:"authenticated" doc:"The node asks for a key, and knows who calls."`
	Name          string        `json:"name,omitempty" doc:"The key's name." example:"billing-service"`
	KeyID         string        `json:"key_id,omitempty" doc:"The key's id." example:"3f9a1c0b7d5e2468"`
	Roles         []access.Role `json:"roles" enum:"producer,worker,reader,operator,admin" doc:"What the caller may do. Without authentication: everything."`
	Queues        []string      `json:"queues,omitempty" doc:"Patterns of the queues that the caller may use; absent: all."`
	Tenant        string        `json:"tenant,omitempty" doc:"The tenant that the caller is bound to."`
	Redact        bool          `json:"redact,omitempty" doc:"The caller sees no args, results and metadata."`
}

type (
	keyOutput struct {
		Body jobs.Key
	}
	keyPageOutput struct {
		Body KeyPage
	}
	callerOutput struct {
		Body Caller
	}
	madeKeyOutput struct {
		Location string `header:"Location" doc:"The path of the key."`
		Body     jobs.Key
	}
)

func exampleKey() jobs.Key {
	return jobs.Key{
		ID: "3f9a1c0b7d5e2468", Name: "billing-service", Roles: []access.Role{access.Producer}, Queues: []string{"mail-*"}, State: "active",
		Kind: "key", CreatedAt: exampleTime, CreatedBy: "ann",
	}
}

func (a *API) registerKeys() {
	made := exampleKey()
	made.Secret = "weir_3f9a1c0b7d5e2468_…"
	register(a, huma.Operation{
		OperationID: "getCaller", Method: http.MethodGet, Path: "/v1/whoami", Tags: []string{tagKeys},
		Summary: "Show who calls", Description: "Says which key a call was made with, and what it may do.",
	}, documented{
		answer: Caller{Authenticated: true, Name: "billing-service", KeyID: "3f9a1c0b7d5e2468", Roles: []access.Role{access.Producer}}, noDatabase: true,
	}, a.getCaller)
	register(a, huma.Operation{
		OperationID: "listKeys", Method: http.MethodGet, Path: "/v1/keys", Tags: []string{tagKeys},
		Summary: "List keys", Description: "Lists API keys, the revoked ones too, without their secrets.",
	}, documented{answer: KeyPage{Items: []jobs.Key{exampleKey()}}}, a.listKeys)
	registerBody(a, huma.Operation{
		OperationID: "createKey", Method: http.MethodPost, Path: "/v1/keys", Tags: []string{tagKeys}, DefaultStatus: http.StatusCreated,
		Summary:     "Create a key",
		Description: "Makes an API key. Only this answer has the key itself, as `key`: weir keeps a hash of it.",
	}, documented{
		body:   jobs.NewKey{Name: "billing-service", Roles: []access.Role{access.Producer}, Queues: []string{"mail-*"}},
		answer: made, problems: []jobs.Code{jobs.KeyExists},
	}, a.createKey)
	register(a, huma.Operation{
		OperationID: "getKey", Method: http.MethodGet, Path: "/v1/keys/{id}", Tags: []string{tagKeys},
		Summary: "Get a key", Description: "Shows an API key, without its secret.",
	}, documented{answer: exampleKey(), problems: []jobs.Code{jobs.KeyNotFound}}, a.getKey)
	registerBody(a, huma.Operation{
		OperationID: "editKey", Method: http.MethodPatch, Path: "/v1/keys/{id}", Tags: []string{tagKeys},
		Summary: "Change a key", Description: "Changes the given settings. All nodes follow within two seconds.",
	}, documented{
		body: jobs.KeyEdit{Roles: []access.Role{access.Producer, access.Worker}}, answer: exampleKey(), problems: []jobs.Code{jobs.KeyNotFound, jobs.KeyExists},
	}, a.editKey)
	registerBody(a, huma.Operation{
		OperationID: "rotateKey", Method: http.MethodPost, Path: "/v1/keys/{id}/rotate", Tags: []string{tagKeys},
		Summary:     "Rotate a key",
		Description: "Gives a key a new secret. The old one is accepted beside it for `keep_old_seconds`. Only this answer has the new key.",
	}, documented{body: KeyRotateRequest{KeepOldSeconds: new(3600.0)}, optional: true, answer: made, problems: []jobs.Code{jobs.KeyNotFound}}, a.rotateKey)
	register(a, huma.Operation{
		OperationID: "revokeKey", Method: http.MethodDelete, Path: "/v1/keys/{id}", Tags: []string{tagKeys}, DefaultStatus: http.StatusNoContent,
		Summary: "Revoke a key", Description: "Revokes a key for good. No node accepts it after two seconds.",
	}, documented{problems: []jobs.Code{jobs.KeyNotFound}}, a.revokeKey)
}

func (a *API) getCaller(ctx context.Context, _ *struct{}) (*callerOutput, error) {
	p := access.From(ctx)
	if p == nil {
		return &callerOutput{Body: Caller{Roles: []access.Role{access.Admin}}}, nil
	}
	return &callerOutput{Body: Caller{
		Authenticated: true, Name: p.Name, KeyID: p.KeyID, Roles: p.Roles, Queues: p.Queues, Tenant: p.Tenant, Redact: p.Redact,
	}}, nil
}

func (a *API) listKeys(ctx context.Context, in *Paging) (*keyPageOutput, error) {
	after, err := in.position(ctx, "keys")
	if err != nil {
		return nil, err
	}
	keys, err := a.engine.Keys(ctx, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	items, next := trim(ctx, *in, "keys", keys, func(k jobs.Key) string { return k.ID })
	return &keyPageOutput{Body: KeyPage{Items: items, NextCursor: next}}, nil
}

func (a *API) createKey(ctx context.Context, _ *bodyInput, k *jobs.NewKey) (*madeKeyOutput, error) {
	key, err := a.engine.NewKey(ctx, *k)
	if err != nil {
		return nil, err
	}
	return &madeKeyOutput{Location: "/v1/keys/" + key.ID, Body: key}, nil
}

func (a *API) getKey(ctx context.Context, in *AccessKeyPath) (*keyOutput, error) {
	key, err := a.engine.Key(ctx, in.ID)
	return &keyOutput{Body: key}, err
}

func (a *API) editKey(ctx context.Context, in *accessKeyBodyInput, b *jobs.KeyEdit) (*keyOutput, error) {
	key, err := a.engine.EditKey(ctx, in.ID, *b)
	return &keyOutput{Body: key}, err
}

func (a *API) rotateKey(ctx context.Context, in *accessKeyBodyInput, b *KeyRotateRequest) (*keyOutput, error) {
	keep := 24 * time.Hour
	if b.KeepOldSeconds != nil {
		keep = time.Duration(*b.KeepOldSeconds * float64(time.Second))
	}
	key, err := a.engine.RotateKey(ctx, in.ID, keep)
	return &keyOutput{Body: key}, err
}

func (a *API) revokeKey(ctx context.Context, in *AccessKeyPath) (*struct{}, error) {
	return nil, a.engine.RevokeKey(ctx, in.ID)
}
