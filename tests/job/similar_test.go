package job

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type similarJobs struct {
	Items []struct {
		ID, Kind, State string
		ErrorType       string `json:"error_type"`
		Score           float64
		Reasons         []struct {
			Code, Message string
			Score         float64
		}
	}
	LookedAt int `json:"looked_at"`
	Cut      bool
}

func (s similarJobs) ids() string {
	var ids []string
	for _, j := range s.Items {
		ids = append(ids, j.ID)
	}
	return strings.Join(ids, " ")
}

func (s similarJobs) codes(i int) string {
	var codes []string
	for _, r := range s.Items[i].Reasons {
		codes = append(codes, r.Code)
	}
	return strings.Join(codes, " ")
}

func similar(s *weirtest.Node, id, query string) similarJobs {
	return weirtest.Decode[similarJobs](s.Get("/v1/jobs/" + id + "/similar" + query).Want(http.StatusOK))
}

func TestSimilarScoresArgsErrorsAndTimes(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "args": obj{"a": 1, "b": 2}})
	half := s.Enqueue(obj{"kind": "k", "args": obj{"a": 1, "b": 3}})
	none := s.Enqueue(obj{"kind": "k", "args": []int{1}, "queue": "other"})
	equal := s.Enqueue(obj{"kind": "k", "args": obj{"b": 2.0, "a": 1}})
	s.Enqueue(obj{"kind": "other", "args": obj{"a": 1, "b": 2}})
	got := similar(s, id, "")
	if got.ids() != strings.Join([]string{equal, half, none}, " ") || got.LookedAt != 4 || got.Cut {
		t.Fatalf("similar are %+v", got)
	}
	if got.codes(0) != "args_equal no_error near_in_time" || got.codes(1) != "args_similar no_error near_in_time" || got.codes(2) != "no_error near_in_time" {
		t.Errorf("the reasons are %+v", got)
	}
	if got.Items[0].Score < 0.999 || got.Items[1].Score < 0.69 || got.Items[1].Score > 0.7 || got.Items[1].Reasons[0].Score != 0.5 || got.Items[2].Score > 0.4 {
		t.Errorf("the scores are %+v", got)
	}
	if first := similar(s, id, "?limit=1"); first.ids() != equal {
		t.Errorf("the first is %s", first.ids())
	}
	s.Exec("update weir.job set created_at = created_at - interval '9 hours' where id = $1::bigint", equal)
	if late := similar(s, id, "?limit=1"); late.ids() != equal || late.Items[0].Score > 0.87 || late.codes(0) != "args_equal no_error" {
		t.Errorf("nine hours apart it is %+v", late)
	}
	for _, query := range []string{"?limit=0", "?limit=101", "?limit=x", "?other=1"} {
		s.Get("/v1/jobs/"+id+"/similar"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.Get("/v1/jobs/99999/similar").Problem(http.StatusNotFound, "job_not_found")
}

func TestSimilarTellsErrorsApart(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	dead := func(class string) string {
		return s.EndedJob("q", "fail", obj{"retry": false, "error": obj{"message": "m", "type": class}})
	}
	id, same, other := dead("T"), dead("T"), dead("U")
	done := s.EndedJob("q", "complete", obj{})
	got := similar(s, id, "")
	if got.Items[0].ID != same || got.codes(0) != "args_equal same_error near_in_time" || got.Items[0].ErrorType != "T" || got.Items[1].Score > 0.76 || len(got.Items) != 3 {
		t.Errorf("similar to %s are %+v, want %s before %s and %s", id, got, same, other, done)
	}
}

func TestSimilarLooksAtABoundedNumber(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec(`select count(*) from weir.enqueue_many((select jsonb_agg('{"kind": "k", "queue": "q"}'::jsonb) from generate_series(1, 8000)))`)
	id := weirtest.Value[string](t, s.DB, "select (min(id) + 4000)::text from weir.job")
	if got := similar(s, id, "?limit=100"); len(got.Items) != 100 || !got.Cut || got.LookedAt > 9000 || got.LookedAt < 6000 {
		t.Errorf("it looked at %d jobs, and cut is %v", got.LookedAt, got.Cut)
	}
	large := s.Enqueue(obj{"kind": "large", "args": obj{"x": strings.Repeat("xyz", 10_000), "n": 1}})
	s.Enqueue(obj{"kind": "large", "args": obj{"x": strings.Repeat("xyz", 10_000), "n": 1}})
	s.Enqueue(obj{"kind": "large", "args": obj{"x": strings.Repeat("xyz", 10_000), "n": 2}})
	if got := similar(s, large, ""); len(got.Items) != 2 || got.codes(0) != "args_equal no_error near_in_time" {
		t.Errorf("of large args it says %+v", got)
	}
}

func TestSimilarIsBoundAsItsCaller(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", obj{"tenant": "a", "queues": []string{"*"}}, "producer", "reader"), s.AsNew("b", obj{"tenant": "b", "queues": []string{"*"}}, "producer", "reader")
	mine, second := a.Enqueue(obj{"kind": "k", "args": obj{"x": "hidden", "y": 1}}), a.Enqueue(obj{"kind": "k", "args": obj{"x": "hidden", "y": 2}})
	theirs := b.Enqueue(obj{"kind": "k", "args": obj{"x": "hidden"}})
	if got := similar(a, mine, ""); got.ids() != second || got.codes(0) != "args_similar no_error near_in_time" {
		t.Errorf("a tenant sees %+v", got)
	}
	a.Get("/v1/jobs/"+theirs+"/similar").Problem(http.StatusNotFound, "job_not_found")
	redacted := similar(s.AsNew("redacted", obj{"redact": true, "tenant": "a"}, "reader"), mine, "")
	if redacted.ids() != second || redacted.codes(0) != "no_error near_in_time" || redacted.Items[0].Reasons[0].Message == "" {
		t.Errorf("a redacted key sees %+v", redacted)
	}
	own := s.AsNew("own", nil, "producer")
	only := own.Enqueue(obj{"kind": "k"})
	if got := similar(own, only, ""); len(got.Items) != 0 {
		t.Errorf("a producer sees %+v", got)
	}
}

func TestSimilarOverCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k"})
	s.CLI("job", "similar", id).Says(0, "No similar job")
	other := s.Enqueue(obj{"kind": "k"})
	s.CLI("job", "similar", id).Says(0, other, "the args are equal", "available")
	s.CLI("job", "similar", "99999").Says(1, "no job")
}

