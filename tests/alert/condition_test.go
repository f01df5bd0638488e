package alert

import (
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// condition is one that a test makes hold, and then not.
type condition struct {
	settings obj
	subject  string
	summary  string // words of it
	hold     func(s *weirtest.Node)
	clear    func(s *weirtest.Node)
}

func exec(sql ...string) func(s *weirtest.Node) {
	return func(s *weirtest.Node) {
		for _, q := range sql {
			s.Exec(q)
		}
	}
}

// rollups has n ended attempts of a queue and kind in a minute of the roll-ups.
func rollups(queue, kind string, minutesAgo, completed, failed, dead int) func(s *weirtest.Node) {
	return func(s *weirtest.Node) {
		s.Exec("select weir.set_queue($1, '{}')", queue)
		s.Exec(`insert into weir.rollup (at, queue_id, kind, completed, failed, dead) select date_bin('1 minute', now() - make_interval(mins => $3), 'epoch'), id, $2, $4, $5, $6
			from weir.queue where name = $1`, queue, kind, minutesAgo, completed, failed, dead)
		s.Exec("insert into weir.rollup_sum (at, seconds, queue_id, kind, completed, failed, dead) select at, 60, queue_id, '', completed, failed, dead from weir.rollup where seconds = 60 on conflict do nothing")
	}
}

func worker(name, silent string) func(s *weirtest.Node) {
	return func(s *weirtest.Node) {
		s.Do("PUT", "/v1/workers/"+name, obj{"queues": []string{"mail"}}).Want(200)
		s.Exec("update weir.worker_seen set last_seen_at = now() - $2::text::interval where name = $1", name, silent)
	}
}

var conditions = map[string]condition{
	"queue_depth": {
		settings: obj{"threshold": 2}, subject: "mail", summary: "queue mail has 3 jobs waiting, more than 2",
		hold:  exec("select weir.enqueue('k', queue => 'mail') from generate_series(1, 3)", "select weir.enqueue('k', queue => 'other') from generate_series(1, 2)"),
		clear: func(s *weirtest.Node) { s.ClaimAs("w", 1, "mail") },
	},
	"oldest_waiting": {
		settings: obj{"threshold": 60}, subject: "mail", summary: "has waited for 5 min",
		hold: exec("select weir.enqueue('k', queue => 'mail')", "update weir.job set created_at = now() - interval '5 min'",
			// a job that was scheduled long ago for a short time ago has not waited long
			"select weir.enqueue('k', queue => 'other', run_at => now() - interval '10 s')", "update weir.job set created_at = now() - interval '1 day' where run_at is not null"),
		clear: func(s *weirtest.Node) { s.ClaimAs("w", 1, "mail") },
	},
	"failure_ratio": {
		settings: obj{"threshold": 0.5, "min_calls": 10}, subject: "mail", summary: "75 % of the attempts of queue mail failed within 60 min, more than 50 %",
		hold: func(s *weirtest.Node) {
			rollups("mail", "k", 10, 3, 9, 0)(s)
			rollups("quiet", "k", 10, 1, 8, 0)(s) // fewer than min_calls
			rollups("fine", "k", 10, 50, 50, 0)(s)
			rollups("old", "k", 70, 0, 50, 0)(s)
		},
		clear: exec("update weir.rollup_sum set at = at - interval '1 hour'"),
	},
	"dead_letters": {
		settings: obj{"threshold": 4, "kind": "k"}, subject: "mail", summary: "5 jobs of queue mail died within 60 min, more than 4",
		hold: func(s *weirtest.Node) {
			rollups("mail", "k", 10, 0, 0, 5)(s)
			rollups("other", "another", 10, 0, 0, 50)(s)
		},
		clear: exec("update weir.rollup set at = at - interval '1 hour'"),
	},
	"no_worker": {
		settings: obj{}, subject: "mail", summary: "queue mail has 2 jobs waiting and no worker",
		hold: exec("select weir.enqueue('k', queue => 'mail') from generate_series(1, 2)", "select weir.enqueue('k', queue => 'paused')", "select weir.pause_queue('paused')",
			"select weir.enqueue('k', queue => 'worked') from generate_series(1, 2)", "select weir.claim('{worked}', 'w')"),
		clear: func(s *weirtest.Node) { s.ClaimAs("w", 1, "mail") },
	},
	"worker_silent": {
		settings: obj{}, subject: "w1", summary: "worker w1 has not been seen for 7 min, more than 5 min",
		hold: func(s *weirtest.Node) {
			worker("w1", "400 s")(s)
			worker("w2", "200 s")(s)
			worker("drained", "400 s")(s)
			s.Post("/v1/workers/drained/drain", nil).Want(200)
		},
		clear: exec("update weir.worker_seen set last_seen_at = now()"),
	},
	"slow_heartbeats": {
		settings: obj{}, subject: "w1", summary: "worker w1 sent no heartbeat for 5", // 50 s or a little more
		hold: func(s *weirtest.Node) {
			worker("w1", "50 s")(s)
			worker("w2", "10 s")(s)
			worker("silent", "400 s")(s)
		},
		clear: exec("update weir.worker_seen set last_seen_at = now()"),
	},
	"schedule_late": {
		settings: obj{}, subject: "nightly", summary: "schedule nightly is 5 min late, more than 60 s",
		hold: exec(`select weir.set_schedule(n, '{"every_seconds": 3600, "job": {"kind": "k"}}') from unnest('{nightly,paused,fine}'::text[]) n`, "select weir.pause_schedule('paused')",
			"update weir.schedule set next_slot_at = now() - interval '5 min', due_at = now() + interval '1 hour' where name <> 'fine'"),
		clear: exec("update weir.schedule set next_slot_at = now() + interval '5 min'"),
	},
	"schedule_missed": {
		settings: obj{"window_seconds": 600}, subject: "nightly", summary: "schedule nightly missed 1 slot within 10 min, more than 0",
		hold: exec(`select weir.set_schedule(n, '{"every_seconds": 3600, "job": {"kind": "k"}}') from unnest('{nightly,fine}'::text[]) n`,
			`insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at) select id, now(), case name when 'nightly' then 'missed' else 'enqueued' end, now(), now() from weir.schedule`),
		clear: exec("update weir.schedule_slot set fired_at = fired_at - interval '11 min'"),
	},
	"breaker_open": {
		settings: obj{}, subject: "stripe", summary: "circuit breaker stripe has been open for",
		hold: exec("select weir.set_breaker('stripe')", "select weir.set_breaker('fine')", "select weir.trip_breaker('stripe')"), clear: exec("select weir.reset_breaker('stripe')"),
	},
	"workflow_late": {
		settings: obj{}, subject: "report", summary: "workflow report ran past its deadline 1 time within 60 min",
		hold: exec(`select weir.submit_workflow('{"name": "report", "deadline_seconds": 0.01, "steps": [{"name": "a", "kind": "k"}]}')`,
			`select weir.submit_workflow('{"name": "fine", "deadline_seconds": 600, "steps": [{"name": "a", "kind": "k"}]}')`, "select pg_sleep(0.02)", "select weir.run_workflow_timers(10)"),
		clear: exec("update weir.workflow set stopped_at = stopped_at - interval '61 min'"),
	},
	"database_size": {
		settings: obj{"threshold": 1000}, summary: "has a size of", hold: exec("select 1"), clear: exec(`select weir.set_alert_rule('r', '{"threshold": 1000000000000}')`),
	},
	"node_lost": {
		settings: obj{}, subject: "host/gone", summary: "node host/gone has not been seen for 100 s, more than 60 s",
		hold:  exec("insert into weir.health_check (component, node, at, ok) values ('database', 'host/gone', now() - interval '100 s', true), ('database', 'host/here', now() - interval '9 s', true)"),
		clear: exec("delete from weir.health_check where node = 'host/gone'"),
	},
}

// TestConditionOpensAndResolvesAlert makes each condition hold, looks at the only alert of its rule, and makes it clear.
func TestConditionOpensAndResolvesAlert(t *testing.T) {
	t.Parallel()
	for name, c := range conditions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weirtest.StartNode(t)
			s.OnlyAlertRule("r", weirtest.With(obj{"condition": name, "clear_seconds": 0, "cooldown_seconds": 0}, c.settings))
			s.EvaluateAlerts()
			if got := s.Alerts(""); len(got) != 0 && name != "database_size" {
				t.Fatalf("before it holds there is %+v", got)
			}
			c.hold(s)
			s.EvaluateAlerts()
			s.EvaluateAlerts()
			got := s.Alerts("")
			if len(got) != 1 {
				t.Fatalf("there are %d alerts, want one: %+v; the rule is %+v", len(got), got, get(s, "r"))
			}
			a := got[0]
			if a.State != "open" || a.Condition != name || a.Rule != "r" || c.subject != "" && a.Subject != c.subject || !strings.Contains(a.Summary, c.summary) || a.Severity != "warning" {
				t.Errorf("the alert is %+v, want subject %q and words %q", a, c.subject, c.summary)
			}
			c.clear(s)
			s.EvaluateAlerts()
			if a := s.Alerts("")[0]; a.State != "resolved" || a.ResolvedAt == nil || a.ResolvedBecause != "cleared" {
				t.Errorf("cleared it is %+v", a)
			}
			if p := get(s, "r").Problem; p != "" {
				t.Errorf("the rule has a problem: %s", p)
			}
		})
	}
}

