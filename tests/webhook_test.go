package tests

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs/chores"
	"github.com/weirhq/weir/tests/pgtest"
	"github.com/weirhq/weir/webhook"
)

// receiver is somebody who has a webhook.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []toldEvent
	answer int // 0: 200
}

// toldEvent is what a receiver was told.
type toldEvent struct {
	ID, Event, Queue, Kind, Worker string
	JobID                          string `json:"job_id"`
	Attempt                        int
	At                             time.Time
	Error                          *struct{ Message, Type string }

	header http.Header
	body   []byte
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		e := toldEvent{header: request.Header, body: body}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("told %s: %v", body, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, e)
		if r.answer == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		if r.answer != 0 {
			w.WriteHeader(r.answer)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) told() []toldEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = status
}

// names says what a receiver was told, without what it was told twice.
func (r *receiver) names() []string {
	seen := map[string]bool{}
	var names []string
	for _, e := range r.told() {
		if !seen[e.ID] {
			names = append(names, e.JobID+" "+e.Event)
		}
		seen[e.ID] = true
	}
	slices.Sort(names)
	return names
}

// signed checks a signature as Standard Webhooks says, not as package webhook does.
func (e *toldEvent) signed(secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(e.header.Get("webhook-id") + "." + e.header.Get("webhook-timestamp") + "." + string(e.body)))
	return slices.Contains(strings.Fields(e.header.Get("webhook-signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// runTelling does the background work of a node that may tell the receivers of a test, until the function that it returns is called.
func (s *service) runTelling(databaseURL string, receivers ...*receiver) (stop func()) {
	s.t.Helper()
	roots := x509.NewCertPool()
	for _, r := range receivers {
		roots.AddCert(r.Certificate())
	}
	sender := webhook.NewSender(webhook.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: roots})
	return s.runChoresWith(databaseURL, sender)
}

func (s *service) runChoresWith(databaseURL string, sender chores.Sender) (stop func()) {
	s.t.Helper()
	c, err := chores.Open(s.t.Context(), chores.Config{DatabaseURL: databaseURL, Engine: s.engine, Sender: sender})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	return sync.OnceFunc(func() { cancel(); running.Wait() })
}

// servedWebhook is a Webhook as clients see it.
type servedWebhook struct {
	Name, URL, Secret string
	Events, Queues    []string
	Enabled           bool
	DisabledReason    string `json:"disabled_reason"`
	Pending           int
	FailingSince      *time.Time `json:"failing_since"`
}

// servedDelivery is a Delivery as clients see it.
type servedDelivery struct {
	ID, Event, State, Error string
	EventID                 string `json:"event_id"`
	Attempts, Status        int
	DurationSeconds         float64 `json:"duration_seconds"`
}

func (s *service) newWebhook(body obj) servedWebhook {
	s.t.Helper()
	return readAs[servedWebhook](s.post("/v1/webhooks", body).want(http.StatusCreated))
}

func (s *service) webhook(name string) servedWebhook {
	s.t.Helper()
	return readAs[servedWebhook](s.get("/v1/webhooks/" + name).want(http.StatusOK))
}

func (s *service) deliveries(name string) []servedDelivery {
	s.t.Helper()
	return readAs[struct{ Items []servedDelivery }](s.get("/v1/webhooks/" + name + "/deliveries").want(http.StatusOK)).Items
}

func startServiceOnNew(t *testing.T) (*service, string) {
	t.Helper()
	database := pgtest.New(t)
	s := startServiceOn(t, database.URL)
	s.pool = database.Pool()
	return s, database.URL
}

func TestAWebhookIsToldOfWhatItAskedFor(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	all, some := newReceiver(t), newReceiver(t)
	t.Cleanup(s.runTelling(url, all, some))
	before := s.enqueue(obj{"kind": "k", "queue": "q"})
	s.post("/v1/jobs/"+before+"/cancel", nil).want(http.StatusOK)
	a := s.newWebhook(obj{"name": "all", "url": all.URL, "events": []string{"enqueued", "completed", "cancelled", "dead", "failed", "retried"}})
	s.newWebhook(obj{"name": "some", "url": some.URL + "/x?y=1", "events": []string{"completed"}, "queues": []string{"q"}, "kinds": []string{"k"}})

	done := s.leased("q")
	s.post("/v1/jobs/"+done.ID+"/complete", obj{"token": done.Token, "result": "secret result"}).want(http.StatusOK)
	other := s.leased("other")
	s.post("/v1/jobs/"+other.ID+"/complete", obj{"token": other.Token}).want(http.StatusOK)
	s.post("/v1/jobs/"+other.ID+"/retry", nil).want(http.StatusOK) // before anybody was told that it is completed
	dead := s.kill(obj{"kind": "d", "queue": "q"})

	want := []string{dead + " dead", dead + " enqueued", dead + " failed", done.ID + " completed", done.ID + " enqueued", other.ID + " completed", other.ID + " enqueued", other.ID + " retried"}
	slices.Sort(want)
	s.eventually("everything is told", func() bool { return len(all.names()) >= len(want) })
	if got := all.names(); !slices.Equal(got, want) {
		t.Errorf("who asked for nearly everything was told %q, want %q", got, want)
	}
	s.eventually("something is told", func() bool { return len(some.told()) > 0 })
	if got := some.names(); !slices.Equal(got, []string{done.ID + " completed"}) {
		t.Errorf("who asked for little was told %q", got)
	}
	for _, e := range all.told() {
		if !e.signed(a.Secret) || e.ID != e.header.Get("webhook-id") || e.header.Get("content-type") != "application/json" || e.At.IsZero() || time.Since(e.At) > time.Hour {
			t.Errorf("%s came with %v", e.body, e.header)
		}
		if e.Event == "dead" && (e.Error == nil || e.Error.Message != "no "+dead || e.Queue != "q" || e.Kind != "d" || e.Attempt != 1 || e.Worker == "") {
			t.Errorf("of the death it was told %s", e.body)
		}
		if strings.Contains(string(e.body), "secret") {
			t.Errorf("the result was told: %s", e.body)
		}
	}
	s.eventually("all deliveries are noted", func() bool { return s.webhook("all").Pending == 0 })
	for _, d := range s.deliveries("all") {
		if d.State != "delivered" || d.Attempts != 1 || d.Status != 200 || d.DurationSeconds <= 0 {
			t.Errorf("the delivery is %+v", d)
		}
	}
}

// What happens while no node runs chores is told when one does again; what one was at when it ended is told by the next.
func TestAWebhookMissesNothingWhenNodesEnd(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r := newReceiver(t)
	stop := s.runTelling(url, r)
	s.newWebhook(obj{"name": "w", "url": r.URL, "events": []string{"completed"}})
	var want []string
	for round := range 4 {
		for range 15 {
			j := s.leased("q")
			s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).want(http.StatusOK)
			want = append(want, j.ID+" completed")
		}
		stop()
		if round == 3 {
			break
		}
		j := s.leased("q") // while none runs
		s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).want(http.StatusOK)
		want = append(want, j.ID+" completed")
		stop = s.runTelling(url, r)
	}
	// As if a node had died with these in hand: River has them, and nobody works them.
	s.sql("update weir.webhook_delivery set state = 'pending', next_at = now() where id in (select id from weir.webhook_delivery order by id limit 3)")
	t.Cleanup(s.runTelling(url, r))
	slices.Sort(want)
	s.eventually("everything is told", func() bool { return len(r.names()) >= len(want) && s.webhook("w").Pending == 0 })
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("told were %d events, want %d", len(got), len(want))
	}
}

