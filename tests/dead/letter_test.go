package dead

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// die enqueues a job and lets it die.
func die(t *testing.T, d *weirtest.Database, job string) int64 {
	t.Helper()
	id := weirtest.Enqueue(t, d, job)[0]
	weirtest.Exec(t, d, `select weir.fail(c.job_id, c.token, '{"message": "no", "type": "T", "stack": "s"}', retry => false)
		from weir.queue q, weir.claim(array[q.name], 'worker', 100) c where q.id = (select queue_id from weir.jobs where id = $1)`, id)
	return id
}

// The service before this one never moved a job to the dead letters.
func TestJobOutOfAttemptsIsDeadLetter(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	failed := s.Enqueue(`{"kind": "k", "queue": "failed", "max_attempts": 2, "retry": {"strategy": "fixed", "base_seconds": 0}}`)
	for range 2 {
		j := s.ClaimOne("failed")
		s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}}).Want(http.StatusOK)
	}
	hopeless := s.Enqueue(`{"kind": "k", "queue": "hopeless"}`)
	s.Post("/v1/jobs/"+hopeless+"/fail", obj{"token": s.ClaimOne("hopeless").Token, "retry": false, "error": obj{"message": "no"}}).Want(http.StatusOK)
	lost := s.Enqueue(`{"kind": "k", "queue": "lost", "max_attempts": 1}`)
	s.Post("/v1/claims", `{"worker": "dies", "queues": ["lost"], "lease_seconds": 1, "wait_seconds": 20}`).Want(http.StatusOK)
	slow := s.Enqueue(`{"kind": "k", "queue": "slow", "max_attempts": 1, "timeout_seconds": 1}`)
	s.ClaimOne("slow")
	want := []string{failed, hopeless, lost, slow}
	s.Eventually("all are dead letters", func() bool {
		var got []string
		for _, letter := range weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/dead").Want(http.StatusOK)).Items {
			got = append(got, letter.ID)
		}
		slices.SortFunc(got, weirtest.CompareIDs)
		return slices.Equal(got, want)
	})
	for _, id := range want {
		if j := s.Job(id); j.State != "dead" || len(j.Errors) == 0 || s.Queue(j.Queue).Dead != 1 {
			t.Errorf("the dead letter is %+v", j)
		}
		s.Post("/v1/dead/"+id+"/redrive", nil).Want(http.StatusOK)
		if j := s.ClaimOne(s.Job(id).Queue); j.ID != id {
			t.Errorf("claimed job %s, want the redriven %s", j.ID, id)
		}
	}
}

func TestDeadLetterHasItsHistory(t *testing.T) {
	t.Parallel()
	t.Run("SQL", deadLetterHasItsHistorySQL)
	t.Run("REST", deadLetterHasItsHistoryREST)
}

func deadLetterHasItsHistorySQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := die(t, d, `{"kind": "a", "queue": "q", "args": {"n": 1}, "tenant": "acme", "tags": ["x"]}`)
	got := weirtest.Value[string](t, d, `select concat_ws(' ', job_id = $1, queue, kind, tenant, tags, attempt, error_type, error_message, worker, args, redrives, kept_until - died_at) from weir.dead_letters`, id)
	if want := `t q a acme {x} 1 T no worker {"n": 1} 0 30 days`; got != want && got != strings.Replace(want, "30 days", "720:00:00", 1) {
		t.Errorf("the letter is\n%s\nwant\n%s", got, want)
	}
}

func deadLetterHasItsHistoryREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"n": 1}, "tags": []string{"x"}, "metadata": obj{"m": 1}, "max_attempts": 2})
	for attempt := range 2 {
		j := s.ClaimOne("q")
		s.Post("/v1/jobs/"+id+"/fail", obj{"token": j.Token, "retry_in_seconds": 0, "error": obj{"message": fmt.Sprint("no ", attempt), "type": "T"}}).Want(http.StatusOK)
	}
	l := weirtest.Decode[weirtest.DeadLetter](s.Get("/v1/dead/" + id).Want(http.StatusOK))
	if l.ID != id || l.State != "dead" || l.Attempt != 2 || len(l.Errors) != 2 || l.Errors[0].Message != "no 0" || string(l.Args) != `{"n":1}` && string(l.Args) != `{"n": 1}` || l.DiedAt.IsZero() || l.Redrives != 0 {
		t.Errorf("the letter is %+v", l)
	}
	var events []string
	for _, m := range l.Timeline {
		events = append(events, m.Event)
	}
	if want := []string{"enqueued", "available", "started", "failed", "available", "started", "failed", "dead"}; !slices.Equal(events, want) {
		t.Errorf("its timeline is %q, want %q", events, want)
	}
	alive := s.Enqueue(obj{"kind": "k"})
	for _, other := range []string{alive, "123456", "9223372036854775807"} {
		s.Get("/v1/dead/"+other).Problem(http.StatusNotFound, "dead_letter_not_found")
	}
	s.Get("/v1/dead/x").Problem(http.StatusUnprocessableEntity, "invalid_argument")
}