// TestHorizonPinnedOpensAlert is apart, as its transaction must stay open.
func TestHorizonPinnedOpensAlert(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.OnlyAlertRule("r", obj{"condition": "horizon_pinned", "threshold": 0, "clear_seconds": 0})
	tx := s.DB.Tx()
	weirtest.Exec(t, tx, "set transaction isolation level repeatable read")
	pid := weirtest.Value[string](t, tx, "select pg_backend_pid()::text")
	weirtest.Eventually(t, "its transaction opens an alert", func() bool {
		s.EvaluateAlerts()
		for _, a := range s.Alerts("") {
			if a.Subject == "transaction "+pid && a.SubjectKind == "transaction" && strings.Contains(a.Summary, "xmin horizon") {
				return true
			}
		}
		return false
	})
}

// TestDepthCountsLines: the backlog of a queue with limits stands in its lines.
func TestDepthCountsLines(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.OnlyAlertRule("r", obj{"condition": "queue_depth", "threshold": 4})
	s.SetLimits("mail", `{"concurrency": 1}`)
	s.Exec("select weir.enqueue('k', queue => 'mail') from generate_series(1, 5)")
	s.Eventually("they are in lines", func() bool { return s.Count("select count(*) from weir.job_held where reason = 'line'") >= 4 })
	s.EvaluateAlerts()
	if got := s.Alerts(""); len(got) != 1 || got[0].Value != 5 || got[0].Facts["waiting"] != 5.0 {
		t.Errorf("the alerts are %+v", got)
	}
}

