package search

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// filter is one field in its three forms, and the condition on weir.jobs that it stands for, written without weir's
// functions.
type filter struct{ query, body, where string }

// failed is a condition on the errors of a job, and on how it ended.
func failed(condition string) string {
	return "exists (select from (select j.error as e union all select jsonb_array_elements(j.errors)) x where " + condition + ")"
}

const (
	run       = "extract(epoch from coalesce(j.finished_at, now()) - j.started_at)"
	available = `coalesce((select max(coalesce(e.run_at, e.at)) from weir.job_event e where e.job_id = j.id
		and coalesce(e.run_at, e.at) <= coalesce(j.started_at, 'infinity') and e.kind not in ('cancel_requested', 'purged', 'routed')),
		(select f.run_at from weir.job f where f.id = j.id), j.created_at)`
	wait      = "greatest(extract(epoch from coalesce(j.started_at, j.finished_at, now()) - " + available + "), 0)"
	errorText = "concat_ws(' ', e ->> 'type', e ->> 'message')"
	facts     = `concat_ws(' ', j.kind, array_to_string(j.tags, ' '), replace(j.args::text, '\n', ' '))`
)

func filters(t *testing.T, d *weirtest.Database) []filter {
	t.Helper()
	list := []filter{
		{"kind=resize", `"kind": "resize"`, "j.kind = 'resize'"},
		{"kind=resize&kind=import", `"kind": ["resize", "import"]`, "j.kind in ('resize', 'import')"},
		{"kind=resize,nothing", `"kind": ["resize", "nothing"]`, "j.kind = 'resize'"},
		{"queue=mail", `"queue": "mail"`, "j.queue = 'mail'"},
		{"queue=mail,bulk", `"queue": ["mail", "bulk"]`, "j.queue <> 'files'"},
		{"tag=vip", `"tag": ["vip"]`, "'vip' = any (j.tags)"},
		{"tag=vip&tag=blue", `"tag": ["vip", "blue"]`, "('vip' = any (j.tags) or 'blue' = any (j.tags))"},
		{"tenant=acme", `"tenant": "acme"`, "j.tenant = 'acme'"},
		{"worker=w2", `"worker": "w2"`, "j.worker = 'w2'"},
		{"priority=3", `"priority": 3`, "j.priority = 3"},
		{"min_priority=7&max_priority=8", `"min_priority": 7, "max_priority": 8`, "j.priority in (7, 8)"},
		{"min_attempts=2", `"min_attempts": 2`, "j.attempt >= 2"},
		{"max_attempts=0", `"max_attempts": 0`, "j.attempt = 0"},
		{"has_error=true", `"has_error": true`, "j.errors is not null"},
		{"has_error=false", `"has_error": false`, "j.errors is null"},
		{"error_type=SMTPError", `"error_type": "SMTPError"`, failed("e ->> 'type' = 'SMTPError'")},
		{"error=refused", `"error": "refused"`, failed(errorText + ` ~* '\mrefused\M'`)},
		{"error=sockettimeoutexception", `"error": "sockettimeoutexception"`, failed(errorText + ` ~* '\msockettimeoutexception\M'`)},
		{"error=" + url.QueryEscape(`"timed out" or refused`), `"error": "\"timed out\" or refused"`, failed(errorText + ` ~* '\m(timed out|refused)\M'`)},
		{"args.customer.id=4", `"args": {"customer": {"id": 4}}`, "j.args #>> '{customer,id}' = '4'"},
		{"args.customer.id=4&args.paid=true", `"args": {"customer": {"id": 4}, "paid": true}`, "j.args #>> '{customer,id}' = '4' and j.args ->> 'paid' = 'true'"},
		{"args.paid=null", `"args": {"paid": null}`, "j.args -> 'paid' = 'null'"},
		{"args.note=%2242%22", `"args": {"note": "42"}`, "j.args ->> 'note' = '42'"},
		{"args.order=order-7", `"args": {"order": "order-7"}`, "j.args ->> 'order' = 'order-7'"},
		{"args=" + url.QueryEscape(`{"customer": {"email": "ann@example.com"}}`), `"args": {"customer": {"email": "ann@example.com"}}`, "j.args #>> '{customer,email}' = 'ann@example.com'"},
		{"q=order-7", `"q": "order-7"`, facts + ` ~ '\morder-7\M'`},
		{"q=example.org", `"q": "example.org"`, facts + ` ~ 'example[.]org'`},
		{"q=ann@example.com", `"q": "ann@example.com"`, facts + ` ~ 'ann@example[.]com'`},
		{"q=send_receipt", `"q": "send_receipt"`, "j.kind = 'send_receipt'"},
		{"q=lines", `"q": "lines"`, facts + ` ~ '\mlines\M'`},
		{"q=RED+-big", `"q": "RED -big"`, "'red' = any (j.tags) and not 'big' = any (j.tags)"},
		{"q=" + url.QueryEscape(`"fragile goods" or timed`), `"q": "\"fragile goods\" or timed"`, "(" + facts + " ~ 'fragile goods' or " + failed(errorText+` ~* '\mtimed\M'`) + ")"},
		{"q=quoted+resize", `"q": "quoted resize"`, facts + " ~ 'quoted' and j.kind = 'resize'"},
		{"min_run_seconds=50", `"min_run_seconds": 50`, run + " >= 50"},
		{"max_run_seconds=0.5", `"max_run_seconds": 0.5`, run + " <= 0.5"},
		{"min_wait_seconds=1500", `"min_wait_seconds": 1500`, wait + " >= 1500"},
		{"max_wait_seconds=600.5", `"max_wait_seconds": 600.5`, wait + " <= 600.5"},
		{"workflow_id=1", `"workflow_id": "1"`, "false"},
	}
	parent := weirtest.Value[string](t, d, "select min(id)::text from weir.job")
	list = append(list, filter{"parent_id=" + parent, `"parent_id": "` + parent + `"`, "j.parent_id = " + parent})
	for _, state := range []string{"held", "scheduled", "retryable", "available", "running", "completed", "cancelled", "dead"} {
		list = append(list, filter{"state=" + state, `"state": "` + state + `"`, "j.state = '" + state + "'"})
	}
	list = append(list, filter{"state=dead&state=retryable,running", `"state": ["dead", "retryable", "running"]`, "j.state in ('dead', 'retryable', 'running')"},
		filter{"state=completed,cancelled", `"state": ["completed", "cancelled"]`, "j.state in ('completed', 'cancelled')"})
	for _, field := range []string{"created", "started", "finished"} {
		at := weirtest.Value[time.Time](t, d, "select percentile_disc(0.4) within group (order by "+field+"_at) from weir.jobs").UTC().Format(time.RFC3339Nano)
		list = append(list,
			filter{field + "_after=" + url.QueryEscape(at), `"` + field + `_after": "` + at + `"`, "j." + field + "_at >= '" + at + "'"},
			filter{field + "_before=" + url.QueryEscape(at), `"` + field + `_before": "` + at + `"`, "j." + field + "_at < '" + at + "'"})
	}
	return list
}

