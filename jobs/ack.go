package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
)

// Outcome is how an attempt ended, as its worker reports it.
type Outcome string

// The outcomes.
const (
	Complete Outcome = "complete" // it is done
	Fail     Outcome = "fail"     // this attempt failed
	Snooze   Outcome = "snooze"   // not now: again after a delay, no attempt lost
	Release  Outcome = "release"  // back at once, no attempt lost
)

// Failure is the error of a failed attempt.
type Failure struct {
	Message string `json:"message" doc:"What went wrong; cut after 8192 characters." example:"connection refused"`
	Type    string `json:"type,omitempty" doc:"The class of the error; cut after 200 characters." example:"SMTPError"`
	Stack   string `json:"stack,omitempty" doc:"Where it happened; cut after 16384 characters."`
}

// Ack ends a lease with the outcome of the job.
type Ack struct {
	ID             ID              `json:"id" doc:"The job."`
	Token          Token           `json:"token" doc:"The token that came with it."`
	Outcome        Outcome         `json:"outcome" enum:"complete,fail,snooze,release" doc:"How the attempt ended."`
	Result         json.RawMessage `json:"result,omitempty" doc:"With complete: any JSON."`
	Error          *Failure        `json:"error,omitempty" doc:"With fail: what went wrong."`
	Retry          *bool           `json:"retry,omitempty" doc:"With fail: false: it is dead, whatever its attempts. Defaults to true."`
	RetryInSeconds *float64        `json:"retry_in_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"With fail: wait this long before the retry, whatever the retry policy says."`
	Cancel         bool            `json:"cancel,omitempty" doc:"With fail: true: it is cancelled, whatever its attempts. That is no failure: the error says why it was not needed."`
	DelaySeconds   *float64        `json:"delay_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"With snooze: available again after this delay."`

	encrypted json.RawMessage // in place of Error
}

// AckStatus says whether an ack was accepted.
type AckStatus string

// The statuses. Only AckOK changed anything.
const (
	AckOK       AckStatus = "ok"
	AckStale    AckStatus = "stale_token"
	AckNotFound AckStatus = "not_found"
	AckInvalid  AckStatus = "invalid" // only Ack answers this; AckOne returns an Error
)

// AckResult is the result of an ack.
type AckResult struct {
	ID     ID         `json:"id" doc:"The job."`
	Status AckStatus  `json:"status" enum:"ok,stale_token,not_found,invalid" doc:"ok, or why nothing changed."`
	State  State      `json:"state,omitempty" doc:"The job's new state, if it was a fail."`
	RunAt  *time.Time `json:"run_at,omitempty" doc:"When it is tried again, if it is retryable."`
	Error  *AckError  `json:"error,omitempty" doc:"With invalid: what is wrong with the ack."`
	JobIDs []ID       `json:"job_ids,omitempty" doc:"Of a completion with follow-up jobs: their ids, in the order given. A duplicate has the id of the job that holds its unique key."`
}

// AckError says what is wrong with one ack of several.
type AckError struct {
	Field   string `json:"field" doc:"The field of the ack that is wrong." example:"result"`
	Message string `json:"message" doc:"What is wrong with it. It does not quote the value."`
}

// MaxBatch is how many jobs or acks one call takes.
const MaxBatch = 10000

// Ack ends many leases in one transaction and answers in the same order; smaller calls that arrive together are committed together. A stale or invalid ack fails alone.
// Errors: InvalidArgument, Overloaded.
func (e *Engine) Ack(ctx context.Context, acks []Ack) ([]AckResult, error) {
	if len(acks) == 0 {
		return []AckResult{}, nil
	}
	for _, a := range acks {
		if a.check() != nil {
			return e.ackValid(ctx, acks)
		}
	}
	acks = e.fenced(ctx, acks)
	if e.acks.several.Fills(acks) {
		results, err := e.ack(ctx, e.pool, acks)
		return results, cmp.Or(fromDB("acknowledging", err), e.conceal(ctx, acks, results))
	}
	results, err := e.acks.several.All(ctx, acks)
	return results, cmp.Or(fromDB("acknowledging", err), e.conceal(ctx, acks, results))
}

