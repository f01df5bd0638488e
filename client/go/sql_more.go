package weir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// one runs a statement that returns one value.
func one[T any](ctx context.Context, t *sqlTransport, sql string, args ...any) (value T, err error) {
	return value, sqlError(t.pool.QueryRow(ctx, sql, args...).Scan(&value))
}

// do runs a statement without a result.
func (t *sqlTransport) do(ctx context.Context, sql string, args ...any) error {
	_, err := t.pool.Exec(ctx, sql, args...)
	return sqlError(err)
}

func (t *sqlTransport) submitWorkflow(ctx context.Context, w *Workflow, key string) (ID, error) {
	definition, err := w.text(key)
	if err != nil {
		return 0, err
	}
	id, err := one[int64](ctx, t, "select weir.submit_workflow($1::jsonb)", string(definition))
	return ID(id), err
}

func (t *sqlTransport) workflow(ctx context.Context, id ID) (*WorkflowState, error) {
	text, err := one[string](ctx, t, `select (to_jsonb(w) || jsonb_build_object('id', w.id::text))::text from weir_read.workflows w where w.id = $1`, int64(id))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &Error{Code: "workflow_not_found", Message: "there is no workflow " + id.String()}
	}
	if err != nil {
		return nil, err
	}
	s := &WorkflowState{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return nil, fmt.Errorf("weir: reading workflow %s: %w", id, err)
	}
	return s, nil
}

func (t *sqlTransport) signal(ctx context.Context, workflow ID, name string, payload json.RawMessage) error {
	return t.do(ctx, "select weir.signal($1, $2, $3::jsonb)", int64(workflow), name, string(payload))
}

func (t *sqlTransport) setSchedule(ctx context.Context, name string, definition []byte) error {
	return t.do(ctx, "select weir.set_schedule($1, $2::jsonb)", name, string(definition))
}

func (t *sqlTransport) deleteSchedule(ctx context.Context, name string) error {
	return t.do(ctx, "select weir.delete_schedule($1)", name)
}

func (t *sqlTransport) triggerSchedule(ctx context.Context, name string) (ID, error) {
	id, err := one[int64](ctx, t, "select weir.trigger_schedule($1)", name)
	return ID(id), err
}