// and joins filters of different fields.
func and(list ...filter) filter {
	all := list[0]
	for _, f := range list[1:] {
		all = filter{all.query + "&" + f.query, all.body + ", " + f.body, "(" + all.where + ") and (" + f.where + ")"}
	}
	return all
}

func (f filter) field() string {
	name, _, _ := strings.Cut(f.query, "=")
	return strings.Split(name, ".")[0]
}

// walk reads all pages of a list.
func walk(t *testing.T, s *weirtest.Node, path string) []string {
	t.Helper()
	var ids []string
	for cursor, pages := "", 0; ; pages++ {
		page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get(path + "&limit=97&cursor=" + url.QueryEscape(cursor)).Want(http.StatusOK))
		for _, j := range page.Items {
			ids = append(ids, j.ID)
		}
		if page.NextCursor == nil {
			return ids
		}
		if cursor = *page.NextCursor; pages > 1000 {
			t.Fatalf("%s: the walk does not end", path)
		}
	}
}

func TestEachFilterFindsWhatAPlainCountFinds(t *testing.T) {
	weirtest.Long(t, "it walks some hundreds of lists")
	t.Parallel()
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		checkFilters(t, func(*weirtest.Database) {})
	})
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		checkFilters(t, func(d *weirtest.Database) { seal(t, d) })
	})
	t.Run("changed after it was sealed", func(t *testing.T) {
		t.Parallel()
		checkFilters(t, func(d *weirtest.Database) {
			seal(t, d)
			weirtest.Exec(t, d, "select weir.retry(id) from weir.jobs where state in ('dead', 'completed') and id % 3 = 1")
			r := rand.New(rand.NewPCG(2, 3))
			for round := range 3 {
				work(t, d, r, round)
			}
			weirtest.Exec(t, d, "update weir.job_lease set expires_at = now() + interval '1 hour'") // none runs out between two counts
		})
	})
}