// TestRuleIsForSomeQueuesOfATenant: a pattern of queues, and a tenant, whose queues alone count.
func TestRuleIsForSomeQueuesOfATenant(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("delete from weir.alert_rule")
	for _, q := range []string{"mail-eu", "mail-us", "mailx", "m_il"} {
		s.Exec("select weir.enqueue('k', queue => $1)", q)
	}
	s.Do("PUT", "/v1/queues/acme-mail", obj{"tenant": "acme"}).Want(200)
	s.Exec(`select weir.enqueue('k', queue => 'acme-mail', options => '{"tenant": "acme"}')`)
	s.PutAlertRule("mails", obj{"condition": "queue_depth", "threshold": 0, "queue": "mail-*"})
	s.PutAlertRule("literal", obj{"condition": "queue_depth", "threshold": 0, "queue": "m_il"})
	s.Do("PUT", "/v1/alert-rules/theirs?tenant=acme", obj{"condition": "queue_depth", "threshold": 0}).Want(200)
	for _, queue := range []string{"failing", "acme-failing"} {
		rollups(queue, "k", 5, 1, 99, 0)(s)
	}
	s.Exec(`select weir.set_queue('acme-failing', '{"tenant": "acme"}')`)
	s.Do("PUT", "/v1/alert-rules/failures?tenant=acme", obj{"condition": "failure_ratio", "threshold": 0.5}).Want(200)
	s.Do("PUT", "/v1/alert-rules/failed-k?tenant=acme", obj{"condition": "dead_letters", "threshold": 0, "kind": "k"}).Want(200)
	s.EvaluateAlerts()
	got := map[string]string{}
	for _, a := range s.Alerts("") {
		got[a.Subject] = a.Rule + a.Tenant
	}
	want := map[string]string{"mail-eu": "mails", "mail-us": "mails", "m_il": "literal", "acme-mail": "theirsacme", "acme-failing": "failuresacme"}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for subject, rule := range want {
		if got[subject] != rule {
			t.Errorf("of %s got %q, want %q", subject, got[subject], rule)
		}
	}
	for _, c := range []string{"database_size", "horizon_pinned", "node_lost"} {
		p := s.Do("PUT", "/v1/alert-rules/x?tenant=acme", obj{"condition": c, "threshold": 60}).Problem(422, "invalid_argument")
		if p.Errors[0].Location != "body.condition" {
			t.Errorf("%s for a tenant: %+v", c, p)
		}
	}
}

// TestRealRunsAreCounted goes the whole way: jobs that fail, the roll-up, the evaluation.
func TestRealRunsAreCounted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.OnlyAlertRule("ratio", obj{"condition": "failure_ratio", "min_calls": 3})
	s.PutAlertRule("dead", obj{"condition": "dead_letters"})
	for range 4 {
		s.Kill(obj{"kind": "k", "queue": "mail", "max_attempts": 1})
	}
	weirtest.Age(t, s.DB, 5)
	weirtest.RollUp(t, s.DB, "0 s")
	s.EvaluateAlerts()
	if got := s.Alerts("?rule=ratio"); len(got) != 1 || got[0].Value != 1 || got[0].Subject != "mail" {
		t.Errorf("of failures: %+v", got)
	}
	if got := s.Alerts("?rule=dead"); len(got) != 1 || got[0].Value != 4 {
		t.Errorf("of dead letters: %+v", got)
	}
}
