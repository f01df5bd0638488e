package alert

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
	"github.com/weirhq/weir/webhook"
)

func TestFailedAttemptIsMadeAgain(t *testing.T) {
	weirtest.Long(t, "it waits for retries")
	t.Parallel()
	s := startWithoutJobs(t)
	r, box := newReceiver(t), newMailbox(t, "starttls", "", "")
	box.refuseNext = 1
	r.answerWith(http.StatusInternalServerError)
	addTarget(s, obj{"name": "slack", "kind": "slack", "url": r.URL})
	addTarget(s, obj{"name": "mail", "kind": "email", "host": "127.0.0.1", "port": box.port, "from": "weir@example.com", "to": []string{"ops@example.com"}})
	t.Cleanup(s.RunChoresTelling(r.Certificate(), box.certificate))
	s.OnlyAlertRule("r", obj{"condition": "queue_depth", "threshold": 0, "notify": []string{"slack", "mail"}})
	depth(s, 1)
	id := s.Alerts("")[0].ID
	deliveries := func() map[string]weirtest.AlertDelivery {
		all := map[string]weirtest.AlertDelivery{}
		for _, d := range s.AlertDeliveries(id) {
			all[d.Target] = d
		}
		return all
	}
	s.Eventually("both are tried", func() bool { return deliveries()["slack"].Attempts > 0 && deliveries()["mail"].Attempts > 0 })
	if d := deliveries()["slack"]; d.State != "pending" || !strings.Contains(d.Error, "answered 500") {
		t.Errorf("Slack's delivery is %+v", d)
	}
	r.answerWith(0)
	s.Eventually("both are delivered", func() bool {
		return deliveries()["slack"].State == "delivered" && deliveries()["mail"].State == "delivered"
	})
	if d := deliveries()["mail"]; d.Attempts != 2 || len(box.received()) != 1 {
		t.Errorf("the letter took %d attempts, and %d came", d.Attempts, len(box.received()))
	}
	if n := s.Metric("weir_alert_attempts_total", `kind="email"`, `result="failed"`); n != 1 {
		t.Errorf("the metrics count %v failed letters", n)
	}
}

// TestAttemptsEnd makes the last one.
func TestAttemptsEnd(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	r := newReceiver(t)
	r.answerWith(http.StatusForbidden)
	addTarget(s, obj{"name": "slack", "kind": "slack", "url": r.URL})
	s.OnlyAlertRule("r", obj{"condition": "queue_depth", "threshold": 0, "notify": []string{"slack"}})
	depth(s, 1)
	s.Exec("update weir.alert_delivery set attempts = 19")
	t.Cleanup(s.RunChoresTelling(r.Certificate()))
	id := s.Alerts("")[0].ID
	s.Eventually("it has failed", func() bool { return s.AlertDeliveries(id)[0].State == "failed" })
	if d := s.AlertDeliveries(id)[0]; d.Attempts != 20 || !strings.Contains(d.Error, "403") {
		t.Errorf("the delivery is %+v", d)
	}
}

func TestTargetsCannotReachPrivateNetwork(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r, box := newReceiver(t), newMailbox(t, "plain", "", "")
	t.Cleanup(s.RunChoresTellingWith(webhook.Config{RootCAs: pool(r.Certificate())}))
	port := r.URL[strings.LastIndex(r.URL, ":"):]
	targets := []obj{
		{"kind": "slack", "url": r.URL},
		{"kind": "webhook", "url": "https://localhost" + port},
		{"kind": "slack", "url": "https://169.254.169.254/latest"},
		{"kind": "pagerduty", "url": "https://10.0.0.1", "routing_key": "k"},
		{"kind": "email", "host": "127.0.0.1", "port": box.port, "tls": "none", "from": "a@example.com", "to": []string{"b@example.com"}},
		{"kind": "email", "host": "localhost", "port": box.port, "tls": "none", "from": "a@example.com", "to": []string{"b@example.com"}},
		{"kind": "email", "host": "169.254.169.254", "port": 25, "tls": "implicit", "from": "a@example.com", "to": []string{"b@example.com"}},
	}
	for i, body := range targets {
		name := fmt.Sprint("t", i)
		addTarget(s, weirtest.With(body, obj{"name": name}))
		s.Post("/v1/alert-targets/"+name+"/test", nil).Want(http.StatusAccepted)
	}
	for i, body := range targets {
		path := fmt.Sprint("/v1/alert-targets/t", i, "/deliveries")
		var d weirtest.AlertDelivery
		s.Eventually(fmt.Sprint(body, " is tried"), func() bool {
			d = weirtest.Decode[weirtest.Page[weirtest.AlertDelivery]](s.Get(path).Want(http.StatusOK)).Items[0]
			return d.Attempts > 0
		})
		if d.State != "pending" || !strings.Contains(d.Error, "not public") {
			t.Errorf("%v: %+v", body, d)
		}
	}
	if len(r.received())+len(box.received()) != 0 {
		t.Error("a receiver was reached")
	}
}

func pool(certificates ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certificates {
		p.AddCert(c)
	}
	return p
}