func checkFilters(t *testing.T, prepare func(*weirtest.Database)) {
	s := weirtest.StartNodeWithAuth(t)
	fill(t, s.DB)
	prepare(s.DB)
	acme := s.AsNew("acme", obj{"tenant": "acme", "queues": []string{"*"}}, "operator")
	mail := s.AsNew("mail", obj{"queues": []string{"m*"}}, "operator")
	single := filters(t, s.DB)
	list := slices.Clone(single)
	r := rand.New(rand.NewPCG(5, 11))
	for range 30 {
		a, b, c := single[r.IntN(len(single))], single[r.IntN(len(single))], single[r.IntN(len(single))]
		if a.field() != b.field() && b.field() != c.field() && a.field() != c.field() {
			list = append(list, and(a, b), and(a, b, c))
		}
	}
	found := 0
	for i, f := range list {
		for name, who := range map[string]struct {
			*weirtest.Node
			within string
		}{"all": {s, "true"}, "acme": {acme, "j.tenant = 'acme'"}, "mail": {mail, "j.queue = 'mail'"}} {
			if i >= len(single) && name != "all" {
				continue // the bounds of a caller are one more condition, whatever the others
			}
			want := weirtest.Values[string](t, s.DB, "select j.id::text from weir.jobs j where ("+f.where+") and "+who.within+" order by j.id desc")
			found += len(want)
			if got := walk(t, who.Node, "/v1/jobs?"+f.query); !slices.Equal(got, want) {
				t.Errorf("%s sees %d jobs with %s, want %d: %v and not %v", name, len(got), f.query, len(want), got, want)
			}
			if name == "all" {
				slices.Reverse(want)
				if got := walk(t, who.Node, "/v1/jobs?sort=id&"+f.query); !slices.Equal(got, want) {
					t.Errorf("the oldest first, there are %d jobs with %s, want %d: %v and not %v", len(got), f.query, len(want), got, want)
				}
			}
			if !strings.Contains(f.query, "wait_seconds=") && !strings.Contains(f.query, "run_seconds=") { // those change with the time
				body := json.RawMessage(`{"filter": {` + f.body + `}, "action": "retry", "dry_run": true}`)
				retryable := "j.state in ('dead', 'cancelled')"
				if strings.Contains(f.query, "state=") {
					continue
				}
				n := weirtest.Value[int](t, s.DB, "select count(*) from weir.jobs j where ("+f.where+") and "+who.within+" and "+retryable)
				if total := weirtest.Decode[weirtest.Operation](who.Post("/v1/jobs/bulk", body).Want(http.StatusOK)).Total; total != n {
					t.Errorf("%s would retry %d jobs with %s, want %d", name, total, f.body, n)
				}
			}
		}
		n := weirtest.Value[int](t, s.DB, "select count(*) from weir.jobs j where "+f.where)
		if got := weirtest.Value[int](t, s.DB, "select total from weir.count_jobs($1)", json.RawMessage("{"+f.body+"}")); got != n {
			t.Errorf("SQL counts %d jobs with %s, want %d", got, f.body, n)
		}
	}
	if found < 1000 {
		t.Errorf("all filters found only %d jobs: the test shows little", found)
	}
}

func TestBadFiltersAreRefusedWithTheirPlace(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "k"})
	for query, place := range map[string]string{
		"state=dead,nothing": "query.state[1]", "state=dead&state=x": "query.state[1]", "kind=": "query.kind", "kind=a,,b": "query.kind", "queue=" + strings.Repeat("q,", 20) + "q": "query.queue",
		"tag=" + strings.Repeat("x", 201): "query.tag[0]", "q=%25%25": "query.q", "error=-": "query.error", "priority=11": "query.priority", "min_priority=0": "query.min_priority",
		"max_attempts=-1": "query.max_attempts", "max_attempts=x": "query.max_attempts", "min_run_seconds=-1": "query.min_run_seconds", "max_run_seconds=1e99": "query.max_run_seconds",
		"min_wait_seconds=NaN": "query.min_wait_seconds", "max_wait_seconds=x": "query.max_wait_seconds", "started_after=x": "query.started_after", "started_before=2026": "query.started_before",
		"args=x": "query.args", "args=[1]": "query.args", "args=7": "query.args", "args.a=1&args.a.b=2": "query.args.a.b", "args.a=1&args.a=2": "query.args.a", "args.a=": "query.args.a",
		"args={}&args.a=1": "query.args.a", "argz.a=1": "query.argz.a", "error_type=a&error_type=b": "query.error_type", "q=a&q=b": "query.q", "args.a=" + strings.Repeat("x", 5000): "query.args",
	} {
		if p := s.Get("/v1/jobs?"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument"); len(p.Errors) == 0 || p.Errors[0].Location != place {
			t.Errorf("%.80s: at %+v, want %s", query, p.Errors, place)
		}
	}
	for field, values := range map[string][]string{
		"state": {`"x"`, `[]`, `["dead", "x"]`, `1`}, "kind": {`[]`, `""`, `[1]`, `{}`, `["` + strings.Repeat("x", 201) + `"]`, `[` + strings.Repeat(`"a",`, 20) + `"a"]`}, "queue": {`true`}, "tag": {`[""]`},
		"q": {`"-"`, `1`, `""`}, "error": {`"..."`}, "error_type": {`["a"]`}, "args": {`[1]`, `"x"`, `{"a": "` + strings.Repeat("x", 5000) + `"}`}, "parent_id": {`"0"`, `"x"`}, "min_priority": {`0`, `1.5`}, "max_attempts": {`-1`, `101`},
		"min_run_seconds": {`-0.1`, `"1"`}, "max_wait_seconds": {`1e10`}, "started_after": {`"now"`}, "has_error": {`1`}, "nothing": {`1`},
	} {
		for _, value := range values {
			body := fmt.Sprintf(`{"action": "cancel", "filter": {%q: %s}}`, field, value)
			p := s.Post("/v1/jobs/bulk", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Location, "body.filter."+field) {
				t.Errorf("%.80s: at %+v, want body.filter.%s", body, p.Errors, field)
			}
			err := weirtest.TryExec(s.DB, "select weir.start_operation('bulk_cancel', $1)", json.RawMessage(fmt.Sprintf(`{%q: %s}`, field, value)))
			if e := weirtest.WantSQLState(t, err, "WR010"); e != nil && e.ColumnName != "filter."+field {
				t.Errorf("%.80s: the column is %q, want filter.%s", body, e.ColumnName, field)
			}
		}
	}
	if n := s.Count("select count(*) from weir.operation"); n != 0 {
		t.Errorf("%d operations are stored", n)
	}
	if state := s.Job(weirtest.Value[string](t, s.DB, "select id::text from weir.job")).State; state != "available" {
		t.Errorf("the job is %s", state)
	}
}

