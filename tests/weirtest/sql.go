//go:build unix

package weirtest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Querier is something that runs statements: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// TryExec runs a statement and returns its error.
func TryExec(q Querier, sql string, args ...any) error {
	rows, err := q.Query(context.Background(), sql, args...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// Exec runs a statement.
func Exec(t testing.TB, q Querier, sql string, args ...any) {
	t.Helper()
	if err := TryExec(q, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Values returns the values of a statement's only column.
func Values[T any](t testing.TB, q Querier, sql string, args ...any) []T {
	t.Helper()
	rows, err := q.Query(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return values
}

// Value returns the only value that a statement gives.
func Value[T any](t testing.TB, q Querier, sql string, args ...any) T {
	t.Helper()
	values := Values[T](t, q, sql, args...)
	if len(values) != 1 {
		t.Fatalf("%s: %d rows, want one", sql, len(values))
	}
	return values[0]
}

// Commit commits a transaction.
func Commit(t testing.TB, tx pgx.Tx) {
	t.Helper()
	if err := tx.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Rollback rolls a transaction back.
func Rollback(t testing.TB, tx pgx.Tx) {
	t.Helper()
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// WantSQLState checks the SQLSTATE of an error. An error of the contract (WRxxx) must have a hint.
func WantSQLState(t testing.TB, err error, code string) *pgconn.PgError {
	t.Helper()
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		t.Errorf("the error is %v, want %s", err, code)
		return &pgconn.PgError{}
	}
	if refusal.Code != code {
		t.Errorf("the error is %s %q, want %s", refusal.Code, refusal.Message, code)
	}
	if strings.HasPrefix(code, "WR") && refusal.Hint == "" {
		t.Errorf("%s %q comes without a hint", refusal.Code, refusal.Message)
	}
	return refusal
}

// HasSQLState reports whether an error has this SQLSTATE.
func HasSQLState(err error, code string) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == code
}

// ErrRolledBack returned to roll a transaction back on purpose.
var ErrRolledBack = errors.New("the transaction is rolled back on purpose")
