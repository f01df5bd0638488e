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
	Queues       []string `json:"queues" minItems:"1" maxItems:"100" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The queues to claim from, in equal shares. A queue need not exist yet." example:"mail"`
	Limit        int      `json:"limit,omitempty" minimum:"1" maximum:"1000" doc:"Maximum number of jobs. Defaults to 1."`
	WaitSeconds  float64  `json:"wait_seconds,omitempty" minimum:"0" maximum:"60" doc:"How long to wait for a job if there is none. Defaults to 0."`
	LeaseSeconds int      `json:"lease_seconds,omitempty" minimum:"1" maximum:"3600" doc:"Length of the leases. Defaults to that of each queue."`
}

// ClaimedJobs are jobs that the worker now holds.
type ClaimedJobs struct {
	Jobs   []jobs.ClaimedJob `json:"jobs" doc:"The jobs, highest priority first; empty if there are none."`
	Reason jobs.Refusal      `json:"reason,omitempty" enum:"paused,draining,at_capacity,taken" doc:"Why the worker gets no jobs: another key registered a worker of this name (taken), it is paused or draining, or holds as many jobs as its capacity allows (or another of its claims is being decided)."`
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
	text, _ = j.Token.AppendText(text) // it has no errors
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
		Summary: "Claim jobs",
		Description: "Takes available jobs from queues: the highest priority first, then first in, first out, with equal " +
			"shares for several queues. With `wait_seconds` the call waits for a job if there is none; an empty " +
			"answer is not an error. A worker that is paused, draining or at its capacity gets no jobs, also " +
			"after the wait, and the answer has the `reason`.\n\nEach job comes with a token, the only proof of " +
			"the lease. The lease ends at `lease_expires_at` unless a heartbeat extends it. A worker may get a " +
			"job that another worker had started: delivery is at least once.",
	}, documented{
		body:   ClaimRequest{Worker: "mailer-1", Queues: []string{"mail"}, Limit: 10, WaitSeconds: 20, LeaseSeconds: 30},
		answer: ClaimedJobs{Jobs: []jobs.ClaimedJob{exampleClaimedJob()}},
		waits:  true,
	}, a.claimJobs)
}

func (a *API) claimJobs(ctx context.Context, _ *bodyInput, b *ClaimRequest) (*claimOutput, error) {
	if b.WaitSeconds > 0 {
		callOf(ctx).waited = true
		leave, err := enter(ctx, &a.waiting)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	if b.Worker == "." || b.Worker == ".." {
		return nil, invalidAt(ctx, "body.worker", "must not be . or .., which no URL can name")
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
