package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/bench/queue"
)

// limiting is a system with limits.
type limiting interface {
	queue.ClaimQueue
	// Limit gives the queue limits, and one key a concurrency of its own, and returns when they are in force.
	Limit(ctx context.Context, limits, key string, concurrency int) error
	Set(ctx context.Context, settings string) error
	// SetLabel labels the jobs that are enqueued from now on.
	SetLabel(label queue.Label)
	// Another is another node for the same database, yet to be opened.
	Another() queue.Queue
}

func (s *stage) limited() (limiting, error) {
	q, ok := s.queue.(limiting)
	if !ok {
		return nil, queue.ErrUnsuited
	}
	return q, nil
}

// keys compares a queue with many active keys with a plain one.
func keys(ctx context.Context, s *stage) error {
	q, err := s.limited()
	if err != nil {
		return err
	}
	rates := map[bool]float64{}
	for range 2 {
		for _, keyed := range []bool{false, true} {
			limits, name := "{}", "plain lives/s"
			q.SetLabel(nil)
			if keyed {
				limits, name = `{"per_key": 10}`, "keyed lives/s"
				q.SetLabel(func(n int64) (string, string) { return fmt.Sprint("k", n%10000), "" })
			}
			if err := q.Limit(ctx, limits, "", 0); err != nil {
				return err
			}
			filling, err := s.fill(ctx, s.Jobs)
			if err != nil {
				return err
			}
			burning, err := s.burn(ctx)
			if err != nil {
				return err
			}
			rates[keyed] += float64(s.Jobs) / (filling + burning).Seconds() / 2
			s.result.Figures[name] = rates[keyed]
		}
	}
	s.result.Figures["keyed %"] = 100 * rates[true] / rates[false]
	return nil
}

// oneKey compares claims beside a key without waiting jobs with those beside one that has a long line.
func oneKey(ctx context.Context, s *stage) error {
	q, err := s.limited()
	if err != nil {
		return err
	}
	if err := errors.Join(q.Set(ctx, `{"lease_seconds": 3600, "timeout_seconds": 3600}`), q.Limit(ctx, `{"per_key": 100000}`, "long", 1)); err != nil {
		return err
	}
	short := func(int64) (string, string) { return "short", "" }
	small := s.Batch
	q.SetLabel(short)
	if _, err := s.fill(ctx, (claims+unclocked)*small); err != nil {
		return err
	}
	if err := s.timeClaims(ctx, "claim, alone"); err != nil {
		return err
	}
	q.SetLabel(func(int64) (string, string) { return "long", "" })
	s.Batch = 1000
	if _, err := s.fill(ctx, s.Backlog); err != nil {
		return err
	}
	s.Batch = small
	claimer, err := q.Claimer(ctx, 1)
	if err != nil {
		return err
	}
	defer claimer.Close(context.WithoutCancel(ctx))
	if jobs, err := claimer.Claim(ctx, small); err != nil || len(jobs) != 1 {
		return fmt.Errorf("of a key that may have one in flight %d were claimed: %w", len(jobs), err)
	}
	q.SetLabel(short)
	if _, err := s.fill(ctx, (claims+unclocked)*small); err != nil {
		return err
	}
	return s.timeClaims(ctx, "claim, beside a long line")
}

// tenants measures the shares of ten tenants, all of whom have more to do than they get.
func tenants(ctx context.Context, s *stage) error {
	q, err := s.limited()
	if err != nil {
		return err
	}
	weights := ""
	for i := range 10 {
		weights += fmt.Sprintf(`, "t%d": %d`, i, i+1)
	}
	if err := q.Limit(ctx, `{"tenants": {"weights": {`+weights[1:]+`}}}`, "", 0); err != nil {
		return err
	}
	q.SetLabel(func(n int64) (string, string) { return "", fmt.Sprint("t", n%10) })
	if _, err := s.fill(ctx, s.Jobs); err != nil {
		return err
	}
	if err := s.workUntil(ctx, func() bool { return s.ledger.CountCompleted() >= int64(s.Jobs)*2/5 }); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var worst float64
	err = conn.QueryRow(ctx, `select max(abs(100 * n * 55 / sum / (tenant + 1) - 100)) from (
		select right(j.tenant, 1)::int as tenant, count(*)::float8 as n, sum(count(*)) over () as sum from weir.job_outcome o join weir.job j on j.id = o.job_id group by 1) t`).Scan(&worst)
	s.result.Figures["worst %"] = worst
	return err
}