// conceal answers as if a job did not exist that the caller may not see, unless the caller once had it.
func (e *Engine) conceal(ctx context.Context, acks []Ack, results []AckResult) error {
	bounds, err := encodedBounds(ctx)
	if err != nil || bounds == nil {
		return err
	}
	var ids []int64
	for i, r := range results {
		if r.Status == AckStale && acks[i].Token.Number == noToken {
			ids = append(ids, int64(r.ID))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	seen, err := e.q.JobsWithin(ctx, db.JobsWithinParams{Ids: ids, Bounds: bounds})
	if err != nil {
		return fromDB("looking up jobs", err)
	}
	for i, r := range results {
		if r.Status == AckStale && acks[i].Token.Number == noToken && !slices.Contains(seen, int64(r.ID)) {
			results[i].Status = AckNotFound
		}
	}
	return nil
}

// ackValid is Ack for a call in which some acks are invalid.
func (e *Engine) ackValid(ctx context.Context, acks []Ack) ([]AckResult, error) {
	results := make([]AckResult, len(acks))
	var valid []Ack
	var at []int
	for i, a := range acks {
		if err := a.check(); err != nil {
			results[i] = AckResult{ID: a.ID, Status: AckInvalid, Error: &AckError{Field: err.Field, Message: err.Message}}
			continue
		}
		valid, at = append(valid, a), append(at, i)
	}
	accepted, err := e.Ack(ctx, valid)
	for i, r := range accepted {
		results[at[i]] = r
	}
	return results, err
}

func (e *Engine) ackTogether(ctx context.Context, acks []Ack) ([]AckResult, error) {
	return e.ack(ctx, e.groupPool, acks)
}

func (e *Engine) ack(ctx context.Context, pool *db.Pool, acks []Ack) ([]AckResult, error) {
	results := make([]AckResult, len(acks))
	err := e.vault.twice(ctx, func() error {
		encrypted, err := e.vault.encryptAcks(ctx, acks)
		if err != nil {
			return err
		}
		return commitAcks(ctx, pool, encrypted, results)
	})
	if err != nil {
		return nil, err
	}
	e.claims.JobsEnded()
	for i, r := range results {
		e.metrics.acks.WithLabelValues(string(acks[i].Outcome), string(r.Status)).Inc()
		if r.Status == AckOK && (acks[i].Outcome == Complete || r.State.Ended()) {
			e.watcher.tell(r.ID)
		}
	}
	return results, nil
}

// commitAcks writes each ack's result to its place.
func commitAcks(ctx context.Context, pool *db.Pool, acks []Ack, results []AckResult) error {
	groups, err := groupAcks(acks)
	if err != nil {
		return err
	}
	run := func(q *db.Queries) error {
		for _, g := range groups {
			if err := g.run(ctx, q, results); err != nil {
				return err
			}
		}
		return nil
	}
	if len(groups) == 1 {
		return run(db.New(pool))
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := db.New(tx).LockLeases(ctx, idsOf(acks)); err != nil {
			return err
		}
		return run(db.New(tx))
	})
}

// AckOne ends one lease; acks that arrive together are committed together. Errors: StaleToken, JobNotFound, InvalidArgument, Overloaded.
func (e *Engine) AckOne(ctx context.Context, ack Ack) (AckResult, error) {
	if ack.ID <= 0 {
		return AckResult{}, refusalOf(ack.ID, false)
	}
	if err := ack.check(); err != nil {
		return AckResult{}, err
	}
	fence, err := e.checkedFence(ctx, ack.ID, ack.Token)
	if err != nil {
		return AckResult{}, err
	}
	ack.Token = Token{Number: fence}
	result, err := e.acks.single.One(ctx, ack)
	if err != nil {
		return AckResult{}, alone(fromDB("acknowledging", err), "acks[0].")
	}
	if result.Status != AckOK {
		return AckResult{}, refusalOf(ack.ID, result.Status == AckStale)
	}
	return result, nil
}

// check refuses what SQL would refuse without naming its place.
func (a Ack) check() *Error {
	const tenYears = 315360000
	switch {
	case a.ID <= 0:
		return invalid("id", "is required")
	case a.Token.Number <= 0:
		return invalid("token", "is required")
	case a.Outcome == Complete && encryption.IsEncrypted(a.Result):
		return invalid("result", "must not begin with weir:encrypted:")
	case a.Outcome == Fail && (a.Error == nil || a.Error.Message == ""):
		return invalid("error.message", "is required with outcome fail")
	case a.Outcome == Fail && a.RetryInSeconds != nil && !within(*a.RetryInSeconds, 0, tenYears):
		return invalid("retry_in_seconds", "must be from 0 to 315360000")
	case a.Outcome == Snooze && a.DelaySeconds == nil:
		return invalid("delay_seconds", "is required with outcome snooze")
	case a.Outcome == Snooze && !within(*a.DelaySeconds, 0, tenYears):
		return invalid("delay_seconds", "must be from 0 to 315360000")
	}
	switch a.Outcome {
	case Complete, Fail, Snooze, Release:
		return nil
	}
	return invalid("outcome", "must be complete, fail, snooze or release")
}

// bytes is about how much of it goes to the database beside its id and token.
func (a Ack) bytes() int {
	n := len(a.Result)
	if a.Error != nil {
		n += len(a.Error.Message) + len(a.Error.Stack)
	}
	return n
}

func within(x, lowest, highest float64) bool { return x >= lowest && x <= highest }

func idsOf(acks []Ack) []int64 {
	ids := make([]int64, len(acks))
	for i, a := range acks {
		ids[i] = int64(a.ID)
	}
	return ids
}

// ackGroup is acks of one outcome, each of another job, in the arrays that their SQL function takes.
type ackGroup struct {
	outcome Outcome
	nth     int // of each job, these are its nth acks
	ids     []int64
	tokens  []int64
	results []json.RawMessage
	errors  []json.RawMessage
	delays  []float64
	retries []bool
	cancels []bool
	given   bool          // some result is
	at      []int         // the places of these acks in the call
	placeOf map[int64]int // the same by job
}

func groupAcks(acks []Ack) ([]*ackGroup, error) {
	type key struct {
		outcome Outcome
		nth     int // a job's second ack goes into a second statement
	}
	byKey := map[key]*ackGroup{}
	seen := map[ID]int{}
	var groups []*ackGroup
	for i, a := range acks {
		k := key{a.Outcome, seen[a.ID]}
		seen[a.ID]++
		g := byKey[k]
		if g == nil {
			g = &ackGroup{outcome: a.Outcome, nth: k.nth, placeOf: map[int64]int{}}
			byKey[k] = g
			groups = append(groups, g)
		}
		g.at = append(g.at, i)
		g.ids = append(g.ids, int64(a.ID))
		g.tokens = append(g.tokens, a.Token.Number)
		g.placeOf[int64(a.ID)] = i
		switch a.Outcome {
		case Complete:
			g.results = append(g.results, a.Result)
			g.given = g.given || a.Result != nil
		case Fail:
			text := a.encrypted
			if text == nil {
				var err error
				if text, err = json.Marshal(a.Error); err != nil {
					return nil, err
				}
			}
			g.errors = append(g.errors, text)
			g.retries = append(g.retries, a.Retry == nil || *a.Retry)
			g.cancels = append(g.cancels, a.Cancel)
			wait := math.NaN() // becomes NULL: as the policy says
			if a.RetryInSeconds != nil {
				wait = *a.RetryInSeconds
			}
			g.delays = append(g.delays, wait)
		case Snooze:
			g.delays = append(g.delays, *a.DelaySeconds)
		}
	}
	// A job's first ack must come before its second, whatever their outcomes.
	slices.SortStableFunc(groups, func(a, b *ackGroup) int { return a.nth - b.nth })
	return groups, nil
}

// place says which ack's result is too large for SQL, which counts from 1. Few are that have passed check: those that PostgreSQL prints longer.
func (g *ackGroup) place(err error) error {
	var refused *pgconn.PgError
	var n int
	if !errors.As(err, &refused) || refused.Code != "WR010" {
		return err
	}
	if _, scanErr := fmt.Sscanf(refused.ColumnName, "results[%d]", &n); scanErr != nil || n < 1 || n > len(g.at) {
		return err
	}
	_, problem, _ := strings.Cut(refused.Message, " ")
	return invalid(fmt.Sprintf("acks[%d].result", g.at[n-1]), problem)
}

// run sends the acks and writes each one's result to its place.
func (g *ackGroup) run(ctx context.Context, q *db.Queries, results []AckResult) error {
	set := func(id int64, refusal, state string, runAt *time.Time) {
		status := AckOK
		if refusal != "" {
			status = AckStatus(refusal)
		}
		results[g.placeOf[id]] = AckResult{ID: ID(id), Status: status, State: State(state), RunAt: utc(runAt)}
	}
	switch g.outcome {
	case Complete:
		if !g.given {
			g.results = nil
		}
		rows, err := q.CompleteBatch(ctx, db.CompleteBatchParams{JobIds: g.ids, Tokens: g.tokens, Results: g.results})
		for _, r := range rows {
			set(r.JobID, r.Refusal, "", nil)
		}
		return g.place(err)
	case Fail:
		rows, err := q.FailBatch(ctx, db.FailBatchParams{
			JobIds: g.ids, Tokens: g.tokens, Errors: g.errors, RetryInSeconds: g.delays, Retries: g.retries, Cancels: g.cancels,
		})
		for _, r := range rows {
			set(r.JobID, r.Refusal, r.State, r.RunAt)
		}
		return err
	case Snooze:
		rows, err := q.SnoozeBatch(ctx, db.SnoozeBatchParams{JobIds: g.ids, Tokens: g.tokens, DelaySeconds: g.delays})
		for _, r := range rows {
			set(r.JobID, r.Refusal, "", nil)
		}
		return err
	case Release:
		rows, err := q.ReleaseBatch(ctx, db.ReleaseBatchParams{JobIds: g.ids, Tokens: g.tokens})
		for _, r := range rows {
			set(r.JobID, r.Refusal, "", nil)
		}
		return err
	}
	return nil
}
