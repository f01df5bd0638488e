package job

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestParentMustExist(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	parent := weirtest.EnqueueOne(t, d, "q")
	for _, given := range []string{`%d`, `"%d"`} {
		child := weirtest.Enqueue(t, d, `{"kind": "part", "queue": "q", "parent_id": `+fmt.Sprintf(given, parent)+`}`)[0]
		if got := weirtest.Value[int64](t, d, "select parent_id from weir.jobs where id = $1", child); got != parent {
			t.Errorf("the parent given as %s is %d, want %d", given, got, parent)
		}
	}
	// A parent may come from the same transaction, and may itself have a parent.
	tx := d.Tx()
	child := weirtest.Value[int64](t, tx, `select weir.enqueue('part', options => jsonb_build_object('parent_id', weir.enqueue('whole')))`)
	weirtest.Exec(t, tx, `select weir.enqueue('part', options => jsonb_build_object('parent_id', $1::bigint))`, child)
	weirtest.Commit(t, tx)
	// A parent may have ended, too.
	weirtest.Complete(t, d, weirtest.ClaimOne(t, d, "q"))
	weirtest.Enqueue(t, d, fmt.Sprintf(`{"kind": "part", "parent_id": %d}`, parent))

	for _, bad := range []string{`0`, `"0"`, `-1`, `1.5`, `99999`, `"99999999999999999999"`, `1e30`, `"x"`, `""`, `true`, `[1]`, `{}`} {
		d.Unchanged("parent "+bad, func() {
			refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.enqueue_many($1)", `[{"kind": "a"}, {"kind": "b", "parent_id": `+bad+`}]`), "WR010")
			if refusal.ColumnName != "jobs[1].parent_id" {
				t.Errorf("parent %s: the place is %q", bad, refusal.ColumnName)
			}
		})
	}
	if none := weirtest.Value[bool](t, d, "select parent_id is null from weir.jobs where id = $1", weirtest.Enqueue(t, d, `{"kind": "a", "parent_id": null}`)[0]); !none {
		t.Error("null is taken for a parent")
	}
}

func TestJobListsItsChildren(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	parent, other := s.Enqueue(`{"kind": "whole"}`), s.Enqueue(`{"kind": "whole"}`)
	var want []string
	for i := range 7 {
		child := weirtest.Decode[struct {
			ID     string
			Parent string `json:"parent_id"`
		}](s.Post("/v1/jobs", obj{"kind": "part", "parent_id": parent, "priority": 1 + i}).Want(http.StatusCreated))
		if child.Parent != parent {
			t.Errorf("it is answered with the parent %q", child.Parent)
		}
		want = append(want, child.ID)
	}
	want = append(want, s.EnqueueAll([]obj{{"kind": "part", "parent_id": parent}, {"kind": "part", "parent_id": other}})[0])
	slices.Reverse(want)
	for _, path := range []string{"/v1/jobs/" + parent + "/children?limit=%d&cursor=%s", "/v1/jobs?parent_id=" + parent + "&limit=%d&cursor=%s"} {
		for _, limit := range []int{3, 8, 100} {
			var got []string
			cursor := ""
			for {
				page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get(fmt.Sprintf(path, limit, cursor)).Want(http.StatusOK))
				for _, j := range page.Items {
					got = append(got, j.ID)
				}
				if len(page.Items) > limit || page.NextCursor == nil {
					break
				}
				cursor = *page.NextCursor
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d at a time: %v, want %v", path, limit, got, want)
			}
		}
	}
	if page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?parent_id=" + parent + "&priority=7").Want(http.StatusOK)); len(page.Items) != 1 || page.Items[0].Priority != 7 {
		t.Errorf("with another filter: %+v", page)
	}
	if page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs/" + want[0] + "/children").Want(http.StatusOK)); page.Items == nil || len(page.Items) != 0 {
		t.Errorf("of a job without children: %+v", page)
	}
	s.Get("/v1/jobs/99999/children").Problem(http.StatusNotFound, "job_not_found")
	s.Get("/v1/jobs?parent_id=x").Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Get("/v1/jobs?parent_id=0").Problem(http.StatusUnprocessableEntity, "invalid_argument")
	for path, body := range map[string]obj{"/v1/jobs": {"kind": "k", "parent_id": "99999"}, "/v1/jobs/batch": {"jobs": []obj{{"kind": "k", "parent_id": "99999"}}}} {
		p := s.Post(path, body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if place := map[string]string{"/v1/jobs": "body.parent_id", "/v1/jobs/batch": "body.jobs[0].parent_id"}[path]; len(p.Errors) != 1 || p.Errors[0].Location != place {
			t.Errorf("%s: the place is %+v", path, p.Errors)
		}
	}
	s.Post("/v1/jobs", `{"kind": "k", "parent_id": "0"}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if n := s.Count(`select count(*) from weir.job`); n != 11 {
		t.Errorf("%d jobs are stored, want 11", n)
	}
}

// Listing the children of a job must not read all jobs.
func TestChildrenAreFoundByIndex(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue_many((select jsonb_agg('{\"kind\": \"a\"}'::jsonb) from generate_series(1, 5000)))")
	parent := weirtest.EnqueueOne(t, d, "q")
	weirtest.Enqueue(t, d, fmt.Sprintf(`{"kind": "part", "parent_id": %d}`, parent))
	weirtest.Exec(t, d, "analyze weir.job")
	plan := weirtest.Values[string](t, d, "explain select id from weir.job where parent_id = "+fmt.Sprint(parent)+" and id < 1000000 order by id desc limit 50")
	if !slices.ContainsFunc(plan, func(line string) bool { return strings.Contains(line, "Index") && strings.Contains(line, "parent_id") }) {
		t.Errorf("the plan is\n%v", plan)
	}
}
