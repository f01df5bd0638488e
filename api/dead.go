package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// DeadLetterPath is the path of one dead letter.
type DeadLetterPath struct {
	ID string `path:"id" pattern:"^[0-9]+$" maxLength:"30" doc:"The id of the job that died." example:"4711"`
}

func (p DeadLetterPath) id() jobs.ID { return idOf(p.ID) }

func (p DeadLetterPath) missing(ctx context.Context) *Problem {
	return missing(ctx, p.ID, jobs.DeadLetterNotFound, "dead letter")
}

type deadLetterBodyInput struct {
	DeadLetterPath
	Payload
}

type deadInput struct {
	Queue       string    `query:"queue" maxLength:"128" doc:"Only letters of this queue."`
	Kind        string    `query:"kind" maxLength:"200" doc:"Only letters of this kind."`
	Tenant      string    `query:"tenant" maxLength:"200" doc:"Only letters of this tenant."`
	Tag         string    `query:"tag" maxLength:"200" doc:"Only letters with this tag."`
	ErrorType   string    `query:"error_type" maxLength:"200" doc:"Only letters whose last error is of this type."`
	Text        string    `query:"q" maxLength:"200" doc:"Only letters with this text in their kind, args or errors, ignoring case."`
	DiedAfter   time.Time `query:"died_after" doc:"Only jobs that died at or after this time."`
	DiedBefore  time.Time `query:"died_before" doc:"Only jobs that died before this time."`
	MinAttempts int       `query:"min_attempts" minimum:"1" maximum:"100" doc:"Only letters with at least this many attempts."`
	Paging
}

// DeadLetterPage is one page of the list of dead letters.
type DeadLetterPage struct {
	Items      []jobs.DeadLetter `json:"items" doc:"The dead letters, latest first."`
	NextCursor *string           `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
	// Only a search that ran out of time sets this.
	SearchedBackTo   *time.Time `json:"searched_back_to,omitempty" doc:"Present if the search ended at its time limit of two seconds, before the page was full: dead letters from before this time have not been searched yet. The next page goes on from there."`
	EncryptedSkipped bool       `json:"encrypted_not_searched,omitempty" doc:"Present with q if queues that it could be in are encrypted: their args and the texts of their errors were not searched."`
}

type deadPageOutput struct {
	Body DeadLetterPage
}

type deadOutput struct {
	Body jobs.DeadLetterHistory
}

// RedriveRequest says how to redrive a dead letter.
type RedriveRequest struct {
	By           string `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who did it; stored with the job." example:"ann"`
	KeepAttempts bool   `json:"keep_attempts,omitempty" doc:"Keep the attempts, so that the job has one left. Defaults to false: reset to 0."`
}

// DeadRedriveRequest says which dead letters to redrive, and how.
type DeadRedriveRequest struct {
	Filter        jobs.DeadFilter `json:"filter" doc:"The letters; an empty object selects all."`
	By            string          `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who did it; stored with the jobs."`
	KeepAttempts  bool            `json:"keep_attempts,omitempty" doc:"Keep the attempts, so that each job has one left. Defaults to false: reset to 0."`
	RatePerSecond float64         `json:"rate_per_second,omitempty" minimum:"0.0001" maximum:"100000" doc:"Maximum rate per second. Defaults to as fast as possible."`
	DryRun        bool            `json:"dry_run,omitempty" doc:"Only count. Defaults to false."`
}

// DeadPurgeRequest says which dead letters to remove.
type DeadPurgeRequest struct {
	Filter        jobs.DeadFilter `json:"filter" doc:"The letters; an empty object selects all."`
	By            string          `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who did it; stored with the jobs."`
	RatePerSecond float64         `json:"rate_per_second,omitempty" minimum:"0.0001" maximum:"100000" doc:"Maximum rate per second. Defaults to as fast as possible."`
	DryRun        bool            `json:"dry_run,omitempty" doc:"Only count. Defaults to false."`
}

type deadPurgeInput struct {
	DeadLetterPath
	By string `query:"by" minLength:"1" maxLength:"200" doc:"Who did it; stored with the job."`
}

