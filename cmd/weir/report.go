package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

const (
	// maxReport bounds the acks of one request.
	maxReport = 1000

	// maxReportBytes bounds the results of one request, well below what a node takes unless it is told to take less.
	maxReportBytes = 4 << 20

	// gatherFor is how long a report waits for others to go with it, while there is more work in hand.
	gatherFor = 10 * time.Millisecond
)

// reporter tells the service what became of jobs: one request at a time, and in it everything that has ended since the last.
type reporter struct {
	client *client
	log    *slog.Logger
	outage outage

	answers  chan reportAnswer // capacity 1
	ctx      context.Context
	cancel   context.CancelFunc
	underWay bool
	unsent   int
}

// reportAnswer is what became of a request.
type reportAnswer struct {
	batch   []*holding
	results []reportResult // one for each
}

// reportResult is what was reported of one job in the end, and what the service said to it.
type reportResult struct {
	ack    ack
	status string
}

func newReporter(client *client, log *slog.Logger) *reporter {
	ctx, cancel := context.WithCancel(context.Background())
	return &reporter{client: client, log: log, outage: outage{log: log, what: "reporting"}, answers: make(chan reportAnswer, 1), ctx: ctx, cancel: cancel}
}

// sendNext takes what is to be reported and sends it, unless a request is under way.
func (r *reporter) sendNext(over *[]*holding) {
	if r.underWay || len(*over) == 0 {
		return
	}
	size, n := 0, 0
	for n < len(*over) && n < maxReport && (n == 0 || size < maxReportBytes) {
		size += len((*over)[n].ack.Result)
		n++
	}
	batch := (*over)[:n:n]
	*over = (*over)[n:]
	acks := make([]ack, n)
	for i, h := range batch {
		acks[i] = h.ack
	}
	r.underWay = true
	go func() { r.answers <- reportAnswer{batch, r.send(r.ctx, acks)} }()
}

// take notes what became of a request.
func (r *reporter) take(a reportAnswer) {
	r.underWay = false
	for _, result := range a.results {
		if result.status == ackUnsent {
			r.unsent++
		}
	}
}

// What became of an ack; the first four are the service's words.
const (
	ackOK       = "ok"
	ackStale    = "stale_token"
	ackNotFound = "not_found"
	ackInvalid  = "invalid"
	ackRefused  = "refused" // the service will not have it in any form
	ackUnsent   = "unsent"
)

// send reports until the service has answered or ctx ends, and returns what became of each ack. Acks that were received although the
// answer was lost are stale the second time, which changes nothing.
func (r *reporter) send(ctx context.Context, acks []ack) []reportResult {
	var answer struct {
		Results []struct {
			Status string `json:"status"`
			Error  struct {
				Message string `json:"message"`
			} `json:"error"`
		} `json:"results"`
	}
	sent := false
	for wait := (backoff{}); !sent; {
		err := r.client.post(ctx, "/v1/acks", map[string]any{"acks": acks}, &answer)
		if err == nil && len(answer.Results) != len(acks) {
			err = fmt.Errorf("%d acks were answered with %d results", len(acks), len(answer.Results))
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
		if !sent && !wait.sleep(ctx) {
			break
		}
	}
	results := make([]reportResult, len(acks))
	for i, a := range acks {
		results[i] = reportResult{a, ackUnsent}
		if !sent {
			continue
		}
		results[i].status = answer.Results[i].Status
		if results[i].status == ackInvalid {
			results[i] = r.sendApart(ctx, acks[i:i+1], errors.New(answer.Results[i].Error.Message))[0]
		}
	}
	return results
}

// sendApart finds the ack that the service will not have, and fails its job with what the service says about it.
func (r *reporter) sendApart(ctx context.Context, acks []ack, why error) []reportResult {
	if half := len(acks) / 2; half > 0 {
		return append(r.send(ctx, acks[:half]), r.send(ctx, acks[half:])...)
	}
	a := acks[0]
	switch {
	case a.Outcome == complete:
		return r.send(ctx, []ack{a.refused("the service refuses the result: " + why.Error())})
	case a.Outcome == fail && a.Error.Type != "report":
		return r.send(ctx, []ack{a.failed("report", "the command failed, and the service refuses the reason: "+why.Error())})
	}
	r.log.Error("the service refuses a report; the job's lease runs out", "job", a.ID, "outcome", a.Outcome, "error", why)
	return []reportResult{{a, ackRefused}}
}

// unfit says whether it is for its content that a request is refused.
func unfit(err error) bool {
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// backoff is the wait before the next attempt at something: it doubles from 100 ms to 5 s.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, 100*time.Millisecond), 5*time.Second)
	return b.last
}

// sleep waits, and returns false if ctx ends first.
func (b *backoff) sleep(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(b.next()):
		return true
	}
}

// outage logs the beginning and the end of a time in which something does not work, and not each attempt.
type outage struct {
	log   *slog.Logger
	what  string
	since time.Time
}

func (o *outage) note(err error) {
	if o.since.IsZero() {
		o.since = time.Now()
		o.log.Warn(o.what+" does not work; trying again until it does", "error", err)
	}
}

func (o *outage) over() {
	if !o.since.IsZero() {
		o.log.Info(o.what+" works again", "after", time.Since(o.since).Round(time.Millisecond).String())
		o.since = time.Time{}
	}
}
