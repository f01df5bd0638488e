package bulk

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// exportInPieces makes an export of 25 MB, which takes several pieces, and returns where to download it.
func exportInPieces(s *weirtest.Node) (id, path string) {
	s.T.Helper()
	s.Exec(`select weir.enqueue('large', jsonb_build_object('x', (select string_agg(md5(n::text), '') from generate_series(1, 30000) n)), queue => 'large') from generate_series(1, 25) i`)
	o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", weirtest.Object{"filter": weirtest.Object{"kind": "large"}}).ID)
	if n := s.Count("select pieces from weir.operation where id = $1::bigint", o.ID); n < 3 {
		s.T.Fatalf("25 MB are %d pieces", n)
	}
	return o.ID, "/v1/operations/" + o.ID + "/result"
}

func TestExportWithoutOneOfItsPiecesIsNotTakenForWhole(t *testing.T) {
	weirtest.Long(t, "it exports 25 MB")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	id, path := exportInPieces(s)
	if n := strings.Count(string(s.Get(path).Want(http.StatusOK).Body), "\n"); n != 25 {
		t.Fatalf("the export has %d lines, want 25", n)
	}
	// In the middle, and at the end.
	for _, where := range []string{"n = 2", "n = (select pieces from weir.operation where id = $1::bigint)"} {
		s.Exec("create table if not exists public.removed (like weir.operation_result)")
		s.Exec("with gone as (delete from weir.operation_result where operation_id = $1::bigint and "+where+" returning *) insert into public.removed select * from gone", id)
		if r, err := s.Send(t.Context(), http.MethodGet, path, nil); err == nil {
			t.Errorf("without the piece where %s, a download ends well: %d, %d bytes", where, r.Status, len(r.Body))
		}
		if err := weirtest.TryExec(s.DB, "select weir.read_export($1::bigint, n) from generate_series(1, 10) n", id); !weirtest.HasSQLState(err, "WR022") {
			t.Errorf("over SQL: %v", err)
		}
		s.Exec("with back as (delete from public.removed returning *) insert into weir.operation_result select * from back")
	}
	s.Exec("delete from weir.operation_result where operation_id = $1::bigint and n = 1", id)
	s.Get(path).Problem(http.StatusNotFound, "result_not_found")
}

func TestDownloadUnderWayKeepsItsPieces(t *testing.T) {
	weirtest.Long(t, "it exports 25 MB")
	t.Parallel()
	s := weirtest.StartNodeWithChores(t)
	id, path := exportInPieces(s)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	s.Exec("update weir.operation set finished_at = now() - interval '25 h'")
	s.Exec("select weir.sweep_exports()")
	body, err := io.ReadAll(response.Body)
	if n := strings.Count(string(body), "\n"); err != nil || n != 25 {
		t.Errorf("the download ended with %v after %d of 25 lines", err, n)
	}
	s.Exec("update weir.operation set read_at = now() - interval '2 h'")
	s.Exec("select weir.sweep_exports()")
	if n := s.Count("select count(*)::int from weir.operation_result where operation_id = $1::bigint", id); n != 0 {
		t.Errorf("%d pieces are left two hours after the last read", n)
	}
}
