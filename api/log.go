package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// LogRequest adds lines to the log of a job.
type LogRequest struct {
	Token jobs.Token        `json:"token" doc:"The token from the claim." example:"4711"`
	Lines []jobs.NewLogLine `json:"lines" minItems:"1" maxItems:"1000" doc:"The lines, oldest first: at most 1 MiB of messages and fields."`
}

type logResultOutput struct {
	Body jobs.LogResult
}

type logInput struct {
	JobPath
	Attempt int    `query:"attempt" minimum:"1" maximum:"32767" doc:"Only lines of this attempt."`
	Level   string `query:"level" enum:"debug,info,warn,error" doc:"Only lines of this level or a graver one."`
	Follow  bool   `query:"follow" doc:"Stream the lines as server-sent events, until the job has ended. limit does not apply."`
	Last    string `header:"Last-Event-ID" pattern:"^[0-9]+$" maxLength:"9" doc:"With follow: resume after this event. Browsers send it when they reconnect."`
	Paging
}

// LogPage is one page of the log of a job.
type LogPage struct {
	Items      []jobs.LogLine `json:"items" doc:"The lines, in order."`
	NextCursor *string        `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

const logPath = "/v1/jobs/{id}/logs"

func (a *API) registerLogs() {
	registerBody(a, huma.Operation{
		OperationID: "logJob", Method: http.MethodPost, Path: logPath, Tags: []string{tagWork},
		Summary: "Log about a job",
		Description: "Adds lines to the log of a running job. A job keeps its first 10,000 lines and 4 MiB of messages and " +
			"fields; later lines are dropped and counted.",
	}, documented{
		body: LogRequest{Token: jobs.Token{Number: 4711}, Lines: []jobs.NewLogLine{
			{Message: "200 of 500 rows"}, {Level: "warn", Message: "a row was skipped", Fields: json.RawMessage(`{"row": 17}`)},
		}},
		answer: jobs.LogResult{Stored: 2}, problems: []jobs.Code{jobs.StaleToken, jobs.JobNotFound},
	}, a.logJob)
	register(a, huma.Operation{
		OperationID: "getLog", Method: http.MethodGet, Path: logPath, Tags: []string{tagJobs},
		Summary: "Get a job's log",
		Description: "What the worker logged while it ran the job, in order, over all attempts. Kept as long as the job. " +
			"If lines were dropped, the last line says how many.\n\nWith `follow` the answer is a stream of server-sent " +
			"events: each line as a `line` with its number as `id`, within about a quarter of a second, and an `end` " +
			"when the job has ended. A comment every 15 s shows that the stream is alive.",
	}, documented{problems: []jobs.Code{jobs.JobNotFound, jobs.Overloaded}}, a.getLog)
	a.huma.OpenAPI().Paths[logPath].Get.Responses["200"].Content = map[string]*huma.MediaType{
		"application/json": {Schema: a.schemas().Schema(reflect.TypeFor[LogPage](), true, ""), Example: LogPage{Items: exampleLog()}},
		"text/event-stream": a.lines("Frames of id, event and data. With event line the data is a LogLine as JSON in one line; with event end, the last one, a LogEnd.",
			"id: 2\nevent: line\n"+`data: {"number": 2, "at": "2026-01-31T09:00:00Z", "attempt": 1, "level": "warn", "message": "a row was skipped"}`+"\n\n", reflect.TypeFor[jobs.LogLine](), reflect.TypeFor[jobs.LogEnd]()),
	}
}

func exampleLog() []jobs.LogLine {
	return []jobs.LogLine{
		{Number: 1, At: exampleTime, Attempt: 1, Level: "info", Message: "200 of 500 rows"},
		{Number: 2, At: exampleTime, Attempt: 1, Level: "warn", Message: "a row was skipped", Fields: json.RawMessage(`{"row": 17}`)},
	}
}

func (a *API) logJob(ctx context.Context, in *jobBodyInput, b *LogRequest) (*logResultOutput, error) {
	result, err := a.engine.AppendLog(ctx, in.id(), b.Token, b.Lines)
	if err != nil {
		return nil, err
	}
	return &logResultOutput{Body: result}, nil
}

func (a *API) getLog(ctx context.Context, in *logInput) (*huma.StreamResponse, error) {
	after, err := in.count(ctx, "log")
	if err != nil {
		return nil, err
	}
	filter := jobs.LogFilter{Attempt: in.Attempt, Level: in.Level}
	if in.Follow {
		if last, err := strconv.Atoi(in.Last); err == nil {
			after = last
		}
		return stream(ctx, a, func() (*jobs.LogFollower, func(), error) { return a.engine.FollowLog(ctx, in.id(), filter, after) }, a.appendLog)
	}
	lines, err := a.engine.Log(ctx, in.id(), filter, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	var page LogPage
	page.Items, page.NextCursor = trim(ctx, in.Paging, "log", lines, func(l jobs.LogLine) string { return strconv.Itoa(l.Number) })
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/json")
		said, err := redact(c, "200", page)
		if err != nil {
			panic(err) // it becomes a problem
		}
		_ = jsonFormat.Marshal(c.BodyWriter(), said)
	}}, nil
}

// appendLog appends the next lines, and the end of the job.
func (a *API) appendLog(ctx context.Context, text []byte, follower *jobs.LogFollower) ([]byte, bool, error) {
	lines, end, open, err := follower.Next(ctx, eventPulse)
	if err != nil || !open {
		return nil, open, err
	}
	for _, l := range lines {
		if text, err = appendLine(ctx, text, l); err != nil {
			return nil, false, err
		}
	}
	if end == nil {
		return text, true, nil
	}
	said, err := json.Marshal(end)
	if err != nil {
		return nil, false, fmt.Errorf("encoding the end of a log: %w", err)
	}
	return fmt.Appendf(text, "event: end\ndata: %s\n\n", said), false, nil
}

// appendLine appends a line as an event, as the caller may read it.
func appendLine(ctx context.Context, text []byte, l jobs.LogLine) ([]byte, error) {
	said, err := json.Marshal(l)
	if err == nil && redacts(ctx) {
		var hidden any
		if hidden, err = redactJSON(said); err == nil {
			said, err = json.Marshal(hidden)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("encoding a line of a log: %w", err)
	}
	return fmt.Appendf(text, "id: %d\nevent: line\ndata: %s\n\n", l.Number, said), nil
}
