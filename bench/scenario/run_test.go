package scenario

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/bench/cluster"
	"github.com/weirhq/weir/bench/queue"
)

// forgetful is a queue that says nothing is left, and works only half of what it is given.
type forgetful struct{ given []queue.Job }

func (q *forgetful) Open(context.Context, string) error  { return nil }
func (q *forgetful) Close(context.Context) error         { return nil }
func (q *forgetful) Left(context.Context) (int64, error) { return 0, nil }
func (q *forgetful) Enqueue(_ context.Context, jobs []queue.Job) error {
	q.given = append(q.given, jobs...)
	return nil
}

func (q *forgetful) Work(_ context.Context, _ queue.Crew, ledger *queue.Ledger) (func() error, error) {
	for _, job := range q.given[:len(q.given)/2] {
		ledger.Completed(job.Number)
	}
	return func() error { return nil }, nil
}

func TestEveryRunBalancesItsBooksOrFails(t *testing.T) {
	profile, err := cluster.ProfileByName("stock")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), "", profile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	o := Options{Jobs: 1000, Batch: 50, Connections: 2, ArgsSize: 250, Offer: time.Second, Duration: 2 * time.Second, Limit: time.Minute}

	for _, sc := range Scenarios(o) {
		if sc.Name != "burndown" && sc.Name != "continuous" {
			continue
		}
		for _, system := range queue.Systems("") {
			if system.Name != "weir-sql" && system.Name != "weir-engine" && system.Name != "river-tuned" && system.Name != "floor" {
				continue
			}
			r := Run(t.Context(), c, system, sc, o, 1)
			if r.Error != "" || r.Absent != "" {
				t.Errorf("%s of %s: %s%s", sc.Name, system.Name, r.Error, r.Absent)
			}
			if r.Books.Completed == 0 || r.Cost.WAL == 0 || r.Cost.PostgresCPU == 0 {
				t.Errorf("%s of %s measured nothing: %+v", sc.Name, system.Name, r)
			}
		}
	}

	lying := queue.System{Name: "forgetful", New: func() queue.Queue { return &forgetful{} }}
	r := Run(t.Context(), c, lying, Scenario{Name: "half", run: func(ctx context.Context, s *stage) error {
		if _, err := s.fill(ctx, 2); err != nil {
			return err
		}
		stop, err := s.queue.Work(ctx, s.crew(), s.ledger)
		if err != nil {
			return err
		}
		return stop()
	}}, Options{Batch: 2, Connections: 1, ArgsSize: 100, Limit: time.Minute}, 1)
	if !strings.Contains(r.Error, "do not balance") {
		t.Errorf("a queue that loses a job gives %q", r.Error)
	}
}
