package alert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestCommandsOfAlerts goes through all of them.
func TestCommandsOfAlerts(t *testing.T) {
	weirtest.Long(t, "some thirty commands")
	t.Parallel()
	s := weirtest.StartNode(t)
	r, box := newReceiver(t), newMailbox(t, "starttls", "weir", "hunter2")
	t.Cleanup(s.RunChoresTelling(r.Certificate(), box.certificate))
	alerts := func(args ...string) weirtest.CLIResult {
		result := s.CLI(append([]string{"alerts"}, args...)...)
		t.Logf("weir alerts %s\n%s%s", strings.Join(args, " "), result.Stdout, result.Stderr)
		return result
	}
	alerts().Says(0, "There are no such alerts")
	alerts("rules").Says(0, "RULE", "no-active-worker", "slow-heartbeats", "failure_ratio", "0.5", "enabled")
	alerts("targets").Says(0, "There are no alert targets")

	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	alerts("targets", "add", "hook", "webhook", "url="+r.URL+"/hook").Says(0, "whsec_")
	alerts("targets", "add", "mail", "email", "host=127.0.0.1", "port="+fmt.Sprint(box.port), "username=weir", "password=@"+secret, "from=weir@example.com", "to=a@example.com,b@example.com").
		Says(0, "alert target mail is email to a@example.com,b@example.com")
	alerts("targets", "add", "mail", "slack", "url=https://example.com").Says(1, "already")
	alerts("targets", "add", "pigeon", "pigeon", "x=y").Says(2, "webhook")
	alerts("targets", "add", "bad", "slack", "url=http://example.com").Says(1, "https")
	alerts("targets", "test", "mail").Says(0, "delivered: alert target mail was told")
	r.answerWith(500)
	alerts("targets", "test", "hook").Says(1, "not delivered", "answered 500")
	r.answerWith(0)
	s.Exec("delete from weir.alert_delivery where alert_id is null and state = 'pending'")
	alerts("targets", "set", "mail", "events=opened", "timeout_seconds=5").Says(0, "alert target mail is")
	alerts("targets", "show", "mail").Says(0, "username", "starttls", `["opened"]`, "timeout_seconds")
	alerts("targets").Says(0, "TARGET", "hook", "webhook", strings.TrimPrefix(r.URL, "https://"), "a@example.com,b@example.com")

	alerts("rules", "add", "deep", "queue_depth", "threshold=0", "queue=mail*", "notify=hook,mail", "severity=critical", "clear_seconds=0", "cooldown_seconds=0").
		Says(0, "alert rule deep (queue_depth above 0) is enabled")
	alerts("rules", "add", "deep", "hunger").Says(2, "queue_depth")
	alerts("rules", "set", "deep", "quiet.from=22:00", "quiet.to=06:00", "quiet.days=sat,sun").Says(0, "enabled")
	alerts("rules", "show", "deep").Says(0, "mail*", "clear_seconds", `"days":["sat","sun"]`)
	alerts("rules", "set", "deep", "quiet=null", "description=Add mailers.").Says(0, "enabled")
	alerts("rules", "set", "deep", "threshold=-1").Says(1, "threshold")
	alerts("rules", "mute", "deep", "--for", "2h").Says(0, "muted until")
	alerts("rules", "unmute", "deep").Says(0, "enabled")

	s.Enqueue(obj{"kind": "k", "queue": "mail-eu"})
	alerts("evaluate", "deep").Says(0, "queue mail-eu has 1 job waiting", "hook,mail", "would open now")
	alerts("evaluate", "--definition", `{"condition": "queue_depth", "threshold": 5}`).Says(0, "No condition holds")
	alerts("evaluate", "--definition", `{"condition": "queue_depth", "threshold": "x"}`).Says(1, "threshold")
	alerts("evaluate", "nothing").Says(1, "no alert rule")
	s.EvaluateAlerts()
	alerts().Says(0, "ALERT", "critical", "deep", "queue mail-eu has 1 job waiting, more than 0", "open")
	id := s.Alerts("?rule=deep")[0].ID
	s.Eventually("the webhook is told", func() bool {
		return len(s.AlertDeliveries(id)) == 2 && s.Count("select count(*) from weir.alert_delivery where state = 'delivered' and alert_id is not null") == 2
	})
	alerts("show", id).Says(0, "queue mail-eu has 1 job waiting", "waiting", "hook", "opened", "delivered")
	alerts("ack", id, "--note", "adding some").Says(0, "alert "+id+" is acknowledged by", "adding some")
	alerts("ack", "999").Says(1, "no alert 999")
	alerts("ack", "x").Says(2, "not an id")
	alerts("evaluate").Says(0, "is alert "+id)
	alerts("targets", "deliveries", "hook").Says(0, "DELIVERY", "opened", "acknowledged")
	s.ClaimAs("w", 1, "mail-eu")
	s.EvaluateAlerts()
	alerts().Says(0, "There are no such alerts")
	alerts("--all").Says(0, "resolved", "adding some")
	alerts("--state", "resolved", "--json").Says(0, `"state":"resolved"`)
	alerts("stats").Says(0, "open now:", "0 critical", "RULE", "deep", "DAY (UTC)")
	alerts("targets", "delete", "mail", "--yes").Says(1, "deep")
	alerts("rules", "delete", "deep", "--yes").Says(0, "alert rule deep is gone")
	alerts("targets", "delete", "mail", "--yes").Says(0, "alert target mail is gone")
	s.CLI("complete", "--", "alerts", "rules", "show", "").Says(0, "queue-depth", "no_worker")
	s.CLI("complete", "--", "alerts", "targets", "test", "").Says(0, "hook", "webhook")
}
