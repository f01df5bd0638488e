package quota

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestNoTwoPassTheLastPlace: sessions of many clients and nodes that charge tenants in every order.
func TestNoTwoPassTheLastPlace(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	nodes := []*weirtest.Node{weirtest.StartNodeOn(t, d), weirtest.StartNodeOn(t, d)}
	const most = 40
	for _, tenant := range []string{"a", "b", "c"} {
		set(t, d, tenant, fmt.Sprintf("max_waiting => %d", most))
	}
	var callers sync.WaitGroup
	for i := range 12 {
		callers.Go(func() {
			for n := range 30 {
				order := []string{"a", "b", "c"}
				jobs := []obj{}
				for k := range 3 {
					jobs = append(jobs, obj{"kind": "k", "tenant": order[(i+n+k*(1+i%2))%3]})
				}
				path, body := "/v1/jobs/batch", any(obj{"jobs": jobs})
				if i%3 == 0 {
					path, body = "/v1/jobs", any(jobs[0])
				}
				if i%4 == 3 {
					text, _ := json.Marshal(jobs)
					if err := weirtest.TryExec(d, "select weir.enqueue_many($1)", string(text)); err != nil && !weirtest.HasSQLState(err, "WR019") {
						t.Errorf("SQL: %v", err)
					}
					continue
				}
				if r, err := nodes[i%2].Send(t.Context(), http.MethodPost, path, body); err != nil || r.Status != http.StatusCreated && r.Status != http.StatusTooManyRequests {
					t.Errorf("%v, %v", r, err)
				}
			}
		})
	}
	callers.Wait()
	for _, tenant := range []string{"a", "b", "c"} {
		if n := waiting(t, d, tenant); n != most {
			t.Errorf("%d jobs of %s wait, the quota is %d", n, tenant, most)
		}
	}
}

// TestATenantAtItsQuotaFailsNoOther: calls of others that share a group commit with it.
func TestATenantAtItsQuotaFailsNoOther(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	set(t, s.DB, "full", "max_waiting => 0")
	var callers sync.WaitGroup
	for i := range 60 {
		callers.Go(func() {
			for range 5 {
				want, job := http.StatusCreated, obj{"kind": "k", "tenant": fmt.Sprint("t", i)}
				if i%10 == 0 {
					want, job["tenant"] = http.StatusTooManyRequests, "full"
				}
				if r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", job); err != nil || r.Status != want {
					t.Errorf("%v, %v; want %d", r, err, want)
				}
			}
		})
	}
	callers.Wait()
}

// TestALongTransactionHoldsUpOnlyItsTenant: a client keeps the row of what one tenant uses locked.
func TestALongTransactionHoldsUpOnlyItsTenant(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k"}) // the first job of a queue makes it, which others would wait for
	set(t, s.DB, "slow", "max_waiting => 100")
	set(t, s.DB, "quick", "max_waiting => 100")
	weirtest.Exec(t, s.DB, `select weir.set_schedule('behind', '{"every_seconds": 3600, "job": {"kind": "k", "tenant": "slow"}}'),
		weir.set_schedule('free', '{"every_seconds": 3600, "job": {"kind": "k", "tenant": "quick"}}')`)
	commit := s.ExecUncommitted(`select weir.enqueue('k', options => '{"tenant": "slow"}')`)
	behind := make(chan *weirtest.Response, 1)
	go func() {
		r, _ := s.Send(t.Context(), http.MethodPost, "/v1/jobs", obj{"kind": "k", "tenant": "slow"})
		behind <- r
	}()
	weirtest.Exec(t, s.DB, "update weir.schedule set due_at = now(), next_slot_at = date_trunc('second', now())")
	for i := range 50 {
		s.Enqueue(obj{"kind": "k", "tenant": "quick"})
		s.Enqueue(obj{"kind": "k", "unique": obj{"key": fmt.Sprint(i)}})
	}
	s.Eventually("the other schedule has fired", func() bool {
		return s.Count("select count(*) from weir.jobs where schedule = 'free'") > 0
	})
	s.Eventually("the schedule of the tenant is refused", func() bool {
		return s.Count("select count(*) from weir.schedule where name = 'behind' and problem like '%lock%'") > 0
	})
	select {
	case r := <-behind:
		t.Errorf("the call of the tenant did not wait: %v", r)
	default:
	}
	commit()
	if r := <-behind; r == nil || r.Status != http.StatusCreated {
		t.Errorf("the call of the tenant: %v", r)
	}
}

func TestAClientsOwnTransactionIsCharged(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	set(t, d, "acme", "max_waiting => 2")
	tx := d.Tx()
	weirtest.Exec(t, tx, `select weir.enqueue('k', options => '{"tenant": "acme"}') from generate_series(1, 2)`)
	err := pgx.BeginFunc(t.Context(), tx, func(tx pgx.Tx) error {
		return weirtest.TryExec(tx, `select weir.enqueue('k', options => '{"tenant": "acme"}')`)
	})
	weirtest.WantSQLState(t, err, "WR019")
	weirtest.Rollback(t, tx)
	weirtest.Exec(t, d, `select weir.enqueue('k', options => '{"tenant": "acme"}') from generate_series(1, 2)`)
}
