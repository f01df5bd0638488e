package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/weirhq/weir/rest"
)

const (
	// maxAcks bounds the acks of one request.
	maxAcks = 1000

	// maxAckBytes bounds the results of one request, well below what a node accepts unless it is set lower.
	maxAckBytes = 4 << 20

	// maxUnacked is how many acks may wait to be sent before no more jobs are claimed.
	maxUnacked = 2000

	// gatherFor is how long an ack waits for others to share its request, while there is more work in hand.
	gatherFor = 10 * time.Millisecond
)

// The statuses of an ack; the first four are the service's words.
const (
	ackOK       = "ok"
	ackStale    = "stale_token"
	ackNotFound = "not_found"
	ackInvalid  = "invalid"
	ackRefused  = "refused" // the service refuses it in every form
	ackUnsent   = "unsent"
)

// acker sends acks: one request at a time, and in it all that have gathered since the last.
type acker struct {
	client *rest.Client
	log    *slog.Logger
	outage outage

	answers  chan ackAnswer // capacity 1
	ctx      context.Context
	cancel   context.CancelFunc
	underWay bool
	unsent   int
}

// ackAnswer is the answer to a request.
type ackAnswer struct {
	batch   []*heldJob
	results []ackResult // one for each
}

// ackResult is the ack of one job in its final form, and its status.
type ackResult struct {
	ack    ack
	status string
}

func newAcker(client *rest.Client, log *slog.Logger) *acker {
	ctx, cancel := context.WithCancel(context.Background())
	return &acker{
		client: client, log: log, outage: outage{log: log, what: "sending acks"},
		answers: make(chan ackAnswer, 1), ctx: ctx, cancel: cancel,
	}
}

// sendAcks sends the acks that wait. While there is more work in hand it lets them gather a little, and returns when to
// try again.
func (w *Worker) sendAcks() (gathered <-chan time.Time) {
	more := w.running+len(w.queue) > 0 && !w.stopping && len(w.ended) < 4*w.Slots
	if left := time.Until(w.endedAt.Add(gatherFor)); more && len(w.ended) > 0 && left > 0 {
		return time.After(left)
	}
	w.acker.sendNext(&w.ended)
	return nil
}

// acked takes in the answer to acks.
func (w *Worker) acked(a ackAnswer) {
	w.acker.take(a)
	for i, h := range a.batch {
		delete(w.held, h.job.Token)
		h.ack = a.results[i].ack
		switch a.results[i].status {
		case ackOK:
			w.count(h)
		case ackStale, ackNotFound:
			w.tally.lost++
			w.log.Warn("an ack came too late: the lease had run out, or an earlier try succeeded without an answer",
				"job", h.job.ID, "outcome", h.ack.Outcome)
		default:
			w.tally.lost++
		}
	}
}

// sendNext takes the first acks that wait and sends them, unless a request is under way.
func (r *acker) sendNext(waiting *[]*heldJob) {
	if r.underWay || len(*waiting) == 0 {
		return
	}
	size, n := 0, 0
	for n < len(*waiting) && n < maxAcks && (n == 0 || size < maxAckBytes && !(*waiting)[n].ack.adds() && !(*waiting)[0].ack.adds()) {
		size += len((*waiting)[n].ack.Result)
		n++
	}
	batch := (*waiting)[:n:n]
	*waiting = (*waiting)[n:]
	acks := make([]ack, n)
	for i, h := range batch {
		acks[i] = h.ack
	}
	r.underWay = true
	send := r.send
	if acks[0].adds() {
		send = r.completeWith
	}
	go func() { r.answers <- ackAnswer{batch, send(r.ctx, acks)} }()
}

// completeWith sends a completion with the jobs and steps that it adds. If the service refuses those, the attempt fails.
func (r *acker) completeWith(ctx context.Context, acks []ack) []ackResult {
	a := acks[0]
	call := rest.Post(rest.Path("jobs", a.ID, "complete"), map[string]any{"token": a.Token, "result": a.Result, "jobs": a.jobs, "add_steps": a.steps})
	for wait := (rest.Backoff{}); ; {
		_, err := rest.Do[struct{}](ctx, r.client, call)
		var refused *rest.Problem
		errors.As(err, &refused)
		switch {
		case err == nil:
			r.outage.over()
			return []ackResult{{a, ackOK}}
		case refused != nil && refused.Code == ackStale:
			return []ackResult{{a, ackStale}}
		case refused != nil && refused.Status == http.StatusNotFound:
			return []ackResult{{a, ackNotFound}}
		case refused != nil && refused.Status != http.StatusUnauthorized && (rest.Refused(err) || refused.Code == "queue_full" || refused.Code == "quota_exceeded"):
			return r.send(ctx, []ack{a.failed("follow_up", "the service refuses what the command adds: "+err.Error())})
		case ctx.Err() == nil:
			r.outage.note(err)
		}
		if !wait.Sleep(ctx) {
			return []ackResult{{a, ackUnsent}}
		}
	}
}

// take takes in the answer to a request.
func (r *acker) take(a ackAnswer) {
	r.underWay = false
	for _, result := range a.results {
		if result.status == ackUnsent {
			r.unsent++
		}
	}
}

// send sends acks until the service has answered or ctx ends, and returns the status of each. If acks were accepted and
// their answer was lost, they are stale the second time, which changes nothing.
func (r *acker) send(ctx context.Context, acks []ack) []ackResult {
	type answer struct {
		Results []struct {
			Status string `json:"status"`
			Error  struct {
				Message string `json:"message"`
			} `json:"error"`
		} `json:"results"`
	}
	var answered answer
	sent := false
	for wait := (rest.Backoff{}); !sent; {
		var err error
		answered, err = rest.Do[answer](ctx, r.client, rest.Post("/v1/acks", map[string]any{"acks": acks}))
		if err == nil && len(answered.Results) != len(acks) {
			err = fmt.Errorf("%d acks were answered with %d results", len(acks), len(answered.Results))
		}
		switch {
		case err == nil:
			r.outage.over()
			sent = true
		case unfit(err):
			return r.sendApart(ctx, acks, err)
		case ctx.Err() == nil:
			r.outage.note(err)
		}
		if !sent && !wait.Sleep(ctx) {
			break
		}
	}
	results := make([]ackResult, len(acks))
	for i, a := range acks {
		results[i] = ackResult{a, ackUnsent}
		if !sent {
			continue
		}
		results[i].status = answered.Results[i].Status
		if results[i].status == ackInvalid {
			results[i] = r.sendApart(ctx, acks[i:i+1], errors.New(answered.Results[i].Error.Message))[0]
		}
	}
	return results
}

// sendApart finds the ack that the service refuses, and fails its job with the reason.
func (r *acker) sendApart(ctx context.Context, acks []ack, why error) []ackResult {
	if half := len(acks) / 2; half > 0 {
		return append(r.send(ctx, acks[:half]), r.send(ctx, acks[half:])...)
	}
	a := acks[0]
	switch {
	case a.Outcome == complete:
		return r.send(ctx, []ack{a.unusable("the service refuses the result: " + why.Error())})
	case a.Outcome == fail && a.Error.Type != "report":
		reason := "the command failed, and the service refuses the reason: " + why.Error()
		return r.send(ctx, []ack{a.failed("report", reason)})
	}
	r.log.Error("the service refuses an ack; the job's lease will run out",
		"job", a.ID, "outcome", a.Outcome, "error", why)
	return []ackResult{{a, ackRefused}}
}

// unfit reports whether a request is refused for its content.
func unfit(err error) bool {
	switch rest.Status(err) {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}
