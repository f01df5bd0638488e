package jobs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/batch"
)

// Code says what is wrong, for programs. A code keeps its meaning for ever.
type Code string

// The codes. Those that SQL raises too stand beside their SQLSTATE in sqlStates.
const (
	StaleToken            Code = "stale_token"            // the lease is not held with this token
	JobNotFound           Code = "job_not_found"          // there is no job of this id
	JobEnded              Code = "job_ended"              // the job has ended already
	JobNotEditable        Code = "job_not_editable"       // the job runs or has ended
	JobNotRetryable       Code = "job_not_retryable"      // the job neither ended nor waits for a time
	IdempotencyMismatch   Code = "idempotency_mismatch"   // the idempotency key was used for another request
	InvalidArgument       Code = "invalid_argument"       // a value is invalid; Field says which
	QueueNotFound         Code = "queue_not_found"        // there is no queue of this name
	QueueNotEmpty         Code = "queue_not_empty"        // the queue still has jobs
	QueueFull             Code = "queue_full"             // the queue has as many available jobs as it may
	QuotaExceeded         Code = "quota_exceeded"         // the call would exceed a quota of the tenant; Quota says which
	QuotaNotFound         Code = "quota_not_found"        // the tenant has no quota
	TenantMismatch        Code = "tenant_mismatch"        // the queue belongs to another tenant
	WorkerNotFound        Code = "worker_not_found"       // there is no worker of this name
	WorkerTaken           Code = "worker_taken"           // another caller registered a worker of this name
	TooManyNames          Code = "too_many_names"         // jobs may not name that many queues or breakers that no operator created
	DeadLetterNotFound    Code = "dead_letter_not_found"  // there is no dead letter of this id
	OperationNotFound     Code = "operation_not_found"    // there is no operation of this id
	OperationEnded        Code = "operation_ended"        // the operation has ended already
	WorkflowNotFound      Code = "workflow_not_found"     // there is no workflow of this id
	WorkflowEnded         Code = "workflow_ended"         // the workflow is over, or is being stopped
	WorkflowNotFailed     Code = "workflow_not_failed"    // the workflow has no step that could be run again
	NotAStep              Code = "not_a_step"             // the job is no step of a workflow
	BreakerNotFound       Code = "breaker_not_found"      // there is no circuit breaker of this name
	BreakerInUse          Code = "breaker_in_use"         // the circuit breaker is not closed, holds jobs, or is a queue's
	BreakerPinned         Code = "breaker_pinned"         // the circuit breaker's state is fixed
	ScheduleNotFound      Code = "schedule_not_found"     // there is no schedule of this name
	ScheduleExists        Code = "schedule_exists"        // there is a schedule of this name already
	OperationRunning      Code = "operation_running"      // the operation has not ended, so it has no result yet
	ResultNotFound        Code = "result_not_found"       // the operation is no export, or its result is not kept any more
	WebhookNotFound       Code = "webhook_not_found"      // there is no webhook of this name
	WebhookExists         Code = "webhook_exists"         // there is a webhook of this name already
	AlertRuleNotFound     Code = "alert_rule_not_found"   // there is no alert rule of this name
	AlertRuleExists       Code = "alert_rule_exists"      // there is an alert rule of this name already
	AlertNotFound         Code = "alert_not_found"        // there is no alert of this id
	AlertResolved         Code = "alert_resolved"         // the alert has resolved
	AlertTargetNotFound   Code = "alert_target_not_found" // there is no alert target of this name
	AlertTargetExists     Code = "alert_target_exists"    // there is an alert target of this name already
	AlertTargetInUse      Code = "alert_target_in_use"    // an alert rule names the alert target
	Forbidden             Code = "forbidden"              // the caller may not do this
	KeyNotFound           Code = "key_not_found"          // there is no API key of this id
	KeyExists             Code = "key_exists"             // there is an API key of this name already
	Unavailable           Code = "unavailable"            // the database is out of reach, or the service is shutting down; try again
	Overloaded            Code = "overloaded"             // more requests wait for the database than this node lets wait; try again later
	Internal              Code = "internal"               // a defect; the log has the details
	PresetNotFound        Code = "preset_not_found"       // there is no preset of this name
	PresetBuiltIn         Code = "preset_builtin"         // the preset came with weir and cannot be changed
	PresetExists          Code = "preset_exists"          // there is a preset of this name already
	QueueEncrypted        Code = "queue_encrypted"        // the queue is encrypted, and a value is not
	EncryptionUnavailable Code = "encryption_unavailable" // this node lacks the key that it takes to encrypt or decrypt
)

