package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

// Attempt is one attempt of a worker at a job, once it has ended.
type Attempt struct {
	JobID     ID        `json:"job_id" doc:"The job."`
	Kind      string    `json:"kind" doc:"The job's kind." example:"send_receipt"`
	Queue     string    `json:"queue" doc:"The queue that it came from." example:"mail"`
	Attempt   int       `json:"attempt" doc:"Which attempt it was: 1, 2, …"`
	Outcome   string    `json:"outcome" enum:"completed,failed,timed_out,lost,snoozed,released" doc:"How it ended. A cancelled job's attempt ends in one of these ways too."`
	StartedAt time.Time `json:"started_at" doc:"When its first batch began."`
	EndedAt   time.Time `json:"ended_at" doc:"When it ended."`
	Error     string    `json:"error,omitempty" doc:"The first 200 characters of what went wrong."`
}

// AttemptPlace is a place in a list of attempts, behind the attempt of this job that ended then.
type AttemptPlace struct {
	EndedAt time.Time
	JobID   ID // 0: the whole of that moment is still to come
}

// Attempts is one page of a worker's history, newest first.
type Attempts struct {
	Items []Attempt
	Next  *AttemptPlace // where the next page begins; nil: there is none
}

const (
	historySpan  = time.Minute            // how far back the first statement reads
	historyQuick = 500 * time.Millisecond // after a statement that took less, the next one reads twice as far back
)

// WorkerHistory returns up to limit attempts of a worker that ended before a place, newest first; nil: from the newest. Attempts are found by time, not by
// worker, so it reads further and further back. A search that takes too long ends with the attempts that it has found, perhaps none, and the place to go on from.
// Errors: WorkerNotFound.
func (e *Engine) WorkerHistory(ctx context.Context, name string, from *AttemptPlace, limit int) (Attempts, error) {
	if err := e.requireWorker(ctx, name); err != nil {
		return Attempts{}, err
	}
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return Attempts{}, err
	}
	oldest, err := e.reads.OldestJob(ctx)
	if err != nil {
		return Attempts{}, fromDB("looking how far back jobs are kept", err)
	}
	place := AttemptPlace{EndedAt: oldest.Now.Add(time.Second)} // an attempt that ends during this search belongs to the next list
	if from != nil {
		place = *from
	}
	found := Attempts{Items: []Attempt{}}
	span := historySpan
	for began := e.clock.Now(); place.EndedAt.After(oldest.CreatedAt); {
		since, asked := place.EndedAt.Add(-span), e.clock.Now()
		most := limit - len(found.Items)
		rows, err := e.reads.WorkerHistory(ctx, db.WorkerHistoryParams{
			Worker: name, Since: since, Before: place.EndedAt, BeforeJob: nonZero(int64(place.JobID)), MaxRows: int32(most), Bounds: bounds,
		})
		if err != nil {
			return Attempts{}, fromDB("reading what a worker did", err)
		}
		for _, r := range rows {
			if !r.Within {
				continue
			}
			found.Items = append(found.Items, Attempt{
				JobID: ID(r.JobID), Kind: r.Kind, Queue: r.Queue, Attempt: int(r.Attempt), Outcome: r.Outcome, StartedAt: r.StartedAt.UTC(), EndedAt: r.EndedAt.UTC(), Error: r.Error,
			})
		}
		if len(found.Items) == limit {
			last := found.Items[limit-1]
			found.Next = &AttemptPlace{last.EndedAt, last.JobID}
			return found, nil
		}
		place = AttemptPlace{EndedAt: since.Add(-time.Microsecond)} // since itself was read
		if len(rows) == most {                                      // some of them are of others' jobs
			last := rows[most-1]
			place = AttemptPlace{EndedAt: last.EndedAt, JobID: ID(last.JobID)}
		}
		if e.clock.Since(began) > listFor {
			found.Next = &place
			return found, nil
		}
		if e.clock.Since(asked) < historyQuick {
			span *= 2
		}
	}
	return found, nil
}
