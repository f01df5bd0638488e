package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/jobs"
)

// unrecorded are the operations that leave no entry in the audit trail, although their method is not GET: the work on
// jobs itself, what workers say of themselves, and previews, which change nothing.
var unrecorded = map[string]bool{
	"enqueueJob": true, "enqueueJobs": true, "dryRunJob": true, "submitWorkflow": true,
	"claimJobs": true, "ackJobs": true, "completeJob": true, "failJob": true, "snoozeJob": true, "releaseJob": true, "heartbeatJob": true, "heartbeatJobs": true, "logJob": true,
	"addSteps": true, "startWorkflow": true, "registerWorker": true, "heartbeatWorker": true, "reportToBreaker": true,
	"previewDefinition": true, "evaluateAlerts": true,
}

// recorded says whether the changes of an operation are in the audit trail.
func recorded(op huma.Operation) bool {
	return op.Method != http.MethodGet && !unrecorded[op.OperationID]
}

// asCall tells the engine which call makes a change.
func asCall(ctx context.Context, operation string) context.Context {
	c := callOf(ctx)
	remote, _, err := net.SplitHostPort(c.remote)
	if err != nil {
		remote = c.remote
	}
	return access.WithCall(ctx, access.Call{Operation: operation, RequestID: c.id, Remote: remote})
}

type auditInput struct {
	Principal string    `query:"principal" maxLength:"200" doc:"Only changes by this principal: its name, or the id of its key."`
	Operation string    `query:"operation" maxLength:"100" doc:"Only changes by this operation." example:"pauseQueue"`
	Object    string    `query:"object" maxLength:"500" doc:"Only changes of this object, as its path." example:"queues/mail"`
	After     time.Time `query:"after" doc:"Only changes at or after this time."`
	Before    time.Time `query:"before" doc:"Only changes before this time."`
	Paging
}

// AuditPage is one page of the audit trail.
type AuditPage struct {
	Items      []jobs.AuditEntry `json:"items" doc:"The changes, newest first."`
	NextCursor *string           `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type auditPageOutput struct {
	Body AuditPage
}

func (a *API) registerAudit() {
	register(a, huma.Operation{
		OperationID: "listAudit", Method: http.MethodGet, Path: "/v1/audit", Tags: []string{tagKeys},
		Summary:     "List changes",
		Description: "The audit trail: who changed what, when and from where, newest first. The work on jobs itself (enqueues, claims, acks) is not in it.",
	}, documented{answer: AuditPage{Items: []jobs.AuditEntry{{
		ID: 42, At: exampleTime, Principal: "ann", PrincipalKind: "key", KeyID: "3f9a1c0b7d5e2468", Remote: "192.0.2.7", RequestID: "4f1c",
		Operation: "editQueue", Object: "queues/mail", Before: []byte(`{"priority": 5}`), After: []byte(`{"priority": 7}`),
	}}}}, a.listAudit)
}

func (a *API) listAudit(ctx context.Context, in *auditInput) (*auditPageOutput, error) {
	before, err := in.before(ctx, "audit")
	if err != nil {
		return nil, err
	}
	f := jobs.AuditFilter{Principal: in.Principal, Operation: in.Operation, Object: in.Object, After: timeOrNil(in.After), Before: timeOrNil(in.Before)}
	found, err := a.engine.Audit(ctx, f, before, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &auditPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "audit", found, func(last jobs.AuditEntry) string { return last.ID.String() })
	return out, nil
}
