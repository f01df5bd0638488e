package weir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors that callers look for with [errors.Is].
var (
	// ErrLeaseLost says that another worker may have the job: its lease expired, was taken back, or has ended. Nothing that was said about the job
	// was accepted. It is the cause of the context of a handler whose lease is lost, and the error of [RawJob.CompleteTx].
	ErrLeaseLost = errors.New("weir: the lease on the job is lost")
	// ErrCancelled is the cause of the context of a handler whose job a caller cancelled.
	ErrCancelled = errors.New("weir: the job was cancelled")
	// ErrTimeout is the cause of the context of a handler whose attempt has run for as long as it may.
	ErrTimeout = errors.New("weir: the attempt took longer than its timeout")
	// ErrShutdown is the cause of the context of a handler that still runs when the grace of a shutdown is over.
	ErrShutdown = errors.New("weir: the worker is shutting down")
	// ErrNotFound says that there is no job, workflow or schedule of that name or id.
	ErrNotFound = errors.New("weir: not found")
	// ErrUnsupported says that the client's way to weir cannot do this: the error's text says which way can.
	ErrUnsupported = errors.New("weir: not supported over this transport")
)

// Error is a refusal by weir, over REST or SQL. Nothing was changed.
type Error struct {
	// Code says what is wrong, for programs, such as invalid_argument. docs/sql.md lists the codes. Empty: the refusal is PostgreSQL's own.
	Code string
	// Message says it for people.
	Message string
	// Hint says what to do. Empty: none.
	Hint string
	// Field is the place of a wrong value, such as jobs[3].priority. Empty: none.
	Field string
	// Status is the HTTP status; 0: over SQL.
	Status int
	// RetryAfter is how long weir asks to wait before the next try; 0: it does not say.
	RetryAfter time.Duration

	cause error
}

// Error is the message with its hint.
func (e *Error) Error() string {
	text := "weir: " + e.Message
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap is the error of the driver, if there is one.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is find [ErrLeaseLost] and [ErrNotFound].
func (e *Error) Is(target error) bool {
	switch target {
	case ErrLeaseLost:
		return e.Code == "stale_token"
	case ErrNotFound:
		return strings.HasSuffix(e.Code, "_not_found")
	}
	return false
}

// sqlCodes are the codes of weir's SQLSTATEs that a client meets.
var sqlCodes = map[string]string{
	"WR001": "stale_token", "WR002": "job_not_found", "WR003": "job_ended", "WR006": "idempotency_mismatch", "WR010": "invalid_argument",
	"WR011": "queue_not_found", "WR013": "queue_full", "WR015": "worker_not_found", "WR016": "too_many_names", "WR018": "tenant_mismatch",
	"WR019": "quota_exceeded", "WR023": "queue_encrypted", "WR024": "worker_taken", "WR030": "schedule_not_found", "WR031": "schedule_exists",
	"WR050": "workflow_not_found", "WR051": "workflow_ended", "WR054": "not_a_step", "42501": "forbidden",
}

// sqlError turns an error of a driver into an *Error where weir or PostgreSQL refused something. It knows pgx, and any driver whose errors tell
// their SQLSTATE.
func sqlError(err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return &Error{Code: sqlCodes[pg.Code], Message: pg.Message, Hint: pg.Hint, Field: pg.ColumnName, cause: err}
	}
	var other interface{ SQLState() string }
	if errors.As(err, &other) {
		return &Error{Code: sqlCodes[other.SQLState()], Message: err.Error(), cause: err}
	}
	return err
}

// sqlState is the SQLSTATE of an error, or nothing.
func sqlState(err error) string {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState()
	}
	return ""
}

// isAway says whether an error concerns the way to weir, or weir as a whole, and not what was asked: the same call may work later.
func isAway(err error) bool {
	var e *Error
	var network net.Error
	var connecting *pgconn.ConnectError
	switch {
	case err == nil:
		return false
	case errors.As(err, &e) && e.Status != 0:
		return e.Status == http.StatusTooManyRequests && e.Code != "queue_full" && e.Code != "quota_exceeded" || e.Status == http.StatusRequestTimeout || e.Status >= 500
	case errors.Is(err, errBrokenOff), errors.As(err, &network), errors.As(err, &connecting), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), pgconn.SafeToRetry(err):
		return true
	}
	state := sqlState(err)
	return slices.Contains(busyStates, state) || strings.HasPrefix(state, "08") || strings.HasPrefix(state, "57P") || strings.HasPrefix(state, "53")
}

// busyStates are SQLSTATEs of a server that could not do a statement now: it took too long, the server is a standby, or another transaction was in the
// way.
var busyStates = []string{"57014", "25006", "40001", "40P01", "55P03"}

// errBrokenOff is that an answer did not come whole.
var errBrokenOff = errors.New("the answer broke off")

// storedNothing says whether a failed call certainly changed nothing, so that it can be made again without a key.
func storedNothing(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return true // weir answered, and what it refuses changes nothing
	}
	var dial *net.OpError
	var connecting *pgconn.ConnectError
	return errors.As(err, &dial) && dial.Op == "dial" || errors.As(err, &connecting) || pgconn.SafeToRetry(err)
}

// retryAfter is how long weir asks to wait.
func retryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// typeOf is the type of an error as failures name it: that of the first error in the chain that has a type of its own.
func typeOf(err error) string {
	var named interface{ ErrorType() string }
	if errors.As(err, &named) {
		return named.ErrorType()
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch name := fmt.Sprintf("%T", e); name {
		case "*fmt.wrapError", "*fmt.wrapErrors", "*errors.errorString", "*errors.joinError", "*weir.outcome":
		default:
			return strings.TrimPrefix(name, "*")
		}
	}
	return "error"
}
