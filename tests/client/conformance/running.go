//go:build unix

package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// running is a case that runs.
type running struct {
	workCase
	stage *stage
	queue string
	sorts map[string]sort // of its jobs, by id
}

// sort is what is known of a job.
type sort struct {
	jobs
	n int // its place among the jobs of its sort
}

func (r *running) judge(t *testing.T, err error) {
	t.Helper()
	if r.Says == "" && err != nil {
		t.Error(err)
	}
	if r.Says != "" && (err == nil || !strings.Contains(err.Error(), r.Says)) {
		t.Errorf("the error is %v, want %q", err, r.Says)
	}
}

// begin enqueues what the case has.
func (r *running) begin() error {
	r.sorts = map[string]sort{}
	switch {
	case r.Events != nil:
		return r.watch()
	case r.Workflow != nil:
		return r.submit()
	case r.Schedule != nil:
		definition := r.definition(*r.Schedule, 0)
		_, err := r.ask(map[string]any{"do": "schedule", "name": r.queue, "every_seconds": 1, "job": definition})
		return err
	}
	for _, j := range r.Jobs {
		if err := r.enqueue(j); err != nil {
			return err
		}
	}
	return nil
}

// ask makes a request that must not be refused.
func (r *running) ask(request map[string]any) (any, error) {
	said, err := r.stage.producer.ask(request)
	if err == nil && said.Refused != nil {
		err = fmt.Errorf("%s was refused with %s", request["do"], said.Refused.Code)
	}
	return said.Answer, err
}

// definition is a job as it is enqueued.
func (r *running) definition(j jobs, n int) map[string]any {
	options := maps.Clone(j.Options)
	if options == nil {
		options = map[string]any{}
	}
	options["queue"] = r.queue
	kind := j.Kind
	if kind == "" {
		kind = "script"
	}
	return map[string]any{"kind": kind, "args": map[string]any{"n": n, "do": j.Do}, "options": options}
}

func (r *running) enqueue(j jobs) error {
	j.Count = max(j.Count, 1)
	definitions := make([]any, j.Count)
	for n := range definitions {
		definitions[n] = r.definition(j, n)
	}
	request, err := variables{"queue": r.queue}.fill(map[string]any{"do": "enqueue", "jobs": definitions})
	if err != nil {
		return err
	}
	times := 1
	if j.Again {
		times = 2
	}
	for time := range times {
		answer, err := r.ask(request.(map[string]any))
		if err != nil {
			return err
		}
		done, ok := answer.([]any)
		if !ok || len(done) != j.Count {
			return fmt.Errorf("%d jobs were enqueued, and the answer is %s", j.Count, short(answer))
		}
		for n, one := range done {
			id := fmt.Sprint(one.(map[string]any)["id"])
			if _, known := r.sorts[id]; known != (time > 0) {
				return fmt.Errorf("the job that was enqueued again is %s", id)
			}
			r.sorts[id] = sort{j, n}
		}
	}
	return nil
}

func (r *running) submit() error {
	var steps []any
	for n, s := range r.Workflow {
		step := r.definition(s.jobs, n)
		step["name"], step["after"] = s.Name, append([]string{}, s.After...)
		steps = append(steps, step)
	}
	answer, err := r.ask(map[string]any{"do": "submit", "name": r.queue, "steps": steps})
	if err != nil {
		return err
	}
	var ids map[string]int64
	query := "select jsonb_object_agg(step, id) from weir.jobs where workflow_id = $1::text::bigint"
	if err := r.stage.database.QueryRow(r.stage.t.Context(), query, fmt.Sprint(answer)).Scan(&ids); err != nil {
		return fmt.Errorf("workflow %v: %w", answer, err)
	}
	for n, s := range r.Workflow {
		r.sorts[fmt.Sprint(ids[s.Name])] = sort{s.jobs, n}
	}
	return nil
}

// watch enqueues jobs until their events are told.
func (r *running) watch() error {
	if _, err := r.ask(map[string]any{"do": "watch", "queue": r.queue}); err != nil {
		return err
	}
	for deadline := time.Now().Add(weirtest.Patience); ; time.Sleep(50 * time.Millisecond) {
		if err := r.enqueue(r.Jobs[0]); err != nil {
			return err
		}
		if seen, err := r.seen(); err != nil || len(seen) > 0 {
			return errors.Join(err, r.enqueue(r.Jobs[0]))
		}
		if time.Now().After(deadline) {
			return errors.New("no event came")
		}
	}
}

// seen is what was told so far: a list of [job, event].
func (r *running) seen() ([]any, error) {
	answer, err := r.ask(map[string]any{"do": "seen", "queue": r.queue})
	seen, _ := answer.([]any)
	return seen, err
}

// finish waits for the ends of the case's jobs, and looks at them.
func (r *running) finish() error {
	for id, s := range r.sorts {
		if err := r.meanwhile(id, s); err != nil {
			return err
		}
	}
	if r.Schedule != nil {
		if err := r.fire(); err != nil {
			return err
		}
	}
	rows, err := r.settle()
	if err != nil {
		return err
	}
	for id, s := range r.sorts {
		if err := r.check(id, s, rows[id]); err != nil {
			return fmt.Errorf("job %s: %w", id, err)
		}
	}
	if r.Events != nil {
		return r.told()
	}
	return r.once()
}

