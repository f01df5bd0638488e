package job

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type difference struct {
	Equal, Coarse, Encrypted bool
	Patch                    []struct {
		Op, Path string
		Value    json.RawMessage
	}
}

func (d *difference) ops() string {
	var ops []string
	for _, o := range d.Patch {
		ops = append(ops, strings.TrimSpace(o.Op+" "+o.Path+" "+string(o.Value)))
	}
	return strings.Join(ops, ", ")
}

type comparedJob struct {
	ID            string
	WaitedSeconds *float64 `json:"waited_seconds"`
	RanSeconds    *float64 `json:"ran_seconds"`
	TotalSeconds  *float64 `json:"total_seconds"`
	Timeline      []struct {
		AfterSeconds *float64 `json:"after_seconds"`
		Event        string
	}
	More bool `json:"more_moments"`
}

type comparison struct {
	A, B         comparedJob
	Same         map[string]json.RawMessage
	Differ       map[string]struct{ A, B json.RawMessage }
	Args, Result *difference
}

func compare(s *weirtest.Node, a, b string) comparison {
	return weirtest.Decode[comparison](s.Get("/v1/jobs/" + a + "/compare/" + b).Want(http.StatusOK))
}

func TestCompareTellsFactsAndLivesApart(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"order": 1, "same": true}, "max_attempts": 1, "metadata": obj{"m": 1}})
	a := s.ClaimOne("q")
	s.Post("/v1/jobs/"+a.ID+"/complete", obj{"token": a.Token, "result": obj{"n": 1}}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"order": 2, "same": true}, "max_attempts": 1, "tags": []string{"x"}})
	b := s.ClaimOne("q")
	s.Post("/v1/jobs/"+b.ID+"/fail", obj{"token": b.Token, "error": obj{"message": "refused", "type": "T"}}).Want(http.StatusOK)
	c := compare(s, a.ID, b.ID)
	if c.A.ID != a.ID || c.B.ID != b.ID || string(c.Same["kind"]) != `"k"` || string(c.Same["max_attempts"]) != "1" {
		t.Errorf("the comparison is %+v", c)
	}
	for name, want := range map[string]string{"state": `"completed" "dead"`, "tags": `[] ["x"]`, "error_type": `null "T"`, "metadata": `{"m":1} {}`} {
		if got := string(c.Differ[name].A) + " " + string(c.Differ[name].B); got != want {
			t.Errorf("%s differs by %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"id", "args", "result", "created_at", "finished_at", "errors"} {
		if _, same := c.Same[name]; same || c.Differ[name].A != nil {
			t.Errorf("%s is a fact", name)
		}
	}
	if c.Args.ops() != "replace /order 2" || c.Result.ops() != "replace  null" || c.Args.Equal || c.Result.Equal {
		t.Errorf("the patches are %s and %s", c.Args.ops(), c.Result.ops())
	}
	for _, j := range []comparedJob{c.A, c.B} {
		if j.WaitedSeconds == nil || j.RanSeconds == nil || j.TotalSeconds == nil || *j.TotalSeconds < *j.RanSeconds || *j.WaitedSeconds < 0 || len(j.Timeline) < 4 || j.More {
			t.Fatalf("a life is %+v", j)
		}
		last := 0.0
		for _, m := range j.Timeline {
			if m.AfterSeconds == nil || *m.AfterSeconds < last {
				t.Errorf("the timeline of %s has %+v", j.ID, j.Timeline)
			} else {
				last = *m.AfterSeconds
			}
		}
	}
	if itself := compare(s, a.ID, a.ID); len(itself.Differ) != 0 || !itself.Args.Equal || !itself.Result.Equal || len(itself.Args.Patch) != 0 {
		t.Errorf("compared with itself it is %+v", itself)
	}
	waiting := s.Enqueue(obj{"kind": "k", "queue": "later"})
	if w := compare(s, waiting, a.ID); w.A.WaitedSeconds != nil || w.A.RanSeconds != nil || w.A.TotalSeconds != nil {
		t.Errorf("the life of a job that waits is %+v", w.A)
	}
}

func TestPatchesOfArgs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	job := func(args string) string { return s.Enqueue(`{"kind": "k", "args": ` + args + `}`) }
	for _, c := range []struct{ a, b, want string }{
		{`{}`, `{}`, ""},
		{`1`, `1.0`, ""},
		{`100`, `1e2`, ""},
		{`1`, `"1"`, `replace  "1"`},
		{`null`, `{}`, "replace  {}"},
		{`[]`, `{}`, "replace  {}"},
		{`{"a": {}}`, `{"a": []}`, "replace /a []"},
		{`{"a": 1, "b": 2}`, `{"b": 3, "c": null}`, "remove /a, replace /b 3, add /c null"},
		{`{"a/b": 1, "m~n": 1, "": 1}`, `{"a/b": 2, "m~n": 2, "": 2}`, "replace / 2, replace /a~1b 2, replace /m~0n 2"},
		{`[1, 2, 3, 4]`, `[1, 3, 4]`, "remove /1"},
		{`[1, 3]`, `[1, 2, 3]`, "add /1 2"},
		{`[1, 2, 3]`, `[]`, "remove /2, remove /1, remove /0"},
		{`[[1]]`, `[[1, 2]]`, "add /0/1 2"},
		{`{"a": [{"b": 1}, 5]}`, `{"a": [{"b": 2}, 5, 6]}`, "replace /a/0/b 2, add /a/2 6"},
	} {
		got := compare(s, job(c.a), job(c.b)).Args
		if got.ops() != c.want || got.Equal != (c.want == "") || got.Coarse {
			t.Errorf("from %s to %s: %s, want %s", c.a, c.b, got.ops(), c.want)
		}
	}
}

func TestPatchesAreBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	numbers := func(from, n int) []int {
		list := make([]int, n)
		for i := range list {
			list[i] = from + i
		}
		return list
	}
	job := func(args any) string { return s.Enqueue(obj{"kind": "k", "args": args}) }
	if d := compare(s, job(numbers(0, 1000)), job(numbers(5000, 1000))).Args; d.Coarse || len(d.Patch) != 1000 {
		t.Errorf("a thousand changes are %d operations", len(d.Patch))
	}
	if d := compare(s, job(numbers(0, 1001)), job(numbers(5000, 1001))).Args; !d.Coarse || len(d.Patch) != 1 || d.Patch[0].Op != "replace" || d.Patch[0].Path != "" {
		t.Errorf("more changes are %d operations", len(d.Patch))
	}
	large := strings.Repeat("x", 70_000)
	if d := compare(s, job(obj{"a": large, "b": 1}), job(obj{"a": large, "b": 2})).Args; !d.Coarse || len(d.Patch) != 1 {
		t.Errorf("large args are %d operations", len(d.Patch))
	}
	if d := compare(s, job(obj{"a": large}), job(obj{"a": large})).Args; !d.Equal {
		t.Error("equal large args differ")
	}
	id := job(1)
	s.Exec("insert into weir.job_event (job_id, kind, attempt) select $1::bigint, 'edited', 0 from generate_series(1, 300)", id)
	if c := compare(s, id, id); len(c.A.Timeline) != 200 || !c.A.More {
		t.Errorf("a long timeline has %d moments", len(c.A.Timeline))
	}
}

func TestCompareIsBoundAsItsCaller(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", obj{"tenant": "a", "queues": []string{"*"}}, "producer", "reader"), s.AsNew("b", obj{"tenant": "b", "queues": []string{"*"}}, "producer", "reader")
	mine, other := a.Enqueue(obj{"kind": "k", "args": obj{"x": "hidden1"}, "metadata": obj{"y": "hidden2"}}), a.Enqueue(obj{"kind": "k", "args": obj{"x": "hidden3"}})
	theirs := b.Enqueue(obj{"kind": "k"})
	for _, pair := range [][2]string{{mine, theirs}, {theirs, mine}, {theirs, theirs}, {mine, "99999"}, {"99999", mine}} {
		a.Get("/v1/jobs/"+pair[0]+"/compare/"+pair[1]).Problem(http.StatusNotFound, "job_not_found")
	}
	a.Get("/v1/jobs/"+mine+"/compare/x").Problem(http.StatusUnprocessableEntity, "invalid_argument")
	compare(a, mine, other)
	redacted := s.AsNew("redacted", obj{"redact": true}, "reader")
	text := string(redacted.Get("/v1/jobs/" + mine + "/compare/" + other).Want(http.StatusOK).Body)
	if strings.Contains(text, "hidden") || strings.Contains(text, "patch") || strings.Contains(text, "metadata") || !strings.Contains(text, `"kind":"k"`) {
		t.Errorf("a redacted key sees %s", text)
	}
	s.AsNew("worker", nil, "worker").Get("/v1/jobs/"+mine+"/compare/"+other).Problem(http.StatusForbidden, "forbidden")
}

func TestCompareOverCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	done, waiting := s.EndedJob("q", "complete", obj{"result": 7}), s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"x": 1}})
	s.CLI("job", "compare", done, waiting).Says(0, "JOB "+done, "JOB "+waiting, "state", `"completed"`, `"available"`, `add "/x" 1`, "equal:", "started attempt 1")
	s.CLI("job", "compare", done, "99999").Says(1, "no job")
	if out := s.CLI("job", "compare", done, waiting, "--json").Says(0).Stdout; !json.Valid([]byte(out)) {
		t.Error(fmt.Sprint("it prints ", out))
	}
}

func TestCompareOverSQL(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	first := s.EndedJob("q", "fail", obj{"retry": false, "error": obj{"message": "m", "type": "T"}})
	second := s.EndedJob("q", "complete", obj{"result": obj{"rows": 3}})
	s.Exec(`update weir.job set args = '{"a": 1, "b": {"c/d": [1, 2]}, "same": true}' where id = $1::bigint`, first)
	s.Exec(`update weir.job set args = '{"a": 2, "b": {"c/d": [1, 3, 4]}, "same": true}', priority = 7 where id = $1::bigint`, second)
	got := weirtest.Value[string](t, s.DB, `select string_agg(format('%s %s>%s', field, a, b), ', ' order by field) from weir.compare($1::text::bigint, $2::text::bigint)
		where field not like '%seconds'`, first, second)
	if want := `args/a 1>2, args/b/c~1d/1 2>3, args/b/c~1d/2 >4, error {"type": "T", "message": "m"}>, priority 5>7, result null>, result/rows >3, state "dead">"completed"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := weirtest.Value[int](t, s.DB, "select count(*) from weir.compare($1::text::bigint, $1::text::bigint)", first); n != 0 {
		t.Errorf("a job differs from itself in %d facts", n)
	}
	if n := weirtest.Value[int](t, s.DB, "select count(*) from weir.compare($1::text::bigint, $2::text::bigint) where field in ('waited_seconds', 'ran_seconds', 'total_seconds')", first, second); n != 3 {
		t.Errorf("%d of the times differ", n)
	}
	for _, ids := range []string{"1, 99999", "99999, 1"} {
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.compare("+ids+")"), "WR002")
	}
}
