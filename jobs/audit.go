package jobs

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// AuditEntry is a change that the audit trail has.
type AuditEntry struct {
	ID            ID              `json:"id" doc:"Grows with time." example:"42"`
	At            time.Time       `json:"at" doc:"When it was changed."`
	Principal     string          `json:"principal" doc:"Who changed it: the name of a key or of a subject; over SQL, the role that began the session." example:"ann"`
	PrincipalKind string          `json:"principal_kind" enum:"key,cert,oidc,sql,anonymous" doc:"key: an API key. cert: the holder of a client certificate. oidc: a subject of access tokens. sql: a session of the database. anonymous: a caller of a node without authentication."`
	KeyID         string          `json:"key_id,omitempty" doc:"The public part of the API key." example:"3f9a1c0b7d5e2468"`
	Remote        string          `json:"remote,omitempty" doc:"The address from which the call came." example:"192.0.2.7"`
	RequestID     string          `json:"request_id,omitempty" doc:"The X-Request-Id of the call."`
	Operation     string          `json:"operation" doc:"The operation that did it; over SQL the one that does the same." example:"pauseQueue"`
	Object        string          `json:"object" doc:"What was changed, as its path." example:"queues/mail"`
	Before        json.RawMessage `json:"before,omitempty" doc:"What it was before: of settings those that changed, without payloads and secrets."`
	After         json.RawMessage `json:"after,omitempty" doc:"What it is since, in the same way."`
}

// AuditFilter selects entries of the audit trail. Zero fields select all.
type AuditFilter struct {
	Principal string // name, or id of a key
	Operation string
	Object    string
	After     *time.Time
	Before    *time.Time
}

// Audit lists up to limit entries of the audit trail, newest first, with ids below before (0: from the newest).
func (e *Engine) Audit(ctx context.Context, f AuditFilter, before ID, limit int) ([]AuditEntry, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	rows, err := e.reads.ListAudit(ctx, db.ListAuditParams{
		BeforeID: int64(before), Principal: nonZero(f.Principal), Operation: nonZero(f.Operation), Object: nonZero(f.Object),
		After: utc(f.After), Before: utc(f.Before), MaxEntries: int32(limit),
	})
	if err != nil {
		return nil, fromDB("reading the audit trail", err)
	}
	entries := make([]AuditEntry, len(rows))
	for i, r := range rows {
		entries[i] = AuditEntry{
			ID: ID(r.ID), At: r.At.UTC(), Principal: r.Principal, PrincipalKind: r.PrincipalKind, KeyID: value(r.KeyID), Remote: value(r.Remote),
			RequestID: value(r.RequestID), Operation: r.Operation, Object: r.Object, Before: r.Before, After: r.After,
		}
	}
	return entries, nil
}

// keepAudit makes the next partitions of the audit trail, and drops the months whose retention is over.
func (e *Engine) keepAudit(ctx context.Context) error {
	dropped, err := e.loops.KeepAudit(ctx, e.auditDays)
	if db.IsLocked(err) {
		e.log.Info("the audit trail is in use; its retention waits")
		return nil
	}
	if err == nil && dropped > 0 {
		e.log.Info("retention of the audit trail", "dropped_months", dropped)
	}
	return fromDB("keeping the audit trail", err)
}

// actor is the setting weir.actor of a change: who makes it, which weir.record_change reads, and what the caller is bound
// to, for weir.caller_bounds.
type actor struct {
	Name      string `json:"name"`
	ID        int32  `json:"id,omitempty"`
	KeyID     string `json:"key_id,omitempty"`
	Remote    string `json:"remote,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	Operation string `json:"operation,omitempty"`

	Bounds *bounds `json:"bounds,omitempty"`
	Redact bool    `json:"redact,omitempty"`
}

// actorOf is who makes a change, as JSON; empty where no caller makes it.
func actorOf(ctx context.Context) string {
	call, ok := access.CallFrom(ctx)
	if !ok && access.From(ctx) == nil {
		return ""
	}
	a := actor{Name: callerName(ctx), Remote: call.Remote, RequestID: call.RequestID, Operation: call.Operation, Bounds: boundsOf(ctx)}
	if p := access.From(ctx); p != nil {
		a.ID, a.KeyID, a.Redact = p.ID, p.KeyID, p.Redact
	}
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and a number: they have an encoding
	}
	return string(text)
}