// TestTwoNodesTellOnce lets two nodes evaluate at once, again and again, and send.
func TestTwoNodesTellOnce(t *testing.T) {
	weirtest.Long(t, "it waits for deliveries")
	t.Parallel()
	d := weirtest.New(t)
	a, b := weirtest.StartNodeOn(t, d), weirtest.StartNodeWith(t, d, jobs.Config{})
	r := newReceiver(t)
	addTarget(a, obj{"name": "hook", "kind": "webhook", "url": r.URL})
	a.OnlyAlertRule("r", obj{"condition": "queue_depth", "threshold": 0, "clear_seconds": 0, "cooldown_seconds": 0, "notify": []string{"hook"}})
	t.Cleanup(a.RunChoresTelling(r.Certificate()))
	t.Cleanup(b.RunChoresTelling(r.Certificate()))
	const queues = 30
	for i := range queues {
		a.Enqueue(obj{"kind": "k", "queue": fmt.Sprint("q", i)})
	}
	evaluate := func() {
		done := make(chan error)
		for _, n := range []*weirtest.Node{a, b, a, b} {
			go func() { done <- n.Engine.EvaluateAlerts(t.Context()) }()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	count := func() map[string]int {
		counts := map[string]int{}
		for _, p := range r.received() {
			counts[p.json["event"].(string)+" "+p.json["subject"].(string)]++
		}
		return counts
	}
	for range 3 {
		evaluate()
	}
	a.Eventually("all are told of the opening", func() bool { return len(count()) == queues })
	for i := range queues {
		a.ClaimAs("w", 1, fmt.Sprint("q", i))
	}
	for range 3 {
		evaluate()
	}
	a.Eventually("all are told of the end", func() bool { return len(count()) == 2*queues })
	a.Eventually("nothing is left", func() bool { return a.Count("select count(*) from weir.alert_delivery where state = 'pending'") == 0 })
	for what, n := range count() {
		if n != 1 {
			t.Errorf("%s was told %d times", what, n)
		}
	}
	if n := a.Count("select count(*) from weir.alert"); n != queues {
		t.Errorf("there are %d alerts, want %d", n, queues)
	}
}

// TestAlertOfAKilledNodeStillComes kills a node that is sending, with the message half way, and one that noted what to send.
func TestAlertOfAKilledNodeStillComes(t *testing.T) {
	weirtest.Long(t, "it starts and kills a node")
	t.Parallel()
	d := weirtest.New(t)
	r := newReceiver(t)
	r.hang = make(chan struct{}) // no answer comes while the first node lives
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	dying, process := weirtest.StartServe(t, d, "WEIR_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8", "WEIR_WEBHOOK_CA_FILE="+file, "WEIR_PUBLIC_URL=https://weir.example.com")
	addTarget(dying, obj{"name": "hook", "kind": "webhook", "url": r.URL, "timeout_seconds": 30})
	dying.OnlyAlertRule("r", obj{"condition": "queue_depth", "threshold": 0, "notify": []string{"hook"}})
	dying.Enqueue(obj{"kind": "k", "queue": "under-way"})
	weirtest.Eventually(t, "its chore has found the alert, and it is sending", func() bool { return len(r.received()) == 1 })
	process.Kill()
	// Another evaluates, and dies before it sends.
	second := weirtest.StartNodeOn(t, d)
	second.Enqueue(obj{"kind": "k", "queue": "noted"})
	second.EvaluateAlerts()
	r.mu.Lock()
	hang := r.hang
	r.hang = nil
	r.mu.Unlock()
	close(hang)

	t.Cleanup(second.RunChoresTelling(r.Certificate()))
	second.Exec("update weir.alert_delivery set next_at = next_at - interval '90 s' where takes > 0") // that much time passes
	second.Eventually("all is delivered", func() bool {
		return second.Count("select count(*) from weir.alert_delivery where state = 'delivered'") == 2
	})
	ids := map[string]string{}
	for _, p := range r.received() {
		subject := p.json["subject"].(string)
		if id := p.header.Get("webhook-id"); ids[subject] != "" && ids[subject] != id {
			t.Errorf("of %s it was told as %s and as %s", subject, ids[subject], id)
		} else {
			ids[subject] = id
		}
	}
	if len(ids) != 2 || len(r.received()) != 3 {
		t.Errorf("told of %v in %d messages", ids, len(r.received()))
	}
	if link := r.received()[0].json["link"]; !strings.HasPrefix(fmt.Sprint(link), "https://weir.example.com/v1/alerts/") {
		t.Errorf("the link is %v", link)
	}
}

// TestStoppedNodeIsNotLost stops one node in good order and kills another.
func TestStoppedNodeIsNotLost(t *testing.T) {
	weirtest.Long(t, "it starts nodes")
	t.Parallel()
	d := weirtest.New(t)
	stopped, stopping := weirtest.StartServe(t, d)
	_, killed := weirtest.StartServe(t, d)
	watching := weirtest.StartNodeOn(t, d)
	_ = stopped
	watching.Eventually("all nodes have checked their health", func() bool {
		return watching.Count("select count(distinct node) from weir.health_check where node <> ''") == 3
	})
	stopping.Stop()
	killed.Kill()
	watching.OnlyAlertRule("r", obj{"condition": "node_lost"})
	watching.Exec("update weir.health_check set at = at - interval '100 s' where node <> $1", watching.Engine.Node())
	watching.EvaluateAlerts()
	if got := watching.Alerts(""); len(got) != 1 || got[0].SubjectKind != "node" {
		t.Errorf("the alerts are %+v", got)
	}
}
