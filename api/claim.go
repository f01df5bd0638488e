package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/weirhq/weir/jobs"
)

// ClaimRequest asks for jobs.
type ClaimRequest struct {
	Worker       string   `json:"worker" minLength:"1" maxLength:"200" doc:"The worker's name." example:"mailer-1"`
	Queues       []string `json:"queues" minItems:"1" maxItems:"100" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The queues to take from, in equal shares. One need not exist yet." example:"mail"`
	Limit        int      `json:"limit,omitempty" minimum:"1" maximum:"1000" doc:"Take at most so many jobs. Defaults to 1."`
	WaitSeconds  float64  `json:"wait_seconds,omitempty" minimum:"0" maximum:"60" doc:"Where there is no job, wait so long for one. Defaults to 0."`
	LeaseSeconds int      `json:"lease_seconds,omitempty" minimum:"1" maximum:"3600" doc:"Length of the leases. Defaults to each queue's own."`
}

// ClaimedJobs are jobs that the worker now has.
type ClaimedJobs struct {
	Jobs   []jobs.ClaimedJob `json:"jobs" doc:"The jobs, those of the highest priority first; none if there was none."`
	Reason jobs.Refusal      `json:"reason,omitempty" enum:"paused,draining,at_capacity" doc:"Why there are none, where it is the worker that is to get none: it is paused or draining, or has as many jobs as it may (or another claim of it is just being decided)."`
}

// appendJSON writes what encoding/json would, but trusts the database that args and metadata are JSON.
func (c ClaimedJobs) appendJSON(text []byte) ([]byte, error) {
	text = append(text, `{"jobs":[`...)
	for i := range c.Jobs {
		if i > 0 {
			text = append(text, ',')
		}
		var err error
		if text, err = appendClaimedJob(text, &c.Jobs[i]); err != nil {
			return nil, err
		}
	}
	text = append(text, ']')
	if c.Reason != "" {
		text = append(text, `,"reason":`...)
		text = appendText(text, string(c.Reason))
	}
	return append(text, '}'), nil
}

func appendClaimedJob(text []byte, j *jobs.ClaimedJob) ([]byte, error) {
	text = append(text, `{"id":"`...)
	text = strconv.AppendInt(text, int64(j.ID), 10)
	text = append(text, `","token":"`...)
	text = strconv.AppendInt(text, int64(j.Token), 10)
	text = append(text, `","kind":`...)
	text = appendText(text, j.Kind)
	text = append(text, `,"queue":`...)
	text = appendText(text, j.Queue)
	text = append(text, `,"args":`...)
	text = appendRaw(text, j.Args)
	text = append(text, `,"attempt":`...)
	text = strconv.AppendInt(text, int64(j.Attempt), 10)
	text = append(text, `,"max_attempts":`...)
	text = strconv.AppendInt(text, int64(j.MaxAttempts), 10)
	text = append(text, `,"priority":`...)
	text = strconv.AppendInt(text, int64(j.Priority), 10)
	text = append(text, `,"timeout_seconds":`...)
	text = strconv.AppendInt(text, int64(j.TimeoutSeconds), 10)
	text = append(text, `,"lease_expires_at":`...)
	text, err := appendTime(text, j.LeaseExpiresAt)
	if err != nil {
		return nil, err
	}
	text = append(text, `,"created_at":`...)
	if text, err = appendTime(text, j.CreatedAt); err != nil {
		return nil, err
	}
	text = append(text, `,"tags":[`...)
	for i, tag := range j.Tags {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendText(text, tag)
	}
	text = append(text, `],"metadata":`...)
	text = appendRaw(text, j.Metadata)
	if len(j.Dependencies) > 0 {
		text = append(text, `,"dependencies":`...)
		text = appendRaw(text, j.Dependencies)
	}
	if j.Degraded {
		text = append(text, `,"degraded":true`...)
	}
	return append(text, '}'), nil
}

func appendText(text []byte, s string) []byte {
	text, _ = jsontext.AppendQuote(text, s) // its error says that it replaced what is not UTF-8
	return text
}

func appendRaw(text, raw []byte) []byte {
	if len(raw) == 0 {
		return append(text, "null"...)
	}
	return append(text, raw...)
}

func appendTime(text []byte, t time.Time) ([]byte, error) {
	if year := t.Year(); year < 0 || year > 9999 {
		return nil, fmt.Errorf("a time of the year %d has no form in RFC 3339", year)
	}
	text = append(text, '"')
	text = t.AppendFormat(text, time.RFC3339Nano)
	return append(text, '"'), nil
}

type claimOutput struct {
	Body ClaimedJobs
}

func (a *API) registerClaims() {
	registerBody(a, huma.Operation{
		OperationID: "claimJobs", Method: http.MethodPost, Path: "/v1/claims", Tags: []string{tagWork},
		Summary: "Claim jobs to work on",
		Description: "Takes available jobs from queues: the highest priority first, within it first in, first out, several queues in equal shares. " +
			"With `wait_seconds` an empty queue makes the call wait until a job is there or the time is up; an empty answer is no error. A worker that is paused, draining or at its capacity gets none and waits all the same; the answer then says the `reason`.\n\n" +
			"Each job comes with a token, the only proof of the lease, and is taken back at `lease_expires_at` unless a heartbeat moves that. " +
			"A worker may be given a job that another one had begun: jobs are delivered at least once.",
	}, documented{
		body:   ClaimRequest{Worker: "mailer-1", Queues: []string{"mail"}, Limit: 10, WaitSeconds: 20, LeaseSeconds: 30},
		answer: ClaimedJobs{Jobs: []jobs.ClaimedJob{exampleClaimedJob()}},
		waits:  true,
	}, a.claimJobs)
}

func (a *API) claimJobs(ctx context.Context, _ *bodyInput, b *ClaimRequest) (*claimOutput, error) {
	callOf(ctx).waited = b.WaitSeconds > 0
	if b.Worker == "." || b.Worker == ".." {
		return nil, invalidAt(ctx, "body.worker", "must not be . or .., which no path can name")
	}
	claimed, err := a.engine.Claim(ctx, jobs.ClaimRequest{
		Worker: b.Worker, Queues: b.Queues, Limit: b.Limit, Wait: time.Duration(b.WaitSeconds * float64(time.Second)), LeaseSeconds: b.LeaseSeconds,
	})
	var refusal jobs.Refusal
	if errors.As(err, &refusal) {
		return &claimOutput{Body: ClaimedJobs{Jobs: []jobs.ClaimedJob{}, Reason: refusal}}, nil
	}
	if err != nil {
		return nil, err
	}
	return &claimOutput{Body: ClaimedJobs{Jobs: claimed}}, nil
}