// A transaction that is open for long holds up nobody's events, and its own are told when it commits.
func TestAWebhookIsToldOfWhatCommitsLate(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r := newReceiver(t)
	t.Cleanup(s.runTelling(url, r))
	s.newWebhook(obj{"name": "w", "url": r.URL, "events": []string{"completed"}})
	late, soon := s.leased("q"), s.leased("q")
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(t, tx, "select weir.complete($1::text::bigint, $2::text::bigint)", late.ID, late.Token)
	s.post("/v1/jobs/"+soon.ID+"/complete", obj{"token": soon.Token}).want(http.StatusOK)
	s.eventually("the other one is told", func() bool { return slices.Equal(r.names(), []string{soon.ID + " completed"}) })
	commit(t, tx)
	s.eventually("the late one is told", func() bool { return slices.Contains(r.names(), late.ID+" completed") })
}

func TestADeliveryThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r := newReceiver(t)
	t.Cleanup(s.runTelling(url, r))
	s.newWebhook(obj{"name": "w", "url": r.URL, "events": []string{"cancelled"}})
	r.answers(http.StatusInternalServerError)
	id := s.enqueue(obj{"kind": "k", "queue": "q"})
	s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)
	s.eventually("the failure is noted", func() bool { d := s.deliveries("w"); return len(d) == 1 && d[0].Attempts > 0 })
	if d := s.deliveries("w")[0]; d.State != "pending" || d.Status != 500 || !strings.Contains(d.Error, "500") {
		t.Errorf("after the first attempt it is %+v", d)
	}
	if w := s.webhook("w"); !w.Enabled || w.FailingSince == nil || w.Pending != 1 {
		t.Errorf("the webhook is %+v", w)
	}
	r.answers(0)
	s.eventually("River has it to try again", func() bool {
		return s.count("select count(*) from weir_river.river_job where kind = 'webhook' and state in ('retryable', 'available', 'completed') and attempt >= 1") == 1
	})
	s.eventually("it is delivered", func() bool { return s.deliveries("w")[0].State == "delivered" })
	told := r.told()
	if n := len(told); n < 2 || told[0].ID != told[n-1].ID || s.deliveries("w")[0].Attempts != n || s.webhook("w").FailingSince != nil {
		t.Errorf("told %d times, the delivery is %+v, the webhook %+v", n, s.deliveries("w")[0], s.webhook("w"))
	}
}

