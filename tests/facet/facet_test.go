package facet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

type value struct {
	Value string
	Count int
}

type facets struct {
	Facets         map[string][]value
	Other          map[string]int
	Counted        int
	Estimated      bool
	SearchedBackTo *time.Time `json:"searched_back_to"`
}

// fill makes jobs in every state, in queues q0 to q3, of three kinds and two tenants.
func fill(t *testing.T, d *weirtest.Database) {
	t.Helper()
	weirtest.Exec(t, d, `select weir.set_queue('q' || i, '{"lease_seconds": 3600}') from generate_series(0, 2) i`)
	weirtest.SetLimits(t, d, "q3", `{"concurrency": 1}`)
	weirtest.Exec(t, d, `select weir.enqueue('k' || i % 3, queue => 'q' || i % 4, priority => 1 + i % 10, run_at => case when i % 9 = 0 then now() + interval '1 hour' end,
		options => jsonb_strip_nulls(jsonb_build_object('tags', jsonb_build_array('t' || i % 2, 'all'), 'tenant', case i % 3 when 0 then 'acme' when 1 then 'umbra' end)))
		from generate_series(1, 400) i`)
	weirtest.Tick(t, d) // a node may have ticked while they were stored: then claims find them after the next tick
	for i, j := range weirtest.Claim(t, d, "q0,q1,q2", 120) {
		switch i % 6 {
		case 0, 1:
			j.Call(t, d, `complete($1, $2)`)
		case 2:
			j.Call(t, d, fmt.Sprintf(`fail($1, $2, '{"message": "no", "type": "T%d"}', retry => false)`, i%4))
		case 3:
			j.Call(t, d, `fail($1, $2, '{"message": "not yet", "type": "T9"}', retry_in => '1 hour')`)
		case 4:
			weirtest.Exec(t, d, "select weir.snooze($1, $2, '1 hour')", j.ID, j.Token)
		}
	}
	weirtest.Exec(t, d, "select weir.retry(id) from (select id from weir.jobs where state = 'retryable' limit 8) x")
	weirtest.Exec(t, d, "select weir.cancel(id) from (select id from weir.jobs where state = 'available' limit 20) x")
	weirtest.Exec(t, d, "select weir.purge_dead(job_id) from (select job_id from weir.job_dead limit 3) x")
	weirtest.Admit(t, d, "q3", 1)
}

// plain are the counts of the jobs that meet a condition, without any of the functions of facets and filters.
func plain(t *testing.T, d *weirtest.Database, facet, where string) []value {
	t.Helper()
	expression, from := "j."+facet+"::text", ""
	switch facet {
	case "tag":
		expression, from = "x.tag", " cross join lateral unnest(j.tags) x(tag)"
	case "error_type":
		expression = "x.type"
		from = ` cross join lateral (select j.error ->> 'type' as type union select e ->> 'type' from jsonb_array_elements(j.errors) e) x`
	}
	rows := weirtest.Values[string](t, d, fmt.Sprintf(`select format('%%s:%%s', %[1]s, count(*)) from weir.jobs j%[2]s where (%[3]s) and %[1]s is not null group by %[1]s order by count(*) desc, %[1]s`, expression, from, where))
	values := make([]value, len(rows))
	for i, row := range rows {
		at := strings.LastIndex(row, ":")
		if _, err := fmt.Sscan(row[at+1:], &values[i].Count); err != nil {
			t.Fatal(err)
		}
		values[i].Value = row[:at]
	}
	return values
}

var all = []string{"state", "queue", "kind", "error_type", "tenant", "worker", "tag", "priority"}

