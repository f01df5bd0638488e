package jobs

import "context"

// Retries are how many attempts, and how many retried jobs, succeed in a window.
type Retries struct {
	RetriesPart
	StatsFrame
	Previous *RetriesPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// RetriesPart is the retries of one window.
type RetriesPart struct {
	StatsSpan
	Total RetriesOfKind   `json:"total" doc:"All kinds."`
	Kinds []RetriesOfKind `json:"kinds" doc:"The fifty busiest kinds, and other for the rest of them."`
}

// RetriesOfKind is how the attempts of a kind fared.
type RetriesOfKind struct {
	Kind            string  `json:"kind,omitempty" doc:"Kind of the jobs; absent: of all, or of the others."`
	Other           bool    `json:"other,omitempty" doc:"These are all other kinds, added up."`
	Attempts        int64   `json:"attempts" doc:"Attempts that completed their job, failed, ran past their timeout or lost their lease."`
	Succeeded       int64   `json:"succeeded" doc:"Those of them that completed their job."`
	SuccessRatio    float64 `json:"success_ratio" minimum:"0" maximum:"1" doc:"The fraction that succeeded; 0 if there were none."`
	CompletedFirst  int64   `json:"completed_first" doc:"Jobs that the first attempt completed."`
	CompletedLater  int64   `json:"completed_later" doc:"Jobs that a later attempt completed."`
	Dead            int64   `json:"dead" doc:"Jobs that died."`
	RecoveryRatio   float64 `json:"recovery_ratio" minimum:"0" maximum:"1" doc:"Of the jobs that a later attempt completed and those that died, the fraction that was completed; 0 if there were none."`
	AttemptsPerDone float64 `json:"attempts_per_completion" doc:"Attempts for each completed job; 0 if there were none."`
}

// Retries returns how many attempts succeed. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) Retries(ctx context.Context, q StatsQuery) (Retries, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return Retries{}, err
	}
	t := Retries{StatsFrame: r.StatsFrame}
	if t.RetriesPart, err = e.retriesOf(ctx, r); err != nil || !q.Previous {
		return t, err
	}
	before, err := e.retriesOf(ctx, r.before())
	t.Previous = &before
	return t, err
}

func (e *Engine) retriesOf(ctx context.Context, r statsRead) (RetriesPart, error) {
	part := RetriesPart{StatsSpan: r.StatsSpan, Kinds: []RetriesOfKind{}}
	kinds, err := e.sharesOf(ctx, r, byKind)
	if err != nil {
		return part, err
	}
	var sum ThroughputCounts
	for _, k := range kinds {
		sum.add(k.ThroughputCounts)
		one := retriesFrom(k.ThroughputCounts)
		one.Kind, one.Other = k.Name, k.Other
		part.Kinds = append(part.Kinds, one)
	}
	part.Total = retriesFrom(sum)
	return part, nil
}

func retriesFrom(c ThroughputCounts) RetriesOfKind {
	r := RetriesOfKind{
		Attempts: c.Completed + c.Failed + c.TimedOut + c.Lost, Succeeded: c.Completed, CompletedFirst: c.Completed - c.CompletedLater, CompletedLater: c.CompletedLater, Dead: c.Dead,
	}
	r.SuccessRatio, r.RecoveryRatio = ratio(r.Succeeded, r.Attempts), ratio(r.CompletedLater, r.CompletedLater+r.Dead)
	r.AttemptsPerDone = ratio(r.Attempts, r.Succeeded)
	return r
}

// ratio is part by whole, and 0 by nothing.
func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
