package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// ExportRequest says which jobs to export, and how.
type ExportRequest struct {
	Filter jobs.Filter `json:"filter" doc:"The jobs that exist now; an empty object selects all."`
	Format string      `json:"format,omitempty" enum:"ndjson,csv" doc:"JSON lines, or CSV with a header. Defaults to ndjson."`
	Limit  int         `json:"limit,omitempty" minimum:"1" maximum:"1000000" doc:"Maximum number of jobs, lowest ids first. Defaults to 1000000."`
	By     string      `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who started it; stored with the operation."`
}

// ExportedJob is a line of an export; weir.export_lines writes it.
type ExportedJob struct {
	ID          jobs.ID         `json:"id" doc:"The job."`
	Kind        string          `json:"kind" doc:"What the worker should do."`
	Queue       string          `json:"queue" doc:"Its queue."`
	State       jobs.State      `json:"state" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Where it is in its life."`
	Priority    int             `json:"priority" doc:"1 to 10."`
	Attempt     int             `json:"attempt" doc:"Attempts made."`
	MaxAttempts int             `json:"max_attempts" doc:"After this many failed attempts it is dead."`
	CreatedAt   time.Time       `json:"created_at" doc:"When it was enqueued."`
	RunAt       *time.Time      `json:"run_at,omitempty" doc:"When it should run, if it was scheduled."`
	StartedAt   *time.Time      `json:"started_at,omitempty" doc:"When its last attempt began."`
	FinishedAt  *time.Time      `json:"finished_at,omitempty" doc:"When it ended."`
	Worker      string          `json:"worker,omitempty" doc:"The worker that holds it or held it last."`
	Tenant      string          `json:"tenant,omitempty" doc:"Its tenant."`
	Tags        []string        `json:"tags" doc:"Its tags."`
	Args        json.RawMessage `json:"args" doc:"What it should do it with: any JSON."`
	Result      json.RawMessage `json:"result,omitempty" doc:"What its worker gave as the result: any JSON."`
	Error       json.RawMessage `json:"error,omitempty" doc:"Why it is dead."`
	Metadata    json.RawMessage `json:"metadata" doc:"What its producer wanted to keep with it."`
}

const exportedExample = `{"id": "4711", "kind": "send_receipt", "queue": "mail", "state": "completed", "priority": 5, "attempt": 1, "max_attempts": 5, ` +
	`"created_at": "2026-01-31T09:00:00Z", "started_at": "2026-01-31T09:00:05Z", "finished_at": "2026-01-31T09:00:06Z", ` +
	`"worker": "mailer-1", "tags": [], "args": {"order": 42}, "metadata": {}}`

// exportHeader names the columns of comma-separated values.
var exportHeader = strings.Join(jobs.ExportColumns, ",") + "\n"

func (a *API) registerExports() {
	started := exampleOperation()
	started.Kind, started.State, started.Done, started.StartedAt, started.RatePerSecond = jobs.ExportJobs, "pending", 0, nil, 0
	started.Options = &jobs.OperationOptions{Format: "csv"}
	registerBody(a, huma.Operation{
		OperationID: "exportJobs", Method: http.MethodPost, Path: "/v1/jobs/export", Tags: []string{tagJobs}, DefaultStatus: http.StatusAccepted,
		Summary: "Export jobs",
		Description: "Starts an operation that writes the jobs that match the filter to a file, ordered by id, each as it " +
			"is when it is read. The result can be downloaded for a day after the operation ends.",
	}, documented{body: ExportRequest{Filter: jobs.Filter{Queue: jobs.AnyName{"mail"}}, Format: "csv"}, answer: started, problems: []jobs.Code{jobs.PresetNotFound}}, a.exportJobs)
	const path = "/v1/operations/{id}/result"
	register(a, huma.Operation{
		OperationID: "getOperationResult", Method: http.MethodGet, Path: path, Tags: []string{tagOperations},
		Summary:     "Download an export",
		Description: "Streams the result of an export. Kept for a day.",
	}, documented{problems: []jobs.Code{jobs.OperationNotFound, jobs.OperationRunning, jobs.ResultNotFound}}, a.getResult)
	a.huma.OpenAPI().Paths[path].Get.Responses["200"].Content = map[string]*huma.MediaType{
		"application/x-ndjson": a.lines("An ExportedJob as JSON in each line.", exportedExample+"\n", reflect.TypeFor[ExportedJob]()),
		"text/csv":             {Schema: &huma.Schema{Type: huma.TypeString, Description: "A header, and a line for each job."}, Example: exportHeader},
	}
}

func (a *API) exportJobs(ctx context.Context, _ *bodyInput, b *ExportRequest) (*startedOutput, error) {
	return a.start(ctx, jobs.OperationRequest{Kind: jobs.ExportJobs, Jobs: b.Filter, Options: jobs.OperationOptions{Format: b.Format, Limit: b.Limit}, By: b.By})
}

func (a *API) getResult(ctx context.Context, in *OperationPath) (*huma.StreamResponse, error) {
	export, err := a.engine.Export(ctx, idOf(in.ID))
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		kind, head := "application/x-ndjson", ""
		if export.Format == "csv" {
			kind, head = "text/csv; charset=utf-8", exportHeader
		}
		c.SetHeader("Content-Type", kind)
		c.SetHeader("Content-Disposition", `attachment; filename="jobs-`+in.ID+"."+export.Format+`"`)
		w := c.BodyWriter()
		for piece := head; ; {
			if _, err := io.WriteString(w, piece); err != nil {
				return // the client has gone
			}
			piece, err = export.Next(ctx)
			if err == nil && redacts(ctx) {
				piece, err = redactLines(piece, export.Format)
			}
			if err != nil {
				callOf(ctx).err = err
				panic(http.ErrAbortHandler) // the client must not take it for complete
			}
			if piece == "" {
				return
			}
		}
	}}, nil
}