func TestFacetsAreThoseOfAPlainCount(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	fill(t, s.DB)
	for query, c := range map[string]struct{ filter, where string }{
		"":                              {`{}`, "true"},
		"state=available":               {`{"state": "available"}`, "j.state = 'available'"},
		"state=held,running":            {`{"state": ["held", "running"]}`, "j.state in ('held', 'running')"},
		"state=completed,dead":          {`{"state": ["completed", "dead"]}`, "j.state in ('completed', 'dead')"},
		"state=cancelled&queue=q1":      {`{"state": "cancelled", "queue": "q1"}`, "j.state = 'cancelled' and j.queue = 'q1'"},
		"state=dead":                    {`{"state": "dead"}`, "j.state = 'dead'"},
		"queue=q0,q3":                   {`{"queue": ["q0", "q3"]}`, "j.queue in ('q0', 'q3')"},
		"queue=nothing":                 {`{"queue": "nothing"}`, "false"},
		"kind=k1":                       {`{"kind": "k1"}`, "j.kind = 'k1'"},
		"tenant=acme&state=retryable":   {`{"tenant": "acme", "state": "retryable"}`, "j.tenant = 'acme' and j.state = 'retryable'"},
		"error_type=T9":                 {`{"error_type": "T9"}`, "j.errors @> '[{\"type\": \"T9\"}]'"},
		"tag=t1&has_error=true":         {`{"tag": "t1", "has_error": true}`, "'t1' = any (j.tags) and j.errors is not null"},
		"min_priority=8&max_attempts=0": {`{"min_priority": 8, "max_attempts": 0}`, "j.priority >= 8 and j.attempt = 0"},
	} {
		want := map[string][]value{}
		for _, name := range all {
			want[name] = plain(t, s.DB, name, c.where)
		}
		counted := s.Count("select count(*) from weir.jobs j where " + c.where)
		check := func(door string, got facets, names ...string) {
			for _, name := range names {
				if !slices.Equal(got.Facets[name], want[name]) {
					t.Errorf("%s %q: %s is %v, want %v", door, query, name, got.Facets[name], want[name])
				}
			}
			if got.Counted != counted || got.Estimated || got.SearchedBackTo != nil || len(got.Facets) != len(names) || len(got.Other) > 0 {
				t.Errorf("%s %q: %+v, want %d counted", door, query, got, counted)
			}
		}
		ask := func(names string) facets {
			return weirtest.Decode[facets](s.Get("/v1/jobs/facets?" + names + "&" + query).Want(http.StatusOK))
		}
		check("REST", ask("facet="+strings.Join(all, ",")), all...)
		check("REST by default", ask("limit"[:0]), "state", "queue", "kind", "error_type")
		check("REST by place", ask("facet=state&facet=queue"), "state", "queue")
		var got facets
		if err := json.Unmarshal([]byte(weirtest.Value[string](t, s.DB, "select weir.job_facets($1, '{queue,tag}')::text", c.filter)), &got); err != nil {
			t.Fatal(err)
		}
		check("SQL", got, "queue", "tag")
	}
}

func TestCallersCountTheirOwnJobsOnly(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	fill(t, s.DB)
	for name, c := range map[string]struct {
		role, where string
		bounds      obj
	}{
		"tenant":   {"reader", "j.tenant = 'acme'", obj{"tenant": "acme"}},
		"queues":   {"reader", "j.queue in ('q1', 'q3')", obj{"queues": []string{"q1", "q3*"}}},
		"both":     {"operator", "j.tenant = 'umbra' and j.queue = 'q0'", obj{"tenant": "umbra", "queues": []string{"q0"}}},
		"producer": {"producer", "false", nil},
	} {
		who := s.AsNew(name, c.bounds, c.role)
		for _, names := range []string{"state,queue", "state,queue,tenant"} {
			got := weirtest.Decode[facets](who.Get("/v1/jobs/facets?facet=" + names).Want(http.StatusOK))
			for _, facet := range strings.Split(names, ",") {
				if want := plain(t, s.DB, facet, c.where); !slices.Equal(got.Facets[facet], want) {
					t.Errorf("a key %s sees %s %v, want %v", name, facet, got.Facets[facet], want)
				}
			}
		}
	}
}

