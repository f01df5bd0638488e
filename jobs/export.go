package jobs

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// Export is what an operation wrote, piece by piece.
type Export struct {
	Format string // ndjson or csv

	e    *Engine
	id   ID
	next int32
}

// Export returns what an export wrote. Errors: OperationNotFound, OperationRunning, ResultNotFound (it is no export, or what it wrote is kept no longer).
func (e *Engine) Export(ctx context.Context, id ID) (*Export, error) {
	operation, err := e.Operation(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case operation.Kind != ExportJobs:
		return nil, &Error{Code: ResultNotFound, Message: "operation " + id.String() + " is no export", Hint: "Only exports have a result."}
	case operation.FinishedAt == nil:
		return nil, &Error{Code: OperationRunning, Message: "operation " + id.String() + " has not ended", Hint: "Wait until its finished_at is set."}
	}
	x := &Export{Format: "ndjson", e: e, id: id, next: 1}
	if operation.Options != nil && operation.Options.Format != "" {
		x.Format = operation.Options.Format
	}
	if operation.Done > 0 {
		if _, err := x.read(ctx, 1); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// Next returns the next piece: whole lines. An empty one is the end.
func (x *Export) Next(ctx context.Context) (string, error) {
	body, err := x.read(ctx, x.next)
	if CodeOf(err) == ResultNotFound {
		return "", nil
	}
	x.next++
	return body, err
}

func (x *Export) read(ctx context.Context, n int32) (string, error) {
	body, err := x.e.q.OperationResult(ctx, db.OperationResultParams{OperationID: int64(x.id), N: n})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", &Error{Code: ResultNotFound, Message: "the result of operation " + x.id.String() + " is not kept any more", Hint: "Results are kept for a day. Export once more."}
	}
	return body, fromDB("reading an export", err)
}
