package bulk

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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
	s.Exec(`select weir.enqueue('large', jsonb_build_object('x', (select string_agg(md5(i || '-' || n), '') from generate_series(1, 30000) n)), queue => 'large') from generate_series(1, 25) i`)
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

// A spreadsheet runs a cell that begins like a formula, and producers decide what is in the cells.
func TestCSVHasNoFormulas(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	formulas := []string{"=HYPERLINK(\"http://evil.example\")", "+1+cmd|' /C calc'!A0", "-1", "@SUM(1)"}
	for _, f := range formulas {
		s.Enqueue(obj{"kind": f, "queue": "q", "tenant": f, "tags": []string{f}, "args": -1})
	}
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "q"}, "format": "csv"}).ID)
	table, err := csv.NewReader(strings.NewReader(string(s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK).Body))).ReadAll()
	if err != nil || len(table) != len(formulas)+1 {
		t.Fatalf("%d rows: %v", len(table), err)
	}
	for _, row := range table[1:] {
		for i, cell := range row {
			if strings.IndexAny(cell, "=+-@\t\r") == 0 {
				t.Errorf("the cell %s is %q", table[0][i], cell)
			}
		}
		if kind := row[slices.Index(table[0], "kind")]; !slices.Contains(formulas, strings.TrimPrefix(kind, "'")) {
			t.Errorf("the kind is %q", kind)
		}
	}
}
