package job

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// logLine is a line as REST shows it.
type logLine struct {
	Number, Attempt, Dropped int
	At                       time.Time
	Level, Message           string
	Fields                   map[string]any
}

// logged is a line in words.
func (l logLine) String() string {
	return fmt.Sprintf("%d %d %s %s", l.Number, l.Attempt, l.Level, l.Message)
}

// readLog reads a page of the log of a job.
func readLog(s *weirtest.Node, id, query string) weirtest.Page[logLine] {
	s.T.Helper()
	return weirtest.Decode[weirtest.Page[logLine]](s.Get("/v1/jobs/" + id + "/logs?" + query).Want(http.StatusOK))
}

// wantLog checks the lines of the log of a job.
func wantLog(t *testing.T, s *weirtest.Node, id, query string, want ...string) {
	t.Helper()
	var got []string
	for _, l := range readLog(s, id, query).Items {
		got = append(got, l.String())
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log of job %s with %q is\n  %s\nwant\n  %s", id, query, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// logs sends lines of the log of a job.
func logs(s *weirtest.Node, id, token string, lines ...obj) *weirtest.Response {
	return s.Post("/v1/jobs/"+id+"/logs", obj{"token": token, "lines": lines})
}

func TestLogIsReadInOrder(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	wantLog(t, s, id, "")
	first := s.ClaimOne("q")
	logs(s, id, first.Token, obj{"message": "began"}, obj{"message": "odd", "level": "warn", "at": "2026-01-31T09:00:00.5+01:00", "fields": obj{"row": 17}}).Want(http.StatusOK)
	got := weirtest.Decode[struct{ Stored, Dropped int }](logs(s, id, first.Token, obj{"message": "two\nlines", "level": "debug", "fields": nil}).Want(http.StatusOK))
	if got.Stored != 1 || got.Dropped != 0 {
		t.Errorf("got %+v", got)
	}
	s.Post("/v1/jobs/"+id+"/fail", obj{"token": first.Token, "error": obj{"message": "m"}, "retry_in_seconds": 0}).Want(http.StatusOK)
	second := s.ClaimOne("q")
	logs(s, id, second.Token, obj{"message": "again", "level": "error"}).Want(http.StatusOK)
	wantLog(t, s, id, "", "1 1 info began", "2 1 warn odd", "3 1 debug two\nlines", "4 2 error again")
	wantLog(t, s, id, "level=warn", "2 1 warn odd", "4 2 error again")
	wantLog(t, s, id, "attempt=1&level=info", "1 1 info began", "2 1 warn odd")
	lines := readLog(s, id, "").Items
	if lines[1].Fields["row"] != 17.0 || !lines[1].At.Equal(time.Date(2026, 1, 31, 8, 0, 0, 5e8, time.UTC)) || lines[2].Fields != nil || time.Since(lines[0].At).Abs() > time.Minute {
		t.Errorf("got %+v", lines)
	}
	var paged []string
	for cursor := "limit=3"; cursor != ""; {
		page := readLog(s, id, cursor)
		for _, l := range page.Items {
			paged = append(paged, l.String())
		}
		cursor = ""
		if page.NextCursor != nil {
			cursor = "limit=3&cursor=" + *page.NextCursor
		}
	}
	if len(paged) != 4 {
		t.Errorf("the pages have %q", paged)
	}
	s.Get("/v1/jobs/999999/logs").Problem(http.StatusNotFound, "job_not_found")
	for _, bad := range []string{"level=loud", "attempt=0", "attempt=x", "cursor=x", "colour=red"} {
		s.Get("/v1/jobs/"+id+"/logs?"+bad).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
}

func TestLogTakesTheTokenOfTheLease(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	first := s.ClaimOne("q")
	logs(s, id, "99999", obj{"message": "m"}).Problem(http.StatusConflict, "stale_token")
	logs(s, "999999", first.Token, obj{"message": "m"}).Problem(http.StatusNotFound, "job_not_found")
	s.Post("/v1/jobs/"+id+"/release", obj{"token": first.Token}).Want(http.StatusOK)
	second := s.ClaimOne("q")
	logs(s, id, first.Token, obj{"message": "late"}).Problem(http.StatusConflict, "stale_token")
	logs(s, id, second.Token, obj{"message": "m"}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": second.Token}).Want(http.StatusOK)
	logs(s, id, second.Token, obj{"message": "later"}).Problem(http.StatusConflict, "stale_token")
	wantLog(t, s, id, "", "1 1 info m")
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, fmt.Sprintf(`select weir.log(%s, %s, '[{"message": "m"}]')`, id, second.Token)), "WR001")
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.log(999999, 1, '[{"message": "m"}]')`), "WR002")
}

func TestBadLinesAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	token := s.ClaimOne("q").Token
	long := strings.Repeat("é", 8193)
	many := make([]obj, 1001)
	for i := range many {
		many[i] = obj{"message": "m"}
	}
	heavy := make([]obj, 200)
	for i := range heavy {
		heavy[i] = obj{"message": long[:2*4096]}
	}
	for place, lines := range map[string][]obj{
		"lines": {}, "lines[1].message": {{"message": "m"}, {"message": ""}}, "lines[0].message": {{"message": long}}, "lines[0].level": {{"message": "m", "level": "loud"}},
		"lines[0].at": {{"message": "m", "at": "yesterday"}}, "lines[0].fields": {{"message": "m", "fields": []int{1}}}, "lines[0].colour": {{"message": "m", "colour": "red"}},
		"lines[0].encrypted": {{"encrypted": "weir:encrypted:1:1:xxxx", "message": "m"}}, "lines[2].fields": {{"message": "m"}, {"message": "m"}, {"message": "m", "fields": obj{"x": strings.Repeat("x", 4096)}}},
	} {
		answer := logs(s, id, token, lines...)
		answer.Problem(http.StatusUnprocessableEntity, "invalid_argument")
		body := string(answer.Body)
		if !strings.Contains(body, `"body.`+place) {
			t.Errorf("%s: %s", place, body)
		}
		refused := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.log($1::text::bigint, $2::text::bigint, $3)", id, token, lines), "WR010")
		if refused != nil && refused.ColumnName != place && place != "lines[0].encrypted" {
			t.Errorf("in SQL %s: %s", place, refused.ColumnName)
		}
	}
	for _, lines := range [][]obj{many, heavy} {
		logs(s, id, token, lines...).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.log($1::text::bigint, $2::text::bigint, $3)", id, token, lines), "WR010")
	}
	for _, lines := range []string{"null", "{}", "[1]", "[null]"} {
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.log($1::text::bigint, $2::text::bigint, $3)", id, token, lines), "WR010")
	}
	wantLog(t, s, id, "")
	logs(s, id, token, many[:1000]...).Want(http.StatusOK)
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	byLines, byBytes := s.Enqueue(obj{"kind": "k", "queue": "a"}), s.Enqueue(obj{"kind": "k", "queue": "b"})
	token := s.ClaimOne("a").Token
	lines := func(n, size int) string {
		return weirtest.Value[string](t, s.DB, "select jsonb_agg(jsonb_build_object('message', repeat('x', $2)))::text from generate_series(1, $1)", n, size)
	}
	type result struct{ Stored, Dropped int }
	send := func(id, token, lines string) result {
		t.Helper()
		return weirtest.Decode[result](s.Post("/v1/jobs/"+id+"/logs", `{"token": "`+token+`", "lines": `+lines+`}`).Want(http.StatusOK))
	}
	thousand := lines(1000, 1)
	for range 9 {
		if got := send(byLines, token, thousand); got != (result{1000, 0}) {
			t.Fatalf("got %+v", got)
		}
	}
	for i, want := range []result{{999, 0}, {1, 2}, {0, 1}} {
		if got := send(byLines, token, lines([]int{999, 3, 1}[i], 1)); got != want {
			t.Errorf("call %d: got %+v, want %+v", i, got, want)
		}
	}
	page := readLog(s, byLines, "limit=1000&level=warn")
	if len(page.Items) != 1 || page.Items[0].Number != 10001 || page.Items[0].Dropped != 3 || page.Items[0].Message != "lines dropped: 3; a log has at most 10,000 lines and 4 MiB" {
		t.Errorf("the last line is %+v", page.Items)
	}
	token = s.ClaimOne("b").Token
	for range 4 {
		send(byBytes, token, lines(128, 8192))
	}
	if got := send(byBytes, token, `[{"message": "m"}]`); got != (result{0, 1}) {
		t.Errorf("after 4 MiB: got %+v", got)
	}
	got := weirtest.Values[string](t, s.DB, "select format('%s %s %s', number, level, left(message, 20)) from weir.job_logs where job_id = $1::text::bigint and number > 511 order by number", byBytes)
	if strings.Join(got, "|") != "512 info xxxxxxxxxxxxxxxxxxxx|513 warn lines dropped: 1; a " {
		t.Errorf("got %q", got)
	}
}

func TestLogGoesWithItsJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('short', '{"retention_seconds": 3600}')`)
	for _, queue := range []string{"short", "long"} {
		for range 20 {
			weirtest.EnqueueOne(t, d, queue)
		}
		for _, j := range weirtest.Claim(t, d, queue, 20) {
			j.Call(t, d, `log($1, $2, '[{"message": "a"}, {"message": "b"}]')`)
			weirtest.Complete(t, d, j)
		}
	}
	weirtest.RollOver(t, d)
	weirtest.Exec(t, d, `update weir.job_outcome set finished_at = now() - interval '2 hours'`)
	retain := func(jobs int) string {
		did := weirtest.Value[string](t, d, "select weir.retain_partition(0, 30)")
		weirtest.Exec(t, d, "select weir.retain_logs(0)")
		if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_logs"); n != 2*jobs {
			t.Errorf("%s: %d lines are left, want %d", did, n, 2*jobs)
		}
		return did
	}
	if did := retain(20); did != "rewritten" {
		t.Errorf("got %q, want rewritten", did)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_log"); n != 40 {
		t.Errorf("%d lines are stored, want 40", n)
	}
	if weirtest.Value[bool](t, d, "select weir.retain_logs(0)") {
		t.Error("the lines are rewritten again")
	}
	weirtest.Exec(t, d, `update weir.job_outcome set finished_at = now() - interval '8 days'`)
	if did := retain(0); did != "emptied" {
		t.Errorf("got %q, want emptied", did)
	}
	if !weirtest.Value[bool](t, d, "select weir.drop_partition(0)") {
		t.Error("the partition was not dropped")
	}
}

// Calls for the log of one job take turns, and no line comes after the end.
func TestLogCallsTakeTurns(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	first := d.Tx()
	weirtest.Exec(t, first, `select weir.log($1, $2, '[{"message": "a"}]')`, j.ID, j.Token)
	weirtest.Exec(t, d, "select weir.heartbeat(array[$1::bigint], array[$2::bigint])", j.ID, j.Token) // does not wait
	done := make(chan error, 2)
	go func() { done <- weirtest.TryExec(d, `select weir.log($1, $2, '[{"message": "b"}]')`, j.ID, j.Token) }()
	weirtest.Eventually(t, "the second call waits", func() bool {
		return weirtest.Value[int](t, d, "select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1
	})
	weirtest.Commit(t, first)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	last := d.Tx()
	weirtest.Exec(t, last, `select weir.log($1, $2, '[{"message": "c"}]')`, j.ID, j.Token)
	go func() { done <- weirtest.TryExec(d, "select weir.complete($1, $2)", j.ID, j.Token) }()
	weirtest.Eventually(t, "the end waits", func() bool {
		return weirtest.Value[int](t, d, "select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1
	})
	weirtest.Commit(t, last)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := weirtest.Values[string](t, d, "select message from weir.job_log where job_id = $1 order by number", j.ID); strings.Join(got, "") != "abc" {
		t.Errorf("got %q", got)
	}
}

// A job without a log never touches its tables.
func TestPlainJobsDoNotTouchLogs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, call := range []string{"fail($1, $2, '{}')", "complete($1, $2)", "release($1, $2)"} {
		weirtest.EnqueueOne(t, d, "q")
		tx := d.Tx()
		weirtest.Exec(t, tx, "select weir.enqueue('k', queue => 'q')")
		j := weirtest.ClaimOne(t, tx, "q")
		weirtest.Exec(t, tx, "select weir.heartbeat(array[$1::bigint], array[$2::bigint])", j.ID, j.Token)
		j.Call(t, tx, call)
		if locked := weirtest.Values[string](t, tx, "select distinct relation::regclass::text from pg_locks where pid = pg_backend_pid() and relation::regclass::text like '%job_log%'"); len(locked) > 0 {
			t.Errorf("%s: the calls touched %v", call, locked)
		}
		weirtest.Commit(t, tx)
	}
}

// followed opens a stream of the log of a job, and returns its events in words. The channel is closed when the stream ends.
func followed(s *weirtest.Node, id, query, last string) <-chan string {
	s.T.Helper()
	request, err := http.NewRequestWithContext(s.T.Context(), http.MethodGet, s.URL+"/v1/jobs/"+id+"/logs?follow=true"+query, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := http.DefaultClient.Do(request) //nolint:bodyclose // the goroutine below closes it
	if err != nil {
		s.T.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		s.T.Fatalf("%s %s", response.Status, response.Header.Get("Content-Type"))
	}
	events := make(chan string, 20000)
	go func() {
		defer close(events)
		defer response.Body.Close()
		name, number := "", ""
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
			case "id":
				number = value
			case "event":
				name = value
			case "data":
				var data struct{ Message, State string }
				if err := json.Unmarshal([]byte(value), &data); err != nil {
					panic(err)
				}
				if name == "end" {
					number = ""
				}
				events <- strings.TrimSpace(name + " " + number + " " + data.Message + data.State)
			}
		}
	}()
	return events
}

// wantEvents checks the next events of a stream.
func wantEvents(t *testing.T, events <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got, open := <-events:
			if got != w || !open {
				t.Fatalf("got %q, want %q", got, w)
			}
		case <-time.After(weirtest.Patience):
			t.Fatalf("%q does not come", w)
		}
	}
}

func TestLogIsFollowed(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	early := followed(s, id, "", "") // before it runs
	token := s.ClaimOne("q").Token
	logs(s, id, token, obj{"message": "a"}, obj{"message": "b", "level": "warn"}).Want(http.StatusOK)
	wantEvents(t, early, "line 1 a", "line 2 b")
	late, resumed, warned := followed(s, id, "", ""), followed(s, id, "", "1"), followed(s, id, "&level=warn", "")
	wantEvents(t, late, "line 1 a", "line 2 b")
	wantEvents(t, resumed, "line 2 b")
	wantEvents(t, warned, "line 2 b")
	s.Exec(`select weir.log($1::text::bigint, $2::text::bigint, '[{"message": "c"}, {"message": "d", "level": "error"}]')`, id, token) // as by another node
	wantEvents(t, early, "line 3 c", "line 4 d")
	wantEvents(t, warned, "line 4 d")
	s.Post("/v1/jobs/"+id+"/logs", obj{"token": token, "lines": []obj{{"message": "last"}}}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": token}).Want(http.StatusOK)
	wantEvents(t, early, "line 5 last", "end  completed")
	wantEvents(t, late, "line 3 c", "line 4 d", "line 5 last", "end  completed")
	wantEvents(t, resumed, "line 3 c", "line 4 d", "line 5 last", "end  completed")
	wantEvents(t, warned, "end  completed")
	wantEvents(t, followed(s, id, "&attempt=2", ""), "end  completed")
	for _, events := range []<-chan string{early, late, resumed, warned} {
		if _, open := <-events; open {
			t.Error("the stream goes on after the end")
		}
	}
	s.Get("/v1/jobs/999999/logs?follow=true").Problem(http.StatusNotFound, "job_not_found")
}

// A follower that comes late, or that lags behind, misses nothing.
func TestFollowersMissNothing(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	token := s.ClaimOne("q").Token
	streams := []<-chan string{followed(s, id, "", "")}
	n := 0
	for _, size := range []int{1, 150, 3, 1000, 40, 7} {
		lines := make([]obj, size)
		for i := range lines {
			n++
			lines[i] = obj{"message": fmt.Sprint("m", n)}
		}
		logs(s, id, token, lines...).Want(http.StatusOK)
		streams = append(streams, followed(s, id, "", ""))
	}
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": token}).Want(http.StatusOK)
	for _, events := range streams {
		for i := range n {
			wantEvents(t, events, fmt.Sprintf("line %d m%d", i+1, i+1))
		}
		wantEvents(t, events, "end  completed")
	}
}