// late measures how long a tenant with little to do waits behind one with much.
func late(ctx context.Context, s *stage) error {
	q, err := s.limited()
	if err != nil {
		return err
	}
	if err := q.Limit(ctx, `{"tenants": {}}`, "", 0); err != nil {
		return err
	}
	q.SetLabel(func(int64) (string, string) { return "", "early" })
	small := s.Batch
	s.Batch = 1000
	if _, err := s.fill(ctx, s.Backlog); err != nil {
		return err
	}
	s.Batch = small
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	start := time.Now()
	var came, waiting bool
	workErr := s.workUntil(ctx, func() bool {
		switch {
		case time.Since(start) > 2*time.Second && !came:
			came, waiting = true, true
			q.SetLabel(func(int64) (string, string) { return "", "late" })
			if err = s.enqueue(ctx, 10); err != nil {
				return true
			}
			start = time.Now()
		case waiting:
			var left int
			if err = conn.QueryRow(ctx, "select count(*) from weir.job_held where queue_id = (select id from weir.queue where name = 'default') and reason = 'line' and key = '2late'").Scan(&left); err != nil {
				return true
			}
			waiting = left > 0
			start = time.Now()
		}
		return came && !waiting && time.Since(start) > time.Second
	})
	if err == nil {
		var ms float64
		err = conn.QueryRow(ctx, `select 1000 * extract(epoch from max(o.started_at) - min(j.created_at))::float8 from weir.job j join weir.job_outcome o on o.job_id = j.id
			where j.tenant = 'late' having count(*) = 10`).Scan(&ms)
		s.result.Figures["late ms"] = ms
	}
	return errors.Join(err, workErr)
}

// rate measures a rate that four nodes share.
func rate(ctx context.Context, s *stage) error {
	q, err := s.limited()
	if err != nil {
		return err
	}
	const perSecond = 100
	if err := q.Limit(ctx, fmt.Sprintf(`{"rate": {"per_second": %d, "burst": 10}}`, perSecond), "", 0); err != nil {
		return err
	}
	if _, err := s.fill(ctx, int(s.Offer.Seconds()*perSecond*2)); err != nil {
		return err
	}
	nodes := []queue.Queue{q}
	for range 3 {
		node := q.Another()
		if err := node.Open(ctx, s.url); err != nil {
			return err
		}
		defer node.Close(context.WithoutCancel(ctx))
		nodes = append(nodes, node)
	}
	var stops []func() error
	for _, node := range nodes {
		stop, err := node.Work(ctx, queue.Crew{Connections: 4, Batch: 10}, s.ledger)
		if err != nil {
			return err
		}
		stops = append(stops, stop)
	}
	select {
	case <-ctx.Done():
	case <-time.After(s.Offer):
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			return err
		}
	}
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var jobs, seconds, over float64
	err = conn.QueryRow(ctx, `select count(*), max(t), max(n - $1 * t - lowest + 1) from (
		select n, t, min(n - $1 * t) over (order by n) as lowest from (
			select row_number() over (order by started_at)::float8 as n, extract(epoch from started_at - min(started_at) over ())::float8 as t from weir.job_outcome) o) x`, perSecond).Scan(&jobs, &seconds, &over)
	s.result.Figures["jobs/s"], s.result.Figures["over"] = math.Round(10*(jobs-10)/seconds)/10, over
	return errors.Join(err, ctx.Err())
}

// never looks on while workers work and vanish.
func never(ctx context.Context, s *stage) error {
	q, err := s.limited()
	if err != nil {
		return err
	}
	if err := errors.Join(q.Set(ctx, `{"lease_seconds": 1, "max_attempts": 100}`), q.Limit(ctx, `{"per_key": 3}`, "", 0)); err != nil {
		return err
	}
	q.SetLabel(func(n int64) (string, string) { return fmt.Sprint("k", n%20), "" })
	if _, err := s.fill(ctx, s.Jobs); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	working, stop := context.WithTimeout(ctx, s.Offer/3)
	defer stop()
	var crew sync.WaitGroup
	var vanished, turn atomic.Int64
	errs := make([]error, 32)
	for i := range errs {
		crew.Go(func() {
			claimer, err := q.Claimer(ctx, i)
			if err != nil {
				errs[i] = err
				return
			}
			for working.Err() == nil && errs[i] == nil {
				jobs, err := claimer.Claim(ctx, 5)
				if err == nil && len(jobs) > 0 && turn.Add(1)%20 == 0 {
					vanished.Add(int64(len(jobs)))
					continue
				}
				if err == nil {
					time.Sleep(2 * time.Millisecond)
					var numbers []int64
					numbers, err = claimer.Complete(ctx, jobs)
					s.ledger.Completed(numbers...)
				}
				errs[i] = err
			}
		})
	}
	most, looks := 0.0, 0.0
	for working.Err() == nil {
		var n float64
		if err = conn.QueryRow(ctx, "select coalesce(max(n), 0) from (select count(*) as n from weir.job_lease l join weir.job j on j.id = l.job_id group by j.concurrency_key) k").Scan(&n); err != nil {
			break
		}
		most, looks = max(most, n), looks+1
	}
	crew.Wait()
	s.result.Figures["most"], s.result.Figures["looks"], s.result.Figures["vanished"] = most, looks, float64(vanished.Load())
	s.rate("jobs/s", s.ledger.CountCompleted(), s.Offer/3)
	return errors.Join(append(errs, err)...)
}

// workUntil lets the workers work until something is so.
func (s *stage) workUntil(ctx context.Context, so func() bool) error {
	stop, err := s.queue.Work(ctx, s.crew(), s.ledger)
	if err != nil {
		return err
	}
	for ctx.Err() == nil && !so() {
		time.Sleep(2 * time.Millisecond)
	}
	return errors.Join(ctx.Err(), stop())
}
