package schedule

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/tests/weirtest"
)

// wantRefusal checks an error's SQLSTATE, and the argument if one is named. It returns the error's message.
func wantRefusal(t testing.TB, err error, state, column string) string {
	t.Helper()
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != state || column != "" && pg.ColumnName != column {
		t.Errorf("the error is %v (column %s), want %s of %s", err, column, state, column)
		return ""
	}
	return pg.Message
}

func TestInvalidDefinitionIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("SQL", invalidDefinitionIsRefusedSQL)
	t.Run("REST", invalidDefinitionIsRefusedREST)
}

func invalidDefinitionIsRefusedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setSchedule(t, d, "there", hourly+`}`)
	for _, c := range []struct{ definition, field, reason string }{
		{`{"job": {"kind": "k"}}`, "cron", "is required"},
		{`{"cron": "* * * * *", "every_seconds": 5, "job": {"kind": "k"}}`, "every_seconds", "excludes"},
		{`{"cron": "* * * *"}`, "cron", "4 fields where 5 or 6"},
		{`{"cron": "60 * * * *"}`, "cron", "a minute that is not from 0 to 59"},
		{`{"cron": "0 60 * * * *"}`, "cron", "a minute that is not from 0 to 59"},
		{`{"cron": "61 0 * * * *"}`, "cron", "a second that"},
		{`{"cron": "* 24 * * *"}`, "cron", "an hour that is not from 0 to 23"},
		{`{"cron": "* * 0 * *"}`, "cron", "a day of the month that is not from 1 to 31"},
		{`{"cron": "* * * 13 *"}`, "cron", "a month that"},
		{`{"cron": "* * * nov-feb *"}`, "cron", "ends before it begins"},
		{`{"cron": "* * * * mun"}`, "cron", "a day of the week that is not from 0 to 7 or a name from sun to sat"},
		{`{"cron": "* * * * 8"}`, "cron", "a day of the week"},
		{`{"cron": "*/0 * * * *"}`, "cron", "a step"},
		{`{"cron": "*/60 * * * *"}`, "cron", "a step that is not from 1 to 59"},
		{`{"cron": "1- * * * *"}`, "cron", "is not a list"},
		{`{"cron": "-1 * * * *"}`, "cron", "is not a list"},
		{`{"cron": ", * * * *"}`, "cron", "is not a list"},
		{`{"cron": "* * * * 5#6"}`, "cron", "# that is not from 1 to 5"},
		{`{"cron": "* * 5#1 * *"}`, "cron", "which only a day of the week may have"},
		{`{"cron": "* * * * L"}`, "cron", "5L is the last Friday"},
		{`{"cron": "* * L-31 * *"}`, "cron", "more than 30 days"},
		{`{"cron": "@fortnightly"}`, "cron", "none of yearly"},
		{`{"cron": "0 0 31 2,4,6 *"}`, "cron", "never fires"},
		{`{"cron": 5}`, "cron", "a string"},
		{`{"cron": "* * * * *", "timezone": "europe/berlin"}`, "timezone", "did you mean Europe/Berlin?"},
		{`{"cron": "* * * * *", "timezone": "Europe/Atlantis"}`, "timezone", "IANA"},
		{`{"every_seconds": 0}`, "every_seconds", "1 to 31536000"},
		{`{"every_seconds": 1.5}`, "every_seconds", "whole"},
		{`{"every_seconds": 60, "jitter_seconds": 60}`, "jitter_seconds", "less than every_seconds"},
		{`{"every_seconds": 60, "dst_gap": "skip"}`, "dst_gap", "only with cron"},
		{`{"every_seconds": 60, "anchor": "yesterday"}`, "anchor", "a time"},
		{`{"cron": "* * * * *", "anchor": "2026-01-01T00:00:00Z"}`, "anchor", "only with every_seconds"},
		{`{"at": "2026-01-01T00:00:00Z"}`, "at", "past"},
		{`{"cron": "* * * * *", "starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"}`, "ends_at", "after starts_at"},
		{`{"cron": "* * * * *", "overlap": "queue"}`, "overlap", "allow, skip, wait or cancel"},
		{`{"cron": "* * * * *", "misfire": ["skip"]}`, "misfire", "skip, latest or all"},
		{`{"cron": "* * * * *", "misfire_limit": 5}`, "misfire_limit", "misfire all"},
		{`{"cron": "* * * * *", "max_runs": 0}`, "max_runs", "1 to"},
		{`{"cron": "* * * * *", "paused": 1}`, "paused", "true or false"},
		{`{"cron": "* * * * *", "colour": 1}`, "colour", "not a field of a schedule"},
		{`{"cron": "* * * * *", "job": null}`, "job", "required"},
		{`{"cron": "* * * * *", "job": {}}`, "job.kind", "1 to 200"},
		{`{"cron": "* * * * *", "job": {"kind": "k", "priority": 11}}`, "job.priority", "1 to 10"},
		{`{"cron": "* * * * *", "job": {"kind": "k", "run_at": "2030-01-01T00:00:00Z"}}`, "job.run_at", "not a field of a schedule's job"},
		{`{"cron": "* * * * *", "job": {"kind": "k", "idempotency_key": "x"}}`, "job.idempotency_key", "not a field"},
		{`{"cron": "* * * * *", "workflow": {"name": "w", "steps": []}}`, "workflow.steps", "at least one"},
		{`{"cron": "* * * * *", "workflow": {"name": "w", "steps": [{"name": "a", "kind": "k", "depends_on": ["b"]}]}}`, "workflow.steps[0].depends_on[0]", ""},
		{`[]`, "definition", "object"},
	} {
		definition := c.definition
		if strings.HasPrefix(definition, "{") && !strings.Contains(definition, `"job"`) && !strings.Contains(definition, `"workflow"`) {
			definition = `{"job": {"kind": "k"}, ` + definition[1:]
		}
		for _, call := range []string{"select weir.set_schedule('new', $1::jsonb)", "select weir.set_schedule('there', $1::jsonb)"} {
			if says := wantRefusal(t, weirtest.TryExec(d, call, definition), "WR010", c.field); !strings.Contains(says, c.reason) {
				t.Errorf("%s is refused with %q, want it to say %q", definition, says, c.reason)
			}
		}
	}
	for _, name := range []string{"", "a b", "-a", strings.Repeat("x", 129)} {
		wantRefusal(t, weirtest.TryExec(d, "select weir.set_schedule($1, $2::jsonb)", name, hourly+`}`), "WR010", "name")
	}
	if n := weirtest.Value[int](t, d, `select count(*) from weir.schedules where name = 'there' and definition = '{"cron": "0 * * * *", "timezone": "UTC", "misfire": "latest", "overlap": "allow", "job": {"kind": "k", "queue": "q"}}'`); n != 1 {
		t.Error("a refusal changed something")
	}
	for _, call := range []string{
		"select weir.edit_schedule('none', '{}')", "select weir.pause_schedule('none')", "select weir.resume_schedule('none')", "select weir.delete_schedule('none')",
		"select weir.trigger_schedule('none')", "select * from weir.preview_schedule('none')",
	} {
		wantRefusal(t, weirtest.TryExec(d, call), "WR030", "")
	}
	wantRefusal(t, weirtest.TryExec(d, "select weir.set_schedule('there', $1::jsonb, replace => false)", hourly+`}`), "WR031", "")
	wantRefusal(t, weirtest.TryExec(d, "select * from weir.preview_schedule('there', 1001)"), "WR010", "count")
	wantRefusal(t, weirtest.TryExec(d, "select weir.edit_schedule('there', '{\"cron\": \"x\"}')"), "WR010", "cron")
}

func invalidDefinitionIsRefusedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for body, want := range map[string][2]string{
		`{"name": "s", "cron": "61 * * * *", "job": {"kind": "k"}}`:                                    {"body.cron", "a minute that is not from 0 to 59"},
		`{"name": "s", "cron": "* * * * *", "timezone": "Mars/Base", "job": {"kind": "k"}}`:            {"body.timezone", "IANA"},
		`{"name": "s", "cron": "* * * * *"}`:                                                           {"body.job", "is required"},
		`{"name": "s", "cron": "* * * * *", "job": {"kind": "k", "run_at": "2030-01-01T00:00:00Z"}}`:   {"body.job.run_at", "not a field of a schedule's job"},
		`{"name": "s", "cron": "* * * * *", "job": {"kind": "k", "schedule": "x"}}`:                    {"body.job.schedule", "unexpected"},
		`{"name": "s", "cron": "* * * * *", "job": {"kind": "k"}, "dst_gap": "jump"}`:                  {"body.dst_gap", "one of"},
		`{"name": "a b", "cron": "* * * * *", "job": {"kind": "k"}}`:                                   {"body.name", ""},
		`{"name": "s", "cron": "* * * * *", "at": "2040-01-01T00:00:00Z", "job": {"kind": "k"}}`:       {"body.at", "excludes"},
		`{"name": "s", "cron": "* * * * *", "workflow": {"name": "w", "steps": [{"name": "secret"}]}}`: {"body.workflow.steps[0]", ""},
	} {
		p := s.Post("/v1/schedules", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Location, want[0]) || !strings.Contains(p.Errors[0].Message, want[1]) {
			t.Errorf("%s: %+v, want %v", body, p, want)
		}
	}
	for _, field := range []string{"schedule", "slot"} {
		s.Post("/v1/jobs", `{"kind": "k", "`+field+`": "x"}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.Post("/v1/schedules", obj{"name": "s", "cron": "* * * * *", "job": obj{"kind": "k", "args": strings.Repeat("x", 1<<20)}}).Problem(http.StatusRequestEntityTooLarge, "args_too_large")
	s.Get("/v1/schedules/s").Problem(http.StatusNotFound, "schedule_not_found")
}