// meanwhile sees and cancels jobs that run.
func (r *running) meanwhile(id string, s sort) error {
	if s.Shows == nil && !s.Cancel {
		return nil
	}
	var err error
	for deadline := time.Now().Add(weirtest.Patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		j := r.stage.node.Job(id)
		row, wrong := tree(map[string]any{"state": j.State, "progress": j.Progress})
		if wrong != nil {
			return wrong
		}
		shows := map[string]any{"state": "running"}
		maps.Copy(shows, s.Shows)
		if err = (variables{}).match(shows, lower(row)); err == nil {
			break
		}
	}
	if err == nil && s.Cancel {
		_, err = r.ask(map[string]any{"do": "cancel", "id": id})
	}
	return err
}

// fire waits for a job of the schedule, and deletes that.
func (r *running) fire() error {
	query := "select coalesce(jsonb_agg(id), '[]') from weir.jobs where queue = $1 and state = 'completed'"
	var ids []int64
	for deadline := time.Now().Add(weirtest.Patience); len(ids) == 0; time.Sleep(50 * time.Millisecond) {
		if err := r.stage.database.QueryRow(r.stage.t.Context(), query, r.queue).Scan(&ids); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("it does not fire")
		}
	}
	r.sorts[fmt.Sprint(ids[0])] = sort{*r.Schedule, 0}
	_, err := r.ask(map[string]any{"do": "unschedule", "name": r.queue})
	return err
}

// settle waits until each job has ended or is in the state that the case wants, and returns how they are then.
func (r *running) settle() (map[string]any, error) {
	wanted := make(map[string]any, len(r.sorts))
	for id, s := range r.sorts {
		wanted[id] = s.Ends["state"]
	}
	query := `select count(*) from jsonb_each_text($1) w (id, state) join weir.jobs j on j.id = w.id::bigint and j.queue = $2
		where j.state::text in (w.state, 'completed', 'cancelled', 'dead')`
	for deadline := time.Now().Add(weirtest.Patience); ; time.Sleep(50 * time.Millisecond) {
		var settled int
		err := r.stage.database.QueryRow(r.stage.t.Context(), query, wanted, r.queue).Scan(&settled)
		if err == nil && settled == len(r.sorts) {
			return r.rows()
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d jobs have come to their ends: %w", settled, len(r.sorts), errors.Join(err))
		}
	}
}

// rows are the case's jobs by id, as weir.jobs shows them.
func (r *running) rows() (map[string]any, error) {
	var text []byte
	query := "select jsonb_object_agg(id, to_jsonb(j)) from weir.jobs j where queue = $1"
	if err := r.stage.database.QueryRow(r.stage.t.Context(), query, r.queue).Scan(&text); err != nil {
		return nil, err
	}
	all, err := decode(text)
	if err != nil {
		return nil, err
	}
	return all.(map[string]any), nil
}

// check looks at a job that has settled, and asks the SDK for its result.
func (r *running) check(id string, s sort, row any) error {
	n := json.Number(fmt.Sprint(s.n))
	if err := (variables{"n": n}).match(s.Ends, row); err != nil {
		return err
	}
	state := s.Ends["state"]
	if len(r.sorts) > 20 || state != "completed" && state != "dead" && state != "cancelled" {
		return nil
	}
	said, err := r.stage.producer.ask(map[string]any{"do": "result", "id": id})
	switch {
	case err != nil:
		return err
	case state != "completed" && (said.Refused == nil || said.Refused.Code != state):
		return fmt.Errorf("its producer learns %s of a job that is %s", short(said), state)
	case state == "completed" && said.Refused != nil:
		return fmt.Errorf("its producer learns that it is %s", said.Refused.Code)
	}
	if result, given := s.Ends["result"]; given && state == "completed" {
		return variables{"n": n}.match(result, said.Answer)
	}
	return nil
}

// told looks at the events of the job that was enqueued after the first event had come: those that the case names.
func (r *running) told() error {
	last := slices.MaxFunc(slices.Collect(maps.Keys(r.sorts)), weirtest.CompareIDs)
	var names []any
	for deadline := time.Now().Add(weirtest.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		seen, err := r.seen()
		if err != nil {
			return err
		}
		names = nil
		for _, one := range seen {
			if pair := one.([]any); fmt.Sprint(pair[0]) == last && slices.Contains(r.Events, fmt.Sprint(pair[1])) {
				names = append(names, pair[1])
			}
		}
		if len(names) >= len(r.Events) {
			break
		}
	}
	return variables{}.match(r.Events, names)
}

// once checks how often the handlers ran.
func (r *running) once() error {
	counts := r.stage.runs()
	for id, s := range r.sorts {
		if n := counts[id]; r.Once && n != 1 || n == 0 && s.Kind == "" && s.Ends["state"] == "completed" {
			return fmt.Errorf("its handler ran %d times with job %s", n, id)
		}
	}
	return nil
}

// lower has the names of members as JSON has them here.
func lower(value any) any {
	members, ok := value.(map[string]any)
	if !ok {
		return value
	}
	out := map[string]any{}
	for name, member := range members {
		out[strings.ToLower(name)] = lower(member)
	}
	return out
}