// SQL scores as REST does.
func TestSimilarOverSQL(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "args": obj{"a": 1, "b": 2, "c": obj{"d": 3}}})
	for _, args := range []any{obj{"a": 1, "b": 3}, []int{1}, obj{"b": 2.0, "a": 1, "c": obj{"d": 3}}, obj{"c": obj{"d": 3}}, obj{}, 7} {
		s.Enqueue(obj{"kind": "k", "args": args})
	}
	far := s.Enqueue(obj{"kind": "k", "args": obj{"a": 1}})
	s.Exec("update weir.job set created_at = created_at - interval '9 hours' where id = $1::bigint", far)
	failed := s.EndedJob("q", "fail", obj{"retry": false, "error": obj{"message": "m", "type": "T"}})
	s.EndedJob("q", "fail", obj{"retry": false, "error": obj{"message": "m", "type": "T"}})
	s.EndedJob("q", "fail", obj{"retry": false, "error": obj{"message": "m"}})
	for _, of := range []string{id, failed} {
		var rest []string
		for _, j := range similar(s, of, "?limit=100").Items {
			rest = append(rest, fmt.Sprint(j.ID, " ", j.Score))
		}
		sql := weirtest.Values[string](t, s.DB, "select id || ' ' || score from weir.similar_jobs($1::text::bigint, 100)", of)
		if !slices.Equal(rest, sql) || len(sql) < 8 {
			t.Errorf("of %s REST says %q, SQL %q", of, rest, sql)
		}
	}
	if got := weirtest.Value[string](t, s.DB, "select array_to_string(reasons, '; ') from weir.similar_jobs($1::text::bigint, 1)", failed); !strings.HasPrefix(got, `the args are equal; both failed with "T"; they were enqueued 0.`) {
		t.Errorf("the reasons are %q", got)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.similar_jobs(99999)"), "WR002")
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.similar_jobs(1, 101)"), "WR010")
}
