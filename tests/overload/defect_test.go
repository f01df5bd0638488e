package overload

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// wrap puts a function around one of the SQL contract that returns only a part of its rows. The function that it returns takes it away.
func wrap(s *weirtest.Node, function, part string) (unwrap func()) {
	s.T.Helper()
	s.Exec("create schema whole")
	move := func(from, to string) string {
		return fmt.Sprintf(`execute format('alter function %s.%s(%%s) set schema %s', pg_get_function_identity_arguments(f.oid));`, from, function, to)
	}
	inSchema := func(schema, do string) {
		s.Exec(fmt.Sprintf(`do $do$ declare f pg_proc := (select p from pg_proc p where pronamespace = '%s'::regnamespace and proname = '%s'); begin %s end $do$`,
			schema, function, do))
	}
	inSchema("weir", move("weir", "whole")+fmt.Sprintf(`
		execute format('create function weir.%[1]s(%%s) returns %%s language sql as $f$ select * from whole.%[1]s(%%s) %[2]s $f$',
			pg_get_function_arguments(f.oid), pg_get_function_result(f.oid), (select string_agg('$' || i, ', ') from generate_series(1, f.pronargs) i));`, function, part))
	return func() {
		s.T.Helper()
		inSchema("weir", "execute format('drop function %s', f.oid::regprocedure);")
		inSchema("whole", move("whole", "weir"))
	}
}

// TestAWrongAnswerOfTheDatabaseIsAnErrorAndNotTheEnd has the database return fewer results than jobs were enqueued.
func TestAWrongAnswerOfTheDatabaseIsAnErrorAndNotTheEnd(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
	unwrap := wrap(s, "enqueue_batch", "offset 1000")
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", `{"kind": "k", "queue": "q"}`); err != nil || r.Status != http.StatusInternalServerError {
				t.Errorf("enqueued one: %v, %v", r, err)
			}
			if r, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}]}`); err != nil || r.Status != http.StatusInternalServerError {
				t.Errorf("enqueued two: %v, %v", r, err)
			}
		})
	}
	callers.Wait()
	unwrap()
	if n := s.Count("select count(*) from weir.job"); n != 61 {
		t.Errorf("there are %d jobs, want 61: what was committed must not be done again", n)
	}
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
	if !strings.Contains(s.Log.String(), "returned 0 results") {
		t.Error("the log does not say what was wrong")
	}
}