func TestFacetsHaveFiftyValuesAndTheRest(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	weirtest.Exec(t, s.DB, "select weir.enqueue('k' || least(i, 60), queue => 'q') from generate_series(1, 70) i")
	got := weirtest.Decode[facets](s.Get("/v1/jobs/facets?facet=kind").Want(http.StatusOK))
	if n := len(got.Facets["kind"]); n != 50 || got.Facets["kind"][0] != (value{"k60", 11}) || got.Other["kind"] != 10 || got.Counted != 70 {
		t.Errorf("%d values, the first %v, %d others of %d", n, got.Facets["kind"][0], got.Other["kind"], got.Counted)
	}
}

func TestCountsThatWereCutAreLowerBounds(t *testing.T) {
	weirtest.Long(t, "it fills a database with 60,000 jobs")
	t.Parallel()
	d := weirtest.New(t)
	for range 6 {
		weirtest.Exec(t, d, `select count(*) from weir.enqueue_many((select jsonb_agg(jsonb_build_object('kind', 'k' || i % 2, 'queue', 'q')) from generate_series(1, 10000) i))`)
	}
	for range 6 {
		weirtest.Exec(t, d, `select weir.complete_many(array_agg(job_id), array_agg(token)) from weir.claim('{q}', 'w', 8000)`)
	}
	for _, names := range []string{"{state,queue}", "{state,kind}"} {
		var got facets
		if err := json.Unmarshal([]byte(weirtest.Value[string](t, d, "select weir.job_facets('{}', $1, seconds => 0)::text", names)), &got); err != nil {
			t.Fatal(err)
		}
		if !got.Estimated || got.SearchedBackTo == nil || got.Counted == 0 || got.Counted >= 60_000 {
			t.Errorf("%s without time: %+v", names, got)
			continue
		}
		// What was enqueued since then is counted, to the last job.
		since := weirtest.Value[int](t, d, "select count(*)::int from weir.jobs where created_at > $1", *got.SearchedBackTo)
		open := weirtest.Value[int](t, d, "select count(*)::int from weir.jobs where created_at <= $1 and state not in ('completed', 'dead', 'cancelled')", *got.SearchedBackTo)
		if strings.Contains(names, "kind") {
			open = 0
		}
		if most := since + open + 10_000; got.Counted < since || got.Counted > most { // all of one call were enqueued at once
			t.Errorf("%s counts %d, want from %d to %d", names, got.Counted, since, most)
		}
	}
}

func TestBadFacetsAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for query, location := range map[string]string{
		"facet=args": "query.facet[0]", "facet=": "query.facet", "state=nope": "query.state[0]", "limit=3": "query.limit", "q=%22": "query.q", "priority=11": "query.priority",
	} {
		p := s.Get("/v1/jobs/facets?"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) == 0 || p.Errors[0].Location != location {
			t.Errorf("%s: %+v, want it at %s", query, p.Errors, location)
		}
	}
	for call, field := range map[string]string{
		`weir.job_facets('{"nope": 1}')`: "filter.nope", `weir.job_facets('[]')`: "filter", `weir.job_facets('{}', '{args}')`: "facets", `weir.job_facets('{}', '{}')`: "facets",
		`weir.job_facets('{}', null)`: "facets", `weir.job_facets(seconds => 6)`: "seconds", `weir.job_facets(seconds => null)`: "seconds",
	} {
		err := weirtest.TryExec(s.DB, "select "+call)
		weirtest.WantSQLState(t, err, "WR010")
		if !strings.Contains(err.Error(), field+" ") {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestFacetsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	fill(t, s.DB)
	n := s.Count("select count(*) from weir.jobs where state = 'completed' and queue = 'q2'")
	r := s.CLI("jobs", "--facets", "--queue", "q2").Says(0, "FACET", "state", "completed", fmt.Sprint(n), "jobs.")
	t.Log("\n" + r.Stdout)
	if r := s.CLI("jobs", "--facet", "tag", "--queue", "q1").Says(0, "all", "t1"); strings.Contains(r.Stdout, "completed") {
		t.Errorf("it prints more than tags:\n%s", r.Stdout)
	}
	s.CLI("jobs", "--facet", "args").Says(2)
	s.CLI("jobs", "--facets", "--watch").Says(2, "give one of the two")
}
