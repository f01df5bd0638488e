package bulk

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestJobsAreExported(t *testing.T) {
	weirtest.Long(t, "it exports 25 MB")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	s.Exec(`select weir.enqueue('k', jsonb_build_object('n', i, 'text', 'a "quoted", line' || chr(10) || 'and ünicode', 'null', null), queue => 'q', options => '{"tags": ["x"]}') from generate_series(1, 1300) i`)
	done := s.ClaimOne("q")
	s.Post("/v1/jobs/"+done.ID+"/complete", obj{"token": done.Token, "result": obj{"r": nil}}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "other", "queue": "elsewhere"})

	o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "q"}}).ID)
	if o.Done != 1300 || o.Total != 1300 {
		t.Errorf("the export is %+v", o)
	}
	r := s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK)
	if kind := r.Header.Get("Content-Type"); kind != "application/x-ndjson" {
		t.Errorf("the result is %s", kind)
	}
	lines := strings.Split(strings.TrimSuffix(string(r.Body), "\n"), "\n")
	seen := map[string]bool{}
	for _, line := range lines {
		var j struct {
			weirtest.Job
			Args obj
		}
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if _, there := j.Args["null"]; j.Kind != "k" || j.Args["text"] != "a \"quoted\", line\nand ünicode" || !there || j.CreatedAt.IsZero() {
			t.Fatalf("a line is %s", line)
		}
		if j.ID == done.ID && (j.State != "completed" || string(j.Result) != `{"r": null}` || j.FinishedAt == nil) {
			t.Errorf("the completed one is %s", line)
		}
		seen[j.ID] = true
	}
	if len(lines) != 1300 || len(seen) != 1300 {
		t.Errorf("there are %d lines of %d jobs", len(lines), len(seen))
	}

	o = s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "q"}, "format": "csv", "limit": 700}).ID)
	table, err := csv.NewReader(strings.NewReader(string(s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK).Body))).ReadAll()
	if err != nil || len(table) != 701 || table[0][0] != "id" || len(table[0]) != len(table[1]) || table[1][1] != "k" {
		t.Errorf("the table has %d rows, %v", len(table), err)
	}
	for i, row := range table[1:] {
		var args obj
		if err := json.Unmarshal([]byte(row[slices.Index(table[0], "args")]), &args); err != nil || args["n"] != float64(i+1) {
			t.Fatalf("row %d has the args %v, %v", i, args, err)
		}
	}

	// Large exports come in pieces and are removed after a day.
	s.Exec(`select weir.enqueue('large', jsonb_build_object('x', (select string_agg(md5(n::text), '') from generate_series(1, 30000) n)), queue => 'large') from generate_series(1, 25) i`)
	o = s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"kind": "large"}}).ID)
	if n := s.Count("select count(*) from weir.operation_result where operation_id = $1::bigint", o.ID); n < 2 || o.Done != 25 {
		t.Errorf("25 MB came in %d pieces: %+v", n, o)
	}
	if n := strings.Count(string(s.Get("/v1/operations/"+o.ID+"/result").Want(http.StatusOK).Body), "\n"); n != 25 {
		t.Errorf("there are %d lines", n)
	}
	s.Exec("update weir.operation set finished_at = now() - interval '25 h', read_at = now() - interval '2 h'")
	s.Exec("select weir.sweep_exports()")
	s.Get("/v1/operations/"+o.ID+"/result").Problem(http.StatusNotFound, "result_not_found")
	none := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "none"}}).ID)
	if r := s.Get("/v1/operations/" + none.ID + "/result").Want(http.StatusOK); len(r.Body) != 0 {
		t.Errorf("the export of nothing is %s", r.Body)
	}
	s.Get("/v1/operations/4711/result").Problem(http.StatusNotFound, "operation_not_found")
	s.Exec("insert into weir.operation (kind, filter, total) values ('export_jobs', '{}', 1)")
	s.Get(fmt.Sprintf("/v1/operations/%d/result", s.Count("select max(id) from weir.operation"))).Want(http.StatusConflict)
}

// A spreadsheet runs a cell that begins like a formula, and producers decide what is in the cells. A number is no
// formula, so a program that reads the file finds it as it was.
func TestCSVHasNoFormulas(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	formulas := []string{"=HYPERLINK(\"http://evil.example\")", "+1+cmd|' /C calc'!A0", "-1+1", "-1e", "@SUM(1)", "\uff1d1+1", "\uff0b1", "\uff0d1+1", "\uff20SUM(1)", "+1", "-"}
	numbers := []string{"-1", "-2.5", "-1.5e-7"}
	for _, f := range formulas {
		s.Enqueue(obj{"kind": f, "queue": "q", "tenant": f, "tags": []string{f}, "args": f})
	}
	for _, n := range numbers {
		s.Enqueue(obj{"kind": n, "queue": "q", "tags": []string{"plain"}, "args": json.RawMessage(n)})
	}
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "q"}, "format": "csv"}).ID)
	table, err := csv.NewReader(strings.NewReader(string(s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK).Body))).ReadAll()
	if err != nil || len(table) != len(formulas)+len(numbers)+1 {
		t.Fatalf("%d rows: %v", len(table), err)
	}
	column := func(row []string, name string) string { return row[slices.Index(table[0], name)] }
	for i, row := range table[1:] {
		if i >= len(formulas) {
			n, err := strconv.ParseFloat(column(row, "args"), 64)
			if want, _ := strconv.ParseFloat(numbers[i-len(formulas)], 64); err != nil || n != want || column(row, "kind") != numbers[i-len(formulas)] {
				t.Errorf("the number %s is %q in kind and %q in args", numbers[i-len(formulas)], column(row, "kind"), column(row, "args"))
			}
			continue
		}
		for _, name := range []string{"kind", "tenant", "tags"} {
			if got := column(row, name); got != "'"+formulas[i] {
				t.Errorf("the %s %q is %q", name, formulas[i], got)
			}
		}
		if got, want := column(row, "args"), strconv.Quote(formulas[i]); got != want {
			t.Errorf("the args %s are %q", want, got)
		}
	}
}