// A word is a run of letters and digits, whatever stands around it.
func TestWordsAreFoundWhateverStandsAroundThem(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "crm.sync-account", "tags": []string{"eu_west"}, "args": obj{
		"id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "mail": "Ann.Lee+news@mail.example.com", "url": "https://shop.example/orders/4711?ref=a1", "path": `C:\new\table`,
		"name": "Zoë Müller", "amount": -17.5, "ref": "ORDER-17", "text": "first\nsecond\tthird \"quoted\"",
	}})
	s.Enqueue(obj{"kind": "other", "args": obj{"ref": "17 order"}})
	for query, found := range map[string]bool{
		"order-17": true, "ORDER-17": true, "order 17": true, `"17 order"`: false, "order-1": false, "order17": false, "3f2504e0-4f89-11d3-9a0c-0305e82c3301": true, "11d3-9a0c": true, "9a0c-11d3": false,
		"Ann.Lee+news@mail.example.com": true, "ann.lee": true, "example.com": true, "lee": true, "shop.example/orders/4711": true, "4711": true, "471": false, `C:\new\table`: true, "table": true, "new": true,
		"zoë müller": true, "müller": true, "first second": true, "second": true, "third quoted": true, "sync-account": true, "crm": true, "eu_west": true, "17.5": true, "-17.5": false,
		"nothing or 4711": true, "4711 -quoted": false, "4711 -nothing": true, `4711 -"first second"`: false, "true": false,
	} {
		items := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?q=" + url.QueryEscape(query)).Want(http.StatusOK)).Items
		if got := slices.ContainsFunc(items, func(j weirtest.Job) bool { return j.ID == id }); got != found {
			t.Errorf("%s: found is %s, want %s", query, strconv.FormatBool(got), strconv.FormatBool(found))
		}
	}
}

// Values are data, whatever they look like to a statement that is put together.
func TestOddValuesAreFound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	odd := `100%s of %L %1$s \n 'q' "d" $$ %%`
	s := weirtest.StartNodeOn(t, d)
	s.Enqueue(obj{"kind": odd, "queue": "q", "tags": []string{odd}, "tenant": odd, "args": obj{"x": odd}})
	j := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", obj{"worker": odd, "queues": []string{"q"}}).Want(http.StatusOK)).Jobs[0]
	s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "retry": false, "error": obj{"message": "m", "type": odd}}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	for _, sealed := range []bool{false, true} {
		if sealed {
			for range 2 {
				weirtest.RollOver(t, d)
				s.Enqueue(obj{"kind": "k", "queue": "q"})
			}
			seal(t, d)
		}
		for _, field := range []string{"kind", "worker", "tenant", "error_type", "args.x"} {
			if got := walk(t, s, "/v1/jobs?"+field+"="+url.QueryEscape(odd)); len(got) != 1 || got[0] != j.ID {
				t.Errorf("sealed: %t, %s finds %v", sealed, field, got)
			}
		}
	}
}