var sqlStates = map[string]Code{
	"WR001": StaleToken,
	"WR002": JobNotFound,
	"WR003": JobEnded,
	"WR004": JobNotEditable,
	"WR005": JobNotRetryable,
	"WR006": IdempotencyMismatch,
	"WR010": InvalidArgument,
	"WR011": QueueNotFound,
	"WR012": QueueNotEmpty,
	"WR013": QueueFull,
	"WR023": QueueEncrypted,
	"WR024": WorkerTaken,
	"WR014": DeadLetterNotFound,
	"WR015": WorkerNotFound,
	"WR016": TooManyNames,
	"WR019": QuotaExceeded,
	"WR017": QuotaNotFound,
	"WR018": TenantMismatch,
	"WR020": OperationNotFound,
	"WR021": OperationEnded,
	"WR022": ResultNotFound,
	"WR040": WebhookNotFound,
	"WR041": WebhookExists,
	"WR050": WorkflowNotFound,
	"WR051": WorkflowEnded,
	"WR052": WorkflowNotFailed,
	"WR054": NotAStep,
	"WR065": BreakerNotFound,
	"WR066": BreakerInUse,
	"WR067": BreakerPinned,
	"WR030": ScheduleNotFound,
	"WR031": ScheduleExists,
	"WR080": KeyNotFound,
	"WR081": KeyExists,
	"WR093": PresetNotFound,
	"WR094": PresetBuiltIn,
	"WR095": PresetExists,
	"WR100": AlertRuleNotFound,
	"WR101": AlertNotFound,
	"WR102": AlertTargetNotFound,
	"WR103": AlertRuleExists,
	"WR104": AlertTargetExists,
	"WR105": AlertResolved,
	"WR106": AlertTargetInUse,
}

// Error is the one kind of error that a caller is told about. Message and Hint are for people and never hold a payload.
type Error struct {
	Code    Code
	Message string
	Hint    string
	Field   string    // path of the argument that is wrong, such as jobs[3].priority
	Quota   *QuotaUse // with QuotaExceeded
	cause   error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of the first Error in err's chain, or Internal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

func invalid(field, message string) *Error {
	return &Error{Code: InvalidArgument, Field: field, Message: field + " " + message}
}

// alone takes the place in a batch out of the error of a call of one item: the caller does not know of the batch.
func alone(err error, place string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	own := *e
	own.Field, own.Message = strings.TrimPrefix(own.Field, place), strings.TrimPrefix(own.Message, place)
	return &own
}

// fromDB turns an error of the database into an Error where the caller can do something about it.
func fromDB(doing string, err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if code, ok := sqlStates[pg.Code]; ok {
			refused := &Error{Code: code, Message: pg.Message, Hint: pg.Hint, Field: pg.ColumnName}
			if code == QuotaExceeded {
				refused.Quota = quotaUse(pg.Detail)
			}
			return refused
		}
		if pg.Code[:2] == "22" { // data exception: a value that PostgreSQL cannot read. Its message may quote the value, so it stays inside.
			return &Error{Code: InvalidArgument, Message: "a value is malformed or out of range", cause: err}
		}
	}
	switch {
	case db.IsConflict(err) || errors.Is(err, batch.ErrLocked):
		return &Error{Code: Unavailable, Message: "another transaction holds a lock that this call needs", Hint: "Try again, once that transaction has ended.", cause: err}
	case errors.Is(err, batch.ErrFull):
		return &Error{Code: Overloaded, Message: "too many requests wait for the database", Hint: "Try again a little later."}
	case errors.Is(err, db.ErrBusy):
		return &Error{Code: Overloaded, Message: "too many lists and searches run on this node", Hint: "Try again a little later."}
	case db.SQLState(err) == "57014":
		return &Error{Code: Unavailable, Message: "the database took too long", Hint: "Ask for less at a time, or try again later.", cause: err}
	case db.IsReadOnly(err):
		return &Error{Code: Unavailable, Message: "the database takes no writes at the moment", Hint: "It is a standby, or default_transaction_read_only is on.", cause: err}
	case db.IsForbidden(err):
		return &Error{Code: Unavailable, Message: "weir's role lacks a privilege in the database", Hint: "The log has the details.", cause: err}
	case db.IsAway(err):
		return &Error{Code: Unavailable, Message: "the database is not available at the moment", Hint: "Try again.", cause: err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func shuttingDown() error {
	return &Error{Code: Unavailable, Message: "this node is shutting down", Hint: "Ask another node, or try again."}
}
