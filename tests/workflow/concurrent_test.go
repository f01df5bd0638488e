package workflow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/tests/weirtest"
)

// Hundreds of acks at once, each in its own transaction, of steps that release the same steps: each of those is
// released once, and no ack fails with a deadlock.
func TestConcurrentParentsReleaseChildOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const parents, children, sessions = 300, 12, 30
	var steps, names []string
	for i := range parents {
		names = append(names, fmt.Sprint("p", i))
		steps = append(steps, step(names[i], ""))
	}
	for i := range children { // each depends on all, in an order of its own
		rand.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
		steps = append(steps, step(fmt.Sprint("c", i), strings.Join(names, ",")))
	}
	w := submit(t, d, "", steps...)
	jobs := weirtest.Claim(t, d, "default", parents)
	rand.Shuffle(len(jobs), func(a, b int) { jobs[a], jobs[b] = jobs[b], jobs[a] })
	var acking sync.WaitGroup
	for s := range sessions {
		conn := d.Connect()
		acking.Go(func() {
			for i := s; i < len(jobs); i += sessions {
				if err := weirtest.TryExec(conn, "select weir.complete($1, $2)", jobs[i].ID, jobs[i].Token); err != nil {
					t.Error(err)
				}
			}
		})
	}
	acking.Wait()
	if n := len(weirtest.Claim(t, d, "default", 1000)); n != children {
		t.Errorf("%d steps were let go, want %d", n, children)
	}
	weirtest.Exec(t, d, "select count(*) from weir.complete_many((select array_agg(job_id) from weir.job_lease), (select array_agg(token) from weir.job_lease))")
	wantWorkflow(t, d, w, "completed")
}

// plannedStep is a step of a random workflow whose outcome is decided beforehand.
type plannedStep struct {
	after []int
	needs string
	dies  bool
}

func (s plannedStep) json(i int, shuffled []int) string {
	names := make([]string, len(s.after))
	for k, p := range s.after {
		names[k] = fmt.Sprint("s", shuffled[p])
	}
	return step(fmt.Sprint("s", shuffled[i]), strings.Join(names, ","), fmt.Sprintf(`"needs": %q, "args": {"dies": %v}, "max_attempts": 3, "retry": {"base_seconds": 0}`, s.needs, s.dies))
}

func planWorkflow(random *rand.Rand, n int) []plannedStep {
	steps := make([]plannedStep, n)
	for i := range steps {
		steps[i].needs = []string{"completed", "completed", "ended", "any"}[random.IntN(4)]
		steps[i].dies = random.IntN(6) == 0
		if i > 0 && random.IntN(5) > 0 {
			steps[i].after = append(steps[i].after, random.Perm(i)[:1+random.IntN(min(i, 4))]...)
		}
	}
	return steps
}

// ends returns how each step ends if everything that does not depend on a failure goes on.
func ends(steps []plannedStep) []string {
	states := make([]string, len(steps))
	for i, s := range steps {
		completed := 0
		for _, p := range s.after {
			if states[p] == "completed" {
				completed++
			}
		}
		switch {
		case s.needs == "completed" && completed < len(s.after), s.needs == "any" && completed == 0 && len(s.after) > 0:
			states[i] = "cancelled"
		case s.dies:
			states[i] = "dead"
		default:
			states[i] = "completed"
		}
	}
	return states
}