func TestDeadLettersAreListed(t *testing.T) {
	t.Parallel()
	t.Run("REST", deadLettersAreListedREST)
	t.Run("CLI", deadLettersAreListedCLI)
}

func deadLettersAreListedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var want []string
	for _, queue := range []string{"q", "r", "q", "q", "r"} {
		want = append([]string{s.Kill(obj{"kind": "k", "queue": queue})}, want...)
	}
	s.Exec("update weir.job_dead set died_at = now() where queue_id = (select id from weir.queue where name = 'q')") // at the same time, and last
	want = []string{want[1], want[2], want[4], want[0], want[3]}
	var got []string
	for path := "/v1/dead?limit=2"; ; {
		page := weirtest.Decode[weirtest.Page[weirtest.DeadLetter]](s.Get(path).Want(http.StatusOK))
		for _, l := range page.Items {
			got = append(got, l.ID)
		}
		if page.NextCursor == nil {
			break
		}
		path = "/v1/dead?limit=2&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the list is %v, want %v", got, want)
	}
	for _, cursor := range []string{"nonsense", "am9iczox", "ZGVhZDp4LDE"} {
		s.Get("/v1/dead?cursor="+cursor).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func deadLettersAreListedCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("dead").Says(0, "no such dead letters")
	first := s.Kill(obj{"kind": "mail", "queue": "q", "tags": []string{"x"}})
	second := s.Kill(obj{"kind": "other", "queue": "q"})
	all := s.CLI("dead", "list").Says(0, "JOB", "ERROR", "mail", "other", "no "+first, "1 of 5").Stdout
	if strings.Index(all, second) > strings.Index(all, "mail") {
		t.Errorf("the last that died is not first:\n%s", all)
	}
	for _, filter := range [][]string{{"--kind", "mail"}, {"--tag", "x"}, {"--text", "NO " + first}, {"--queue=q", "--kind=mail", "--error-type=T", "--min-attempts=1", "--died-after=2020-01-01T00:00:00Z"}} {
		var page weirtest.Page[weirtest.DeadLetter]
		r := s.CLI(append([]string{"dead", "list", "--json"}, filter...)...).Says(0)
		if err := json.Unmarshal([]byte(r.Stdout), &page); err != nil || len(page.Items) != 1 || page.Items[0].ID != first {
			t.Errorf("%v gives %s", filter, r.Stdout)
		}
	}
	s.CLI("dead", "list", "--limit", "1").Says(0, "There are more")
	s.CLI("dead", "show", first).Says(0, "mail", "dead", "no "+first, "enqueued", "failed", "worker")
	var letter weirtest.DeadLetter
	if err := json.Unmarshal([]byte(s.CLI("dead", "show", first, "--json").Says(0).Stdout), &letter); err != nil || letter.ID != first || len(letter.Timeline) == 0 {
		t.Errorf("--json shows %+v, %v", letter, err)
	}
	s.CLI("dead", "show", "4711").Says(1, "there is no dead letter 4711")
	s.CLI("dead", "list", "--limit", "0").Says(2, "--limit")
	s.CLI("dead", "list", "--died-after", "soon").Says(2, "soon")
}

func TestEachFilterSelectsItsDeadLetters(t *testing.T) {
	t.Parallel()
	t.Run("SQL", eachFilterSelectsItsDeadLettersSQL)
	t.Run("REST", eachFilterSelectsItsDeadLettersREST)
}

func eachFilterSelectsItsDeadLettersSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, job := range []string{
		`{"kind": "k1", "queue": "q", "tenant": "t1", "tags": ["a"], "args": "Needle"}`, `{"kind": "k2", "queue": "q", "tenant": "t2", "tags": ["a", "b"]}`, `{"kind": "k2", "queue": "r"}`,
	} {
		die(t, d, job)
	}
	weirtest.Exec(t, d, "update weir.job_dead set died_at = make_timestamptz(2020, 1, 1 + (job_id % 3)::int, 0, 0, 0, 'UTC')")
	times := weirtest.Values[time.Time](t, d, "select died_at from weir.job_dead order by 1")
	for filter, want := range map[string]int{
		`{}`: 3, `{"queue": "q"}`: 2, `{"queue": "none"}`: 0, `{"kind": "k2"}`: 2, `{"kind": "k2", "queue": "q"}`: 1, `{"tenant": "t1"}`: 1, `{"tag": "a"}`: 2, `{"tag": "b"}`: 1, `{"error_type": "T"}`: 3,
		`{"error_type": "U"}`: 0, `{"q": "needle"}`: 1, `{"q": "K2"}`: 2, `{"min_attempts": 1}`: 3, `{"min_attempts": 2}`: 0, `{"queue": null, "kind": null}`: 3,
		`{"died_after": "` + times[1].Format(time.RFC3339Nano) + `"}`: 2, `{"died_before": "` + times[1].Format(time.RFC3339Nano) + `"}`: 1,
	} {
		if n := weirtest.Value[int](t, d, "select weir.count_dead($1)", filter); n != want {
			t.Errorf("%s: %d letters, want %d", filter, n, want)
		}
	}
	for filter, field := range map[string]string{
		`[]`: "filter", `null`: "filter", `{"state": "dead"}`: "filter.state", `{"kind": 5}`: "filter.kind", `{"kind": ""}`: "filter.kind", `{"min_attempts": 0}`: "filter.min_attempts", `{"died_after": "soon"}`: "filter.died_after",
	} {
		for _, call := range []string{"count_dead($1)", "start_operation('purge_dead', $1)"} {
			d.Unchanged(call+filter, func() {
				if r := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, filter), "WR010"); r.ColumnName != field {
					t.Errorf("%s of %s: the place is %q, want %q", call, filter, r.ColumnName, field)
				}
			})
		}
	}
}

func eachFilterSelectsItsDeadLettersREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	one := s.Kill(obj{"kind": "k1", "queue": "q", "tenant": "t", "tags": []string{"a", "b"}, "args": "Needle"})
	two := s.Kill(obj{"kind": "k2", "queue": "r", "tags": []string{"a"}})
	died := weirtest.Decode[weirtest.DeadLetter](s.Get("/v1/dead/" + two)).DiedAt.Format(time.RFC3339Nano)
	for query, want := range map[string][]string{
		"": {two, one}, "queue=q": {one}, "queue=none": nil, "kind=k2": {two}, "tenant=t": {one}, "tag=a": {two, one}, "tag=b": {one}, "error_type=T": {two, one}, "error_type=U": nil,
		"q=needle": {one}, "q=NO%20" + two: {two}, "min_attempts=1": {two, one}, "min_attempts=2": nil, "died_after=" + died: {two}, "died_before=" + died: {one}, "queue=q&kind=k2": nil,
	} {
		var got []string
		for _, l := range weirtest.Decode[weirtest.Page[weirtest.DeadLetter]](s.Get("/v1/dead?" + query).Want(http.StatusOK)).Items {
			got = append(got, l.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q gives %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"kinds=x", "min_attempts=0", "died_after=soon", "queue=", "limit=0"} {
		s.Get("/v1/dead?"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func TestOldDeadLettersArePurged(t *testing.T) {
	t.Parallel()
	t.Run("SQL", oldDeadLettersArePurgedSQL)
	t.Run("REST", oldDeadLettersArePurgedREST)
}

func oldDeadLettersArePurgedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('short', '{"dead_retention_seconds": 3600}')`)
	for range 5 {
		die(t, d, `{"kind": "a", "queue": "short"}`)
		die(t, d, `{"kind": "a", "queue": "long"}`)
	}
	if n := weirtest.Value[int](t, d, "select weir.sweep_dead()"); n != 0 {
		t.Errorf("swept %d letters that died just now", n)
	}
	weirtest.Exec(t, d, "update weir.job_dead set died_at = now() - interval '2 hours'")
	for _, want := range []int{3, 2, 0} {
		if n := weirtest.Value[int](t, d, "select weir.sweep_dead(3)"); n != want {
			t.Errorf("swept %d letters, want %d", n, want)
		}
	}
	if got := weirtest.Value[string](t, d, "select string_agg(distinct queue, ' ') || count(*) from weir.dead_letters"); got != "long5" {
		t.Errorf("left are %q", got)
	}
	weirtest.Exec(t, d, "update weir.job_dead set died_at = now() - interval '31 days'")
	if n := weirtest.Value[int](t, d, "select weir.sweep_dead()"); n != 5 {
		t.Errorf("swept %d letters of 31 days, want 5", n)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_event where kind = 'purged' and detail ->> 'by' = 'retention'"); n != 10 {
		t.Errorf("%d events tell of it, want 10", n)
	}
}

func oldDeadLettersArePurgedREST(t *testing.T) {
	t.Parallel()
	database := weirtest.New(t)
	s := weirtest.StartNodeOn(t, database)
	s.KillMany("q", 3)
	s.Exec("update weir.job_dead set died_at = now() - interval '30 days 1 minute' where job_id > 1")
	s.Exec("insert into weir.operation (kind, filter, total, state, finished_at) values ('purge_dead', '{}', 0, 'completed', now() - interval '31 days')")
	defer s.RunChores()()
	s.Eventually("the old letters and the old operation are gone", func() bool {
		return s.Count("select (select count(*) from weir.job_dead) * 10 + (select count(*) from weir.operation)") == 10
	})
}