func (a *API) registerDead() {
	tags := []string{tagDead}
	missing := []jobs.Code{jobs.DeadLetterNotFound}
	letter, redriven := exampleDeadLetter(), exampleJob()
	redriven.Redrives, redriven.RedrivenBy = 1, "ann"
	filter := jobs.DeadFilter{Queue: "mail", ErrorType: "SMTPError"}
	started, purge := exampleOperation(), exampleOperation()
	started.State, started.Done, started.StartedAt = "pending", 0, nil
	purge.Kind, purge.State, purge.Done, purge.StartedAt, purge.RatePerSecond = jobs.PurgeDead, "pending", 0, nil, 0
	dry := func(o jobs.Operation) map[int]otherSuccess {
		o.ID, o.State = 0, jobs.OperationDryRun
		return map[int]otherSuccess{http.StatusOK: {description: "With `dry_run`: `total` is the count. Nothing is stored or changed.", answer: o}}
	}
	register(a, huma.Operation{
		OperationID: "listDeadLetters", Method: http.MethodGet, Path: "/v1/dead", Tags: tags,
		Summary: "List dead letters",
		Description: "Dead jobs that were neither redriven nor purged and that match all filters, the latest first. A " +
			"slow search ends its page early, so a page may be empty although more pages follow.",
	}, documented{answer: DeadLetterPage{Items: []jobs.DeadLetter{letter}}}, a.listDead)
	register(a, huma.Operation{
		OperationID: "getDeadLetter", Method: http.MethodGet, Path: "/v1/dead/{id}", Tags: tags,
		Summary:     "Get a dead letter",
		Description: "The dead job with the errors of all its attempts and its timeline.",
	}, documented{answer: jobs.DeadLetterHistory{DeadLetter: letter, Timeline: []jobs.Moment{
		{At: exampleTime, Event: "enqueued"}, {At: exampleTime, Event: "started", Attempt: 5, Worker: "mailer-1"}, {At: exampleLater, Event: "dead", Attempt: 5, Worker: "mailer-1", Cause: "failed"},
	}}, problems: missing}, a.getDead)
	registerBody(a, huma.Operation{
		OperationID: "redriveDeadLetter", Method: http.MethodPost, Path: "/v1/dead/{id}/redrive", Tags: tags,
		Summary: "Redrive a dead letter",
		Description: "The job becomes available now, under the same id, with its attempts reset to 0. The job records how " +
			"often it was redriven and by whom.",
	}, documented{body: RedriveRequest{By: "ann"}, optional: true, answer: redriven, problems: append([]jobs.Code{jobs.QueueFull, jobs.QuotaExceeded}, missing...)}, a.redriveOne)
	registerBody(a, huma.Operation{
		OperationID: "redriveDeadLetters", Method: http.MethodPost, Path: "/v1/dead/redrive", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Redrive many dead letters",
		Description: "Starts an operation that redrives the letters that match the filter and died before now, the oldest " +
			"first, at the given rate. It continues if this node ends. No letter is redriven twice, not even one " +
			"that dies again meanwhile.",
	}, documented{body: DeadRedriveRequest{Filter: filter, By: "ann", RatePerSecond: 50}, answer: started, also: dry(started)}, a.redriveMany)
	register(a, huma.Operation{
		OperationID: "purgeDeadLetter", Method: http.MethodDelete, Path: "/v1/dead/{id}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Purge a dead letter",
		Description: "Removes the letter. Its job stays dead until its retention ends.",
	}, documented{problems: missing}, a.purgeOne)
	registerBody(a, huma.Operation{
		OperationID: "purgeDeadLetters", Method: http.MethodPost, Path: "/v1/dead/purge", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Purge many dead letters",
		Description: "Starts an operation that removes the letters that match the filter and died before now. Count them " +
			"first with `dry_run`.",
	}, documented{body: DeadPurgeRequest{Filter: filter, By: "ann"}, answer: purge, also: dry(purge)}, a.purgeMany)
}

func (a *API) listDead(ctx context.Context, in *deadInput) (*deadPageOutput, error) {
	after, err := in.position(ctx, "dead")
	if err != nil {
		return nil, err
	}
	var from jobs.DeadPosition
	if after != "" {
		died, id, _ := strings.Cut(after, ",")
		micros, err := strconv.ParseInt(died, 10, 64)
		if err != nil || from.ID.UnmarshalText([]byte(id)) != nil {
			return nil, badCursor(ctx)
		}
		from.DiedAt = time.UnixMicro(micros)
	}
	page, err := a.engine.DeadLetters(ctx, jobs.DeadFilter{
		Queue: in.Queue, Kind: in.Kind, Tenant: in.Tenant, Tag: in.Tag, ErrorType: in.ErrorType, Text: in.Text,
		DiedAfter: timeOrNil(in.DiedAfter), DiedBefore: timeOrNil(in.DiedBefore), MinAttempts: in.MinAttempts,
	}, from, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &deadPageOutput{Body: DeadLetterPage{Items: page.Letters, SearchedBackTo: page.SearchedBackTo, EncryptedSkipped: page.EncryptedSkipped}}
	if page.Next != nil {
		out.Body.NextCursor = cursorTo("dead", fmt.Sprintf("%d,%d", page.Next.DiedAt.UnixMicro(), page.Next.ID))
	}
	return out, nil
}

func (a *API) getDead(ctx context.Context, in *DeadLetterPath) (*deadOutput, error) {
	letter, err := a.engine.DeadLetter(ctx, in.id())
	if err != nil {
		return nil, err
	}
	return &deadOutput{Body: letter}, nil
}

func (a *API) redriveOne(ctx context.Context, in *deadLetterBodyInput, body *RedriveRequest) (*jobOutput, error) {
	return jobAnswer(a.engine.Redrive(ctx, in.id(), body.By, body.KeepAttempts))
}

func (a *API) redriveMany(ctx context.Context, _ *bodyInput, body *DeadRedriveRequest) (*startedOutput, error) {
	return a.start(ctx, jobs.OperationRequest{
		Kind: jobs.RedriveDead, Letters: body.Filter, By: body.By, KeepAttempts: body.KeepAttempts, RatePerSecond: body.RatePerSecond, DryRun: body.DryRun,
	})
}

func (a *API) purgeOne(ctx context.Context, in *deadPurgeInput) (*struct{}, error) {
	return nil, a.engine.PurgeDead(ctx, in.id(), in.By)
}

func (a *API) purgeMany(ctx context.Context, _ *bodyInput, body *DeadPurgeRequest) (*startedOutput, error) {
	return a.start(ctx, jobs.OperationRequest{Kind: jobs.PurgeDead, Letters: body.Filter, By: body.By, RatePerSecond: body.RatePerSecond, DryRun: body.DryRun})
}
