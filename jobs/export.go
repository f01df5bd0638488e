package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// Export reads what an operation wrote, piece by piece.
type Export struct {
	Format string // ndjson or csv

	e    *Engine
	id   ID
	next int32
}

// Export opens the result of an export. Errors: OperationNotFound, OperationRunning, ResultNotFound (it is no export, or its result has been removed).
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
	_, err = x.read(ctx, 1)
	return x, err
}

// Next returns the next piece: whole lines. An empty one is the end. Errors: ResultNotFound, if a piece has been removed.
func (x *Export) Next(ctx context.Context) (string, error) {
	piece, err := x.read(ctx, x.next)
	x.next++
	return piece, err
}

// read keeps the export for another hour.
func (x *Export) read(ctx context.Context, n int32) (string, error) {
	piece, err := x.e.reads.OperationResult(ctx, db.OperationResultParams{OperationID: int64(x.id), N: n})
	if err != nil {
		return "", fromDB("reading an export", err)
	}
	return x.e.vault.decryptLines(ctx, piece, x.Format)
}
