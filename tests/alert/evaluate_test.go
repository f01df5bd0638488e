package alert

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// finding is what an evaluation says of one subject.
type finding struct {
	Rule, Condition, Subject, Action, Summary, At string

	Value, Threshold float64
	AlertID          string `json:"alert_id"`
	HeldUntil        string `json:"held_until"`
	Notify           []string
}

func evaluate(s *weirtest.Node, body any) []finding {
	s.T.Helper()
	return weirtest.Decode[struct{ Items []finding }](s.Post("/v1/alerts/evaluate", body).Want(http.StatusOK)).Items
}

func TestEvaluationSaysWhatWouldHappenAndStoresNothing(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	s.OnlyAlertRule("at-once", obj{"condition": "queue_depth", "threshold": 3})
	s.PutAlertRule("patient", obj{"condition": "queue_depth", "threshold": 2, "for_seconds": 600})
	s.PutAlertRule("high", obj{"condition": "queue_depth", "threshold": 30})
	s.PutAlertRule("off", obj{"condition": "queue_depth", "threshold": 0, "enabled": false})
	s.Exec("insert into weir.job_ready (queue_id, priority, seq) select weir.queue_id('mail'), 5, nextval('weir.job_id_seq') from generate_series(1, 5)")
	s.DB.Unchanged("an evaluation", func() {
		got := evaluate(s, nil)
		if len(got) != 2 || got[0].Rule != "at-once" || got[0].Action != "open" || got[0].Value != 5 || got[0].Threshold != 3 || got[0].Subject != "mail" || !strings.Contains(got[0].Summary, "5 jobs waiting") {
			t.Errorf("it says %+v", got)
		}
		if got[1].Rule != "patient" || got[1].Action != "wait" || got[1].At == "" {
			t.Errorf("of a rule that waits it says %+v", got[1])
		}
		if got = evaluate(s, obj{"rule": "off"}); len(got) != 1 || got[0].Action != "open" {
			t.Errorf("of one that is off it says %+v", got)
		}
		if got = evaluate(s, obj{"rule": "high"}); len(got) != 0 {
			t.Errorf("of one that does not hold it says %+v", got)
		}
		got = evaluate(s, obj{"definition": obj{"condition": "queue_depth", "threshold": 4, "quiet": obj{"from": "00:00", "to": "00:00"}}})
		if len(got) != 1 || got[0].Rule != "unsaved" || got[0].Action != "open" || got[0].HeldUntil == "" {
			t.Errorf("of one that is not saved it says %+v", got)
		}
		if got = evaluate(s, obj{"definition": obj{"condition": "queue_depth", "threshold": 5}}); len(got) != 0 {
			t.Errorf("at the threshold it says %+v", got)
		}
		for place, definition := range map[string]obj{
			"body.definition.threshold": {"condition": "failure_ratio", "threshold": 2}, "body.definition.queue": {"condition": "breaker_open", "queue": "q"},
			"body.definition.notify": {"condition": "breaker_open", "notify": []string{"nobody"}},
		} {
			p := s.Post("/v1/alerts/evaluate", obj{"definition": definition}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if p.Errors[0].Location != place {
				t.Errorf("%v: the problem is at %s, want %s", definition, p.Errors[0].Location, place)
			}
		}
		s.Post("/v1/alerts/evaluate", obj{"rule": "nothing"}).Problem(http.StatusNotFound, "alert_rule_not_found")
		s.Post("/v1/alerts/evaluate", obj{"rule": "off", "definition": obj{"condition": "no_worker"}}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	})
	s.EvaluateAlerts()
	if got := evaluate(s, obj{"rule": "at-once"}); len(got) != 1 || got[0].Action != "active" || got[0].AlertID != s.Alerts("")[0].ID {
		t.Errorf("with an alert it says %+v", got)
	}
	depth(s, 0)
	if got := evaluate(s, obj{"rule": "at-once"}); len(got) != 1 || got[0].Action != "clearing" || got[0].At == "" || got[0].Value != 5 {
		t.Errorf("of one that is clear it says %+v", got)
	}
	pass(s, 100)
	depth(s, 0)
	s.Exec("insert into weir.job_ready (queue_id, priority, seq) select weir.queue_id('mail'), 5, nextval('weir.job_id_seq') from generate_series(1, 5)")
	if got := evaluate(s, obj{"rule": "at-once"}); len(got) != 1 || got[0].Action != "cooldown" {
		t.Errorf("within the cooldown it says %+v", got)
	}
	rows := weirtest.Values[string](t, s.DB, "select rule_name || ' ' || action from weir.evaluate_alerts()")
	if len(rows) != 2 || rows[0] != "at-once cooldown" {
		t.Errorf("in SQL it says %q", rows)
	}
	if got := weirtest.Values[string](t, s.DB, `select subject from weir.evaluate_alerts(definition => '{"condition": "queue_depth", "threshold": 1}')`); len(got) != 1 || got[0] != "mail" {
		t.Errorf("in SQL, of one that is not saved: %q", got)
	}
}