// Random workflows, worked concurrently in batches, with failures, retries, releases and lost leases, end as their
// definition implies.
func TestRandomWorkflowsEndAsDefined(t *testing.T) {
	weirtest.Long(t, "it runs random workflows")
	t.Parallel()
	d := weirtest.New(t)
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	plans := map[int64][]plannedStep{}
	orders := map[int64][]int{}
	for range 40 {
		plan := planWorkflow(random, 1+random.IntN(40))
		shuffled := random.Perm(len(plan))
		steps := make([]string, len(plan))
		for i, s := range plan {
			steps[shuffled[i]] = s.json(i, shuffled)
		}
		w := submit(t, d, `"on_failure": "continue"`, steps...)
		plans[w], orders[w] = plan, shuffled
	}
	var working sync.WaitGroup
	for worker := range 8 {
		conn := d.Connect()
		random := rand.New(rand.NewPCG(rand.Uint64(), uint64(worker)))
		working.Go(func() {
			for {
				left, err := workRandomly(conn, random)
				if err != nil {
					t.Error(err)
				}
				if err != nil || left == 0 {
					return
				}
			}
		})
	}
	working.Wait()
	for w, plan := range plans {
		want := ends(plan)
		rows, err := d.Query(t.Context(), "select number, state::text from weir.workflow_steps where workflow_id = $1", w)
		if err != nil {
			t.Fatal(err)
		}
		got := map[int]string{}
		var number int
		var state string
		if _, err := pgx.ForEachRow(rows, []any{&number, &state}, func() error { got[number] = state; return nil }); err != nil {
			t.Fatal(err)
		}
		state = "completed"
		for i := range plan {
			if got[orders[w][i]] != want[i] {
				t.Errorf("workflow %d: step %d is %s, want %s: %+v", w, i, got[orders[w][i]], want[i], plan[i])
			}
			if want[i] == "dead" {
				state = "failed"
			}
		}
		wantWorkflow(t, d, w, state)
	}
	weirtest.CheckWorkflows(t, d)
}

