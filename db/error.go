package db

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLState is the SQLSTATE of an error that PostgreSQL answered with, or "".
func SQLState(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// IsLocked says whether a statement gave up because it waited for a lock for longer than its session's lock_timeout.
func IsLocked(err error) bool { return SQLState(err) == "55P03" }

// IsLockOf says whether a statement waited for rows of this table, of those that wait for a lock in a function that names it.
func IsLockOf(err error, table string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.Contains(refused.Where, table)
}

// IsConflict says whether a statement lost against another transaction: a lock timeout, a deadlock or a serialization failure.
func IsConflict(err error) bool {
	switch SQLState(err) {
	case "55P03", "40P01", "40001":
		return true
	}
	return false
}

// IsTimeout says whether a statement was cancelled because it took too long, or because its caller asked for that.
func IsTimeout(err error) bool {
	return SQLState(err) == "57014" || errors.Is(err, context.DeadlineExceeded)
}

// IsReadOnly says whether a statement wrote where nothing may be written: on a standby, or with default_transaction_read_only.
func IsReadOnly(err error) bool { return SQLState(err) == "25006" }

// IsForbidden says whether weir's role lacks a privilege.
func IsForbidden(err error) bool { return SQLState(err) == "42501" }

// IsAway says whether the database could not do its part, whatever the statement: it did not answer, had no room, was shutting down, or takes no
// writes. The same statement may succeed later.
func IsAway(err error) bool {
	if err == nil {
		return false
	}
	if state := SQLState(err); state != "" {
		switch state[:2] {
		case "08", "53", "57": // connection, resources, shutdown or cancelled
			return true
		}
		return IsReadOnly(err) || IsForbidden(err)
	}
	var timeout net.Error
	return pgconn.SafeToRetry(err) || errors.As(err, &timeout) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded)
}
