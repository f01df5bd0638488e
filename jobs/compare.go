package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirhq/weir/encryption"
)

// Comparison is two jobs side by side.
type Comparison struct {
	A      ComparedJob                `json:"a" doc:"The first job."`
	B      ComparedJob                `json:"b" doc:"The second job."`
	Same   map[string]json.RawMessage `json:"same" doc:"The facts of the jobs that are equal, by the names that a job has."`
	Differ map[string]Pair            `json:"differ" doc:"The facts that differ."`
	Args   Difference                 `json:"args" doc:"How the args differ."`
	Result Difference                 `json:"result" doc:"How the results differ; no result is null."`
}

// ComparedJob is the life of one of them.
type ComparedJob struct {
	ID            ID               `json:"id" doc:"Its id." example:"4711"`
	CreatedAt     time.Time        `json:"created_at" doc:"When it was enqueued."`
	WaitedSeconds *float64         `json:"waited_seconds,omitempty" doc:"From its enqueue to the start of its first attempt; absent: it has not started."`
	RanSeconds    *float64         `json:"ran_seconds,omitempty" doc:"How long its last attempt took; absent: that has not ended."`
	TotalSeconds  *float64         `json:"total_seconds,omitempty" doc:"From its enqueue to its end; absent: it has not ended."`
	Timeline      []ComparedMoment `json:"timeline" doc:"The first 200 moments of its timeline."`
	More          bool             `json:"more_moments,omitempty" doc:"Its timeline has more moments."`
}

// ComparedMoment is a moment of a timeline, by the time since the job's enqueue.
type ComparedMoment struct {
	AfterSeconds float64 `json:"after_seconds" doc:"Seconds after the job's enqueue."`
	Moment
}

// Pair is a fact of two jobs. Null: a job does not have it.
type Pair struct {
	A json.RawMessage `json:"a" doc:"That of the first job."`
	B json.RawMessage `json:"b" doc:"That of the second job."`
}

// Difference is how a value of one job becomes that of another.
type Difference struct {
	Equal     bool             `json:"equal" doc:"The values are equal."`
	Patch     []PatchOperation `json:"patch" doc:"A JSON Patch (RFC 6902) that makes the second value of the first: at most 1,000 operations."`
	Coarse    bool             `json:"coarse,omitempty" doc:"The patch replaces the whole: it would have more than 1,000 operations, or a value has more than 64 KiB."`
	Encrypted bool             `json:"encrypted,omitempty" doc:"A value is encrypted and the node cannot decrypt it: there is no patch."`
}

const comparedMoments = 200

// notFacts are the fields of a job that a comparison leaves out, or shows in another way.
var notFacts = []string{
	"id", "args", "result", "created_at", "run_at", "started_at", "finished_at", "lease_expires_at", "result_until", "progress", "errors", "duplicate",
}

// Compare compares two jobs. Errors: JobNotFound.
func (e *Engine) Compare(ctx context.Context, a, b ID) (Comparison, error) {
	c := Comparison{}
	first, err := e.compared(ctx, a, &c.A)
	if err != nil {
		return Comparison{}, err
	}
	second, err := e.compared(ctx, b, &c.B)
	if err != nil {
		return Comparison{}, err
	}
	if c.Args, err = differenceOf(first.Args, second.Args); err != nil {
		return Comparison{}, err
	}
	if c.Result, err = differenceOf(first.Result, second.Result); err != nil {
		return Comparison{}, err
	}
	c.Same, c.Differ, err = compareFacts(first, second)
	return c, err
}

// compared reads a job and its life.
func (e *Engine) compared(ctx context.Context, id ID, into *ComparedJob) (Job, error) {
	job, err := e.Job(ctx, id)
	if err != nil {
		return Job{}, err
	}
	moments, err := e.Timeline(ctx, id, 0, comparedMoments+1)
	if err != nil {
		return Job{}, err
	}
	*into = ComparedJob{ID: id, CreatedAt: job.CreatedAt, Timeline: []ComparedMoment{}, More: len(moments) > comparedMoments}
	for i, m := range moments {
		after := m.At.Sub(job.CreatedAt).Seconds()
		if m.Event == "started" && into.WaitedSeconds == nil {
			into.WaitedSeconds = &after
		}
		if i < comparedMoments {
			into.Timeline = append(into.Timeline, ComparedMoment{AfterSeconds: after, Moment: m})
		}
	}
	if job.FinishedAt != nil {
		into.TotalSeconds = new(job.FinishedAt.Sub(job.CreatedAt).Seconds())
		if job.StartedAt != nil {
			into.RanSeconds = new(job.FinishedAt.Sub(*job.StartedAt).Seconds())
		}
	}
	return job, nil
}

func differenceOf(a, b json.RawMessage) (Difference, error) {
	if encryption.IsEncrypted(a) || encryption.IsEncrypted(b) {
		return Difference{Patch: []PatchOperation{}, Encrypted: true}, nil
	}
	if len(b) == 0 {
		b = json.RawMessage("null")
	}
	patch, coarse, err := patchOf(a, b)
	return Difference{Equal: len(patch) == 0, Patch: patch, Coarse: coarse}, err
}

// compareFacts tells the facts that are equal from those that differ.
func compareFacts(a, b Job) (same map[string]json.RawMessage, differ map[string]Pair, err error) {
	x, err := a.facts()
	if err != nil {
		return nil, nil, err
	}
	y, err := b.facts()
	if err != nil {
		return nil, nil, err
	}
	same, differ = map[string]json.RawMessage{}, map[string]Pair{}
	names := slices.Collect(maps.Keys(x))
	for name := range y {
		if _, ok := x[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		d, err := differenceOf(x[name], y[name])
		if err != nil {
			return nil, nil, err
		}
		if d.Equal {
			same[name] = x[name]
		} else {
			differ[name] = Pair{A: orNull(x[name]), B: orNull(y[name])}
		}
	}
	return same, differ, nil
}

func orNull(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("null")
	}
	return value
}

// facts are the fields of a job that a comparison is about, with the class of its last error.
func (j Job) facts() (map[string]json.RawMessage, error) {
	kind := j.errorType()
	j.Args, j.Result, j.Errors, j.Progress = nil, nil, nil, nil
	text, err := json.Marshal(struct {
		Job
		ErrorType string `json:"error_type,omitempty"`
	}{j, kind})
	if err != nil {
		return nil, fmt.Errorf("encoding a job: %w", err)
	}
	var facts map[string]json.RawMessage
	if err := json.Unmarshal(text, &facts); err != nil {
		return nil, fmt.Errorf("reading a job: %w", err)
	}
	for _, name := range notFacts {
		delete(facts, name)
	}
	return facts, nil
}

// errorType is the class of the error that a job died of, or of its last failed attempt.
func (j Job) errorType() string {
	var died struct {
		Type string `json:"type"`
	}
	if len(j.Error) > 0 && json.Unmarshal(j.Error, &died) == nil && died.Type != "" {
		return died.Type
	}
	if n := len(j.Errors); n > 0 {
		return j.Errors[n-1].Type
	}
	return ""
}