func TestAWebhookThatFailsForLongIsDisabled(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r, gone := newReceiver(t), newReceiver(t)
	t.Cleanup(s.runTelling(url, r, gone))
	s.newWebhook(obj{"name": "w", "url": r.URL, "events": []string{"cancelled"}, "disable_after_seconds": 60})
	s.newWebhook(obj{"name": "gone", "url": gone.URL, "events": []string{"cancelled"}})
	r.answers(http.StatusFound)
	gone.answers(http.StatusGone)
	s.sql("update weir.webhook set failing_since = now() - interval '2 minutes' where name = 'w'")
	id := s.enqueue(obj{"kind": "k", "queue": "q"})
	s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)
	s.eventually("they are disabled", func() bool { return !s.webhook("w").Enabled && !s.webhook("gone").Enabled })
	if w := s.webhook("w"); !strings.Contains(w.DisabledReason, "every attempt has failed since") || !strings.Contains(w.DisabledReason, "302") || w.Pending != 0 {
		t.Errorf("the webhook is %+v", w)
	}
	if w := s.webhook("gone"); !strings.Contains(w.DisabledReason, "410") {
		t.Errorf("the one that is gone is %+v", w)
	}
	if n := len(r.told()); n != 1 {
		t.Errorf("%d calls came, want one: a redirect is not followed", n)
	}
	if d := s.deliveries("w")[0]; d.State != "failed" || d.Status != http.StatusFound {
		t.Errorf("the delivery is %+v", d)
	}
	// Enabled again it is told of what happens from then on.
	r.answers(0)
	missed := s.enqueue(obj{"kind": "k", "queue": "q"})
	s.post("/v1/jobs/"+missed+"/cancel", nil).want(http.StatusOK)
	s.post("/v1/webhooks/w/enable", nil).want(http.StatusOK)
	next := s.enqueue(obj{"kind": "k", "queue": "q"})
	s.post("/v1/jobs/"+next+"/cancel", nil).want(http.StatusOK)
	s.eventually("it is told again", func() bool { return slices.Contains(r.names(), next+" cancelled") })
	if slices.Contains(r.names(), missed+" cancelled") {
		t.Error("it was told of what happened while it was disabled")
	}
}

func TestAWebhookMayNotReachIntoTheNetwork(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r := newReceiver(t)
	roots := x509.NewCertPool()
	roots.AddCert(r.Certificate())
	t.Cleanup(s.runChoresWith(url, webhook.NewSender(webhook.Config{RootCAs: roots})))
	port := r.URL[strings.LastIndex(r.URL, ":"):]
	addresses := []string{
		r.URL, "https://localhost" + port, "https://[::1]" + port, "https://[::ffff:127.0.0.1]" + port, "https://169.254.169.254/latest", "https://10.0.0.1", "https://0.0.0.0" + port,
		"https://192.168.1.1", "https://[fd00::1]", "https://[fe80::1]", "https://100.64.0.1", "https://[64:ff9b::7f00:1]" + port,
	}
	for i, address := range addresses {
		name := fmt.Sprint("w", i)
		s.newWebhook(obj{"name": name, "url": address, "events": []string{"dead"}})
		s.post("/v1/webhooks/"+name+"/test", nil).want(http.StatusAccepted)
	}
	for i, address := range addresses {
		name := fmt.Sprint("w", i)
		s.eventually(address+" is tried", func() bool { return s.deliveries(name)[0].Attempts > 0 })
		if d := s.deliveries(name)[0]; d.State != "pending" || !strings.Contains(d.Error, "not public") {
			t.Errorf("%s: %+v", address, d)
		}
	}
	if n := len(r.told()); n != 0 {
		t.Errorf("the receiver was called %d times", n)
	}
}

func TestAWebhookIsTestedAndItsSecretRotated(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r := newReceiver(t)
	t.Cleanup(s.runTelling(url, r))
	first := s.newWebhook(obj{"name": "w", "url": r.URL, "events": []string{"dead"}})
	if s.webhook("w").Secret != "" || strings.Contains(string(s.get("/v1/webhooks").want(http.StatusOK).body), first.Secret) {
		t.Error("the secret is shown again")
	}
	s.post("/v1/webhooks/w/disable", obj{"reason": "moving"}).want(http.StatusOK)
	tested := func(n int) toldEvent {
		t.Helper()
		s.post("/v1/webhooks/w/test", nil).want(http.StatusAccepted)
		s.eventually("the test comes", func() bool { return len(r.told()) == n })
		return r.told()[n-1]
	}
	if e := tested(1); e.Event != "test" || !e.signed(first.Secret) {
		t.Errorf("the test was %s, signed: %t", e.body, e.signed(first.Secret))
	}
	second := readAs[servedWebhook](s.post("/v1/webhooks/w/rotate", nil).want(http.StatusOK))
	if e := tested(2); !e.signed(first.Secret) || !e.signed(second.Secret) || first.Secret == second.Secret {
		t.Error("for a day it is to be signed with both secrets")
	}
	third := readAs[servedWebhook](s.post("/v1/webhooks/w/rotate", obj{"keep_old_seconds": 0}).want(http.StatusOK))
	if e := tested(3); e.signed(second.Secret) || !e.signed(third.Secret) {
		t.Error("it is to be signed with the new secret alone")
	}
}