// workRandomly claims a few steps and ends all of them in one transaction. It returns how many workflows have not
// ended.
func workRandomly(conn *pgx.Conn, random *rand.Rand) (left int, err error) {
	ctx := context.Background()
	rows, err := conn.Query(ctx, "select job_id, token, (args ->> 'dies')::boolean from weir.claim(array['default'], 'w', $1)", 1+random.IntN(20))
	if err != nil {
		return 0, err
	}
	var done, failed, released [2][]int64
	var id, token int64
	var dies bool
	if _, err := pgx.ForEachRow(rows, []any{&id, &token, &dies}, func() error {
		into := &done
		switch {
		case random.IntN(8) == 0:
			into = &released
		case dies:
			into = &failed
		}
		into[0], into[1] = append(into[0], id), append(into[1], token)
		return nil
	}); err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		all := append(append(append([]int64{}, done[0]...), failed[0]...), released[0]...)
		for _, call := range []struct {
			sql  string
			args []any
		}{
			{"select weir.lock_leases($1)", []any{all}},
			{"select weir.complete_many($1, $2)", []any{done[0], done[1]}},
			{"select weir.fail_many($1::bigint[], $2, array_fill('{}'::jsonb, array[cardinality($1::bigint[])]))", []any{failed[0], failed[1]}},
			{"select weir.release_many($1, $2)", []any{released[0], released[1]}},
		} {
			if len(call.args[0].([]int64)) == 0 {
				continue
			}
			if err := weirtest.TryExec(tx, call.sql, call.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return left, conn.QueryRow(ctx, "select count(*) from weir.workflow where finished_at is null").Scan(&left)
}

// Operators cancel, retry, signal and cancel single steps while workers work and steps add steps. Nothing deadlocks,
// nothing is forgotten, and afterwards every workflow ends.
func TestWorkflowsSurviveConcurrentChanges(t *testing.T) {
	weirtest.Long(t, "it changes workflows for a while")
	t.Parallel()
	d := weirtest.New(t)
	random := rand.New(rand.NewPCG(rand.Uint64(), 2))
	var ids []int64
	for i := range 24 {
		plan := planWorkflow(random, 20)
		shuffled := random.Perm(len(plan))
		steps := make([]string, len(plan))
		for k, s := range plan {
			steps[shuffled[k]] = s.json(k, shuffled)
		}
		steps = append(steps, `{"name": "sub", "workflow": `+definition("", step("x", "", `"args": {"dies": false}`), step("y", "x", `"args": {"dies": false}`))+`, "depends_on": ["s0"]}`,
			`{"name": "wait", "wait_for": {"signal": "go", "timeout_seconds": 1, "on_timeout": "skip"}}`, `{"name": "timer", "wait_for": {"seconds": 0.2}, "depends_on": ["s1"]}`)
		ids = append(ids, submit(t, d, fmt.Sprintf(`"on_failure": %q`, []string{"fail_fast", "continue"}[i%2]), steps...))
	}
	ctx, stop := context.WithCancel(t.Context())
	var busy, working sync.WaitGroup
	for range 4 {
		conn := d.Connect()
		random := rand.New(rand.NewPCG(rand.Uint64(), 3))
		busy.Go(func() {
			for range 60 {
				w := ids[random.IntN(len(ids))]
				sql := []string{
					"select weir.cancel_workflow($1)", "select weir.retry_workflow($1)", "select weir.retry_workflow($1)", "select weir.signal($1, 'go')", "select weir.fork_workflow($1, array['s0'])",
					"select weir.cancel((select job_id from weir.workflow_steps where workflow_id = $1 order by random() limit 1))",
					"select weir.retry((select job_id from weir.workflow_steps where workflow_id = $1 order by random() limit 1))",
				}[random.IntN(7)]
				if err := weirtest.TryExec(conn, sql, w); err != nil && !strings.Contains(err.Error(), "SQLSTATE WR0") && !weirtest.HasSQLState(err, "40001") { // a job that keeps moving
					t.Errorf("%s: %s", sql, inFull(err))
				}
			}
		})
	}
	for worker := range 4 {
		conn := d.Connect()
		random := rand.New(rand.NewPCG(rand.Uint64(), uint64(10+worker)))
		working.Go(func() {
			for ctx.Err() == nil {
				left, err := workRandomly(conn, random)
				if err != nil {
					t.Error(inFull(err))
					return
				}
				if err := weirtest.TryExec(conn, "select weir.run_workflow_timers(), weir.promote_due()"); err != nil {
					t.Error(inFull(err))
					return
				}
				_ = left
			}
		})
	}
	busy.Wait()
	weirtest.Eventually(t, "all workflows are over", func() bool {
		return weirtest.Value[int](t, d, "select count(*) from weir.workflow where finished_at is null") == 0
	})
	stop()
	working.Wait()
	weirtest.CheckWorkflows(t, d)
}

// Each mistake that the check of workflows must find.
func TestCheckOfWorkflowsCanFail(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, mistake := range []string{
		"update weir.workflow_join set waits_for = waits_for + 1",
		"delete from weir.workflow_join",
		"update weir.workflow set waits_for = waits_for + 1",
		"update weir.workflow set steps = steps + 1",
		"update weir.workflow set state = 'completed', finished_at = now()",
		"update weir.workflow set state = 'failed', finished_at = now()",
		"delete from weir.workflow_wait",
		"update weir.job_held set reason = 'line' where reason = 'dependency'",
		"insert into weir.workflow_event (workflow_id, event, name, detail) select id, 'signal', 'go', '{}' from weir.workflow",
		"update weir.workflow_step set children = '{}' where name = 'a'",
		"update weir.workflow_step set dependencies = 7 where name = 'a'",
		"update weir.job set step = 'x' where step = 'a'",
		"with o as (delete from weir.job_ready returning *) insert into weir.job_outcome (job_id, queue_id, state, attempt) select coalesce(job_id, seq), queue_id, 'completed', 1 from o",
		"update weir.job_held set key = '123456' where reason = 'workflow'",
	} {
		tx := d.Tx()
		submit(t, tx, "", step("a", ""), step("b", ""), step("c", "a,b"), `{"name": "s", "wait_for": {"signal": "go"}}`, `{"name": "sub", "workflow": `+definition("", step("x", ""))+`}`)
		weirtest.CheckWorkflows(t, tx)
		weirtest.Exec(t, tx, mistake)
		if wrong := weirtest.Values[string](t, tx, "select problem from weir.check_workflows()"); len(wrong) == 0 {
			t.Errorf("not found: %s", mistake)
		}
		weirtest.Rollback(t, tx)
	}
}

// inFull returns a database error with its context, such as which session waited for which.
func inFull(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return fmt.Sprintf("%v\n%s\n%s", e, e.Detail, e.Where)
	}
	return fmt.Sprint(err)
}
