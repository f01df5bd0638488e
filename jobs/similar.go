package jobs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
)

// SimilarJobs are jobs that resemble one, the most similar first.
type SimilarJobs struct {
	Items    []SimilarJob `json:"items" doc:"The jobs, the most similar first; of equal ones the nearest in time."`
	LookedAt int          `json:"looked_at" doc:"How many jobs of all kinds were looked at: the newest, and those enqueued shortly before and after the job."`
	Cut      bool         `json:"cut" doc:"There are jobs that were not looked at, or not scored."`
}

// SimilarJob is a job that resembles another.
type SimilarJob struct {
	ID        ID              `json:"id" doc:"Its id." example:"4711"`
	Kind      string          `json:"kind" doc:"What the worker should do: that of the job." example:"send_receipt"`
	Queue     string          `json:"queue" doc:"The queue it waits in." example:"mail"`
	State     State           `json:"state" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Where it is in its life."`
	CreatedAt time.Time       `json:"created_at" doc:"When it was enqueued."`
	ErrorType string          `json:"error_type,omitempty" doc:"The class of its last error."`
	Score     float64         `json:"score" minimum:"0" maximum:"1" doc:"How similar it is: args count 0.6, the class of the error 0.25, nearness in time 0.15."`
	Reasons   []SimilarReason `json:"reasons" doc:"What is similar."`
}

// SimilarReason is one thing in which two jobs are similar.
type SimilarReason struct {
	Code    string  `json:"code" doc:"What it is, for programs: args_equal, args_similar, same_error, no_error, near_in_time. New ones may come." example:"args_similar"`
	Message string  `json:"message" doc:"What it is, for people."`
	Score   float64 `json:"score" minimum:"0" maximum:"1" doc:"How similar the two are in this."`
}

// What each part of a score weighs. A part that is unknown does not count, and the others count for more.
const (
	argsWeight  = 0.6
	errorWeight = 0.25
	timeWeight  = 0.15
)

// Similar returns up to limit jobs that resemble one, of its kind. It looks at a bounded number of jobs. Without args, they do not count: the
// caller may not see them. Errors: JobNotFound.
func (e *Engine) Similar(ctx context.Context, id ID, limit int, withArgs bool) (SimilarJobs, error) {
	original, err := e.Job(ctx, id)
	if err != nil {
		return SimilarJobs{}, err
	}
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return SimilarJobs{}, err
	}
	rows, err := e.reads.SimilarCandidates(ctx, db.SimilarCandidatesParams{JobID: int64(id), Bounds: bounds})
	if err != nil {
		return SimilarJobs{}, fromDB("looking for similar jobs", err)
	}
	out := SimilarJobs{Items: []SimilarJob{}}
	var members any
	readable := withArgs && len(original.Args) <= maxPatched && !encryption.IsEncrypted(original.Args)
	if readable {
		if members, err = treeOf(original.Args); err != nil {
			return SimilarJobs{}, err
		}
	}
	for _, r := range rows {
		out.LookedAt, out.Cut = int(r.LookedAt), r.Cut
		if r.ID == 0 { // there is no candidate
			continue
		}
		s := scored{SimilarJob: SimilarJob{
			ID: ID(r.ID), Kind: original.Kind, Queue: r.Queue, State: State(r.State), CreatedAt: r.CreatedAt.UTC(), ErrorType: r.ErrorType, Reasons: []SimilarReason{},
		}}
		if withArgs {
			s.compareArgs(members, readable, e.vault.shown(ctx, argsField, r.Args), r.ArgsEqual)
		}
		s.compareErrors(original, r.Failed)
		s.compareTimes(original.CreatedAt)
		s.Score = math.Round(s.sum/s.weight*1000) / 1000
		out.Items = append(out.Items, s.SimilarJob)
	}
	slices.SortFunc(out.Items, func(a, b SimilarJob) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.CreatedAt.Sub(original.CreatedAt).Abs(), b.CreatedAt.Sub(original.CreatedAt).Abs()), cmp.Compare(b.ID, a.ID))
	})
	out.Items = out.Items[:min(limit, len(out.Items))]
	return out, nil
}

// scored is a candidate while its score is added up.
type scored struct {
	SimilarJob
	sum, weight float64
}

func (s *scored) add(weight, score float64, code, message string) {
	s.sum, s.weight = s.sum+weight*score, s.weight+weight
	if score > 0 && code != "" {
		s.Reasons = append(s.Reasons, SimilarReason{Code: code, Message: message, Score: math.Round(score*1000) / 1000})
	}
}

// compareArgs scores args by the share of their members that are equal; those of no object are equal or not. Nothing counts that
// cannot be compared.
func (s *scored) compareArgs(original any, readable bool, args []byte, equal bool) {
	if equal {
		s.add(argsWeight, 1, "args_equal", "the args are equal")
		return
	}
	if !readable || len(args) == 0 || encryption.IsEncrypted(args) {
		return
	}
	tree, err := treeOf(args)
	if err != nil {
		return
	}
	if sameTree(original, tree) {
		s.add(argsWeight, 1, "args_equal", "the args are equal")
		return
	}
	a, isObject := original.(map[string]any)
	b, both := tree.(map[string]any)
	if !isObject || !both {
		s.add(argsWeight, 0, "", "")
		return
	}
	same, all := 0, len(b)
	for name := range maps.Keys(a) {
		if other, ok := b[name]; !ok {
			all++
		} else if sameTree(a[name], other) {
			same++
		}
	}
	s.add(argsWeight, float64(same)/float64(all), "args_similar", fmt.Sprintf("%d of %d members of the args are equal", same, all))
}

func (s *scored) compareErrors(original Job, failed bool) {
	kind, hasFailed := original.errorType(), len(original.Error) > 0 || len(original.Errors) > 0
	switch {
	case !failed && !hasFailed:
		s.add(errorWeight, 1, "no_error", "neither has failed")
	case failed && hasFailed && kind != "" && kind == s.ErrorType:
		s.add(errorWeight, 1, "same_error", fmt.Sprintf("both failed with %q", kind))
	default:
		s.add(errorWeight, 0, "", "")
	}
}

// compareTimes scores nearness in time: 1 at once, a half at an hour, a tenth at nine hours.
func (s *scored) compareTimes(original time.Time) {
	apart := s.CreatedAt.Sub(original).Abs()
	code := "near_in_time"
	if apart > time.Hour {
		code = ""
	}
	s.add(timeWeight, 1/(1+apart.Hours()), code, fmt.Sprintf("they were enqueued %s apart", apart.Round(time.Millisecond)))
}
