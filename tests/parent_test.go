package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestAJobBelongsToAParentThatIsThere(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	parent := enqueueOne(t, d, "q")
	for _, given := range []string{`%d`, `"%d"`} {
		child := enqueue(t, d, `{"kind": "part", "queue": "q", "parent_id": `+fmt.Sprintf(given, parent)+`}`)[0]
		if got := ask[int64](t, d, "select parent_id from weir.jobs where id = $1", child); got != parent {
			t.Errorf("the parent given as %s is %d, want %d", given, got, parent)
		}
	}
	// One that the same transaction has just enqueued will do, and a grandchild.
	tx := d.begin()
	child := ask[int64](t, tx, `select weir.enqueue('part', options => jsonb_build_object('parent_id', weir.enqueue('whole')))`)
	do(t, tx, `select weir.enqueue('part', options => jsonb_build_object('parent_id', $1::bigint))`, child)
	commit(t, tx)
	// One that has ended, too.
	complete(t, d, claimOne(t, d, "q"))
	enqueue(t, d, fmt.Sprintf(`{"kind": "part", "parent_id": %d}`, parent))

	for _, bad := range []string{`0`, `"0"`, `-1`, `1.5`, `99999`, `"99999999999999999999"`, `1e30`, `"x"`, `""`, `true`, `[1]`, `{}`} {
		d.unchanged("parent "+bad, func() {
			refusal := refused(t, try(d, "select weir.enqueue_many($1)", `[{"kind": "a"}, {"kind": "b", "parent_id": `+bad+`}]`), "WR010")
			if refusal.ColumnName != "jobs[1].parent_id" {
				t.Errorf("parent %s: the place is %q", bad, refusal.ColumnName)
			}
		})
	}
	if none := ask[bool](t, d, "select parent_id is null from weir.jobs where id = $1", enqueue(t, d, `{"kind": "a", "parent_id": null}`)[0]); !none {
		t.Error("null is taken for a parent")
	}
}

func TestRESTAJobListsItsChildren(t *testing.T) {
	t.Parallel()
	s := startService(t)
	parent, other := s.enqueue(`{"kind": "whole"}`), s.enqueue(`{"kind": "whole"}`)
	var want []string
	for i := range 7 {
		child := readAs[struct {
			ID     string
			Parent string `json:"parent_id"`
		}](s.post("/v1/jobs", obj{"kind": "part", "parent_id": parent, "priority": 1 + i}).want(http.StatusCreated))
		if child.Parent != parent {
			t.Errorf("it is answered with the parent %q", child.Parent)
		}
		want = append(want, child.ID)
	}
	want = append(want, s.enqueueAll([]obj{{"kind": "part", "parent_id": parent}, {"kind": "part", "parent_id": other}})[0])
	slices.Reverse(want)
	for _, path := range []string{"/v1/jobs/" + parent + "/children?limit=%d&cursor=%s", "/v1/jobs?parent_id=" + parent + "&limit=%d&cursor=%s"} {
		for _, limit := range []int{3, 8, 100} {
			var got []string
			cursor := ""
			for {
				page := readAs[servedPage[servedJob]](s.get(fmt.Sprintf(path, limit, cursor)).want(http.StatusOK))
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
	if page := readAs[servedPage[servedJob]](s.get("/v1/jobs?parent_id=" + parent + "&priority=7").want(http.StatusOK)); len(page.Items) != 1 || page.Items[0].Priority != 7 {
		t.Errorf("with another filter: %+v", page)
	}
	if page := readAs[servedPage[servedJob]](s.get("/v1/jobs/" + want[0] + "/children").want(http.StatusOK)); page.Items == nil || len(page.Items) != 0 {
		t.Errorf("of a job without children: %+v", page)
	}
	s.get("/v1/jobs/99999/children").problem(http.StatusNotFound, "job_not_found")
	s.get("/v1/jobs?parent_id=x").problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.get("/v1/jobs?parent_id=0").problem(http.StatusUnprocessableEntity, "invalid_argument")
	for path, body := range map[string]obj{"/v1/jobs": {"kind": "k", "parent_id": "99999"}, "/v1/jobs/batch": {"jobs": []obj{{"kind": "k", "parent_id": "99999"}}}} {
		p := s.post(path, body).problem(http.StatusUnprocessableEntity, "invalid_argument")
		if place := map[string]string{"/v1/jobs": "body.parent_id", "/v1/jobs/batch": "body.jobs[0].parent_id"}[path]; len(p.Errors) != 1 || p.Errors[0].Location != place {
			t.Errorf("%s: the place is %+v", path, p.Errors)
		}
	}
	s.post("/v1/jobs", `{"kind": "k", "parent_id": "0"}`).problem(http.StatusUnprocessableEntity, "invalid_argument")
	if n := s.count(`select count(*) from weir.job`); n != 11 {
		t.Errorf("%d jobs are stored, want 11", n)
	}
}

// Reading the children of one job must not cost a look at all jobs.
func TestChildrenAreFoundByTheirIndex(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.enqueue_many((select jsonb_agg('{\"kind\": \"a\"}'::jsonb) from generate_series(1, 5000)))")
	parent := enqueueOne(t, d, "q")
	enqueue(t, d, fmt.Sprintf(`{"kind": "part", "parent_id": %d}`, parent))
	do(t, d, "analyze weir.job")
	plan := askAll[string](t, d, "explain select id from weir.job where parent_id = "+fmt.Sprint(parent)+" and id < 1000000 order by id desc limit 50")
	if !slices.ContainsFunc(plan, func(line string) bool { return strings.Contains(line, "Index") && strings.Contains(line, "parent_id") }) {
		t.Errorf("the plan is\n%v", plan)
	}
}
