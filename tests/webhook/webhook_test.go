package webhook

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWebhookGetsChosenEvents(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	all, some := weirtest.NewWebhookReceiver(t), weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(all, some))
	before := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+before+"/cancel", nil).Want(http.StatusOK)
	a := s.AddWebhook(obj{"name": "all", "url": all.URL, "events": []string{"enqueued", "completed", "cancelled", "dead", "failed", "retried"}})
	s.AddWebhook(obj{"name": "some", "url": some.URL + "/x?y=1", "events": []string{"completed"}, "queues": []string{"q"}, "kinds": []string{"k"}})

	done := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+done.ID+"/complete", obj{"token": done.Token, "result": "secret result"}).Want(http.StatusOK)
	other := s.EnqueueAndClaim("other")
	s.Post("/v1/jobs/"+other.ID+"/complete", obj{"token": other.Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+other.ID+"/retry", nil).Want(http.StatusOK) // before any receiver was told that it is completed
	dead := s.Kill(obj{"kind": "d", "queue": "q"})

	want := []string{dead + " dead", dead + " enqueued", dead + " failed", done.ID + " completed", done.ID + " enqueued", other.ID + " completed", other.ID + " enqueued", other.ID + " retried"}
	slices.Sort(want)
	s.Eventually("everything is told", func() bool { return len(all.EventNames()) >= len(want) })
	if got := all.EventNames(); !slices.Equal(got, want) {
		t.Errorf("who asked for nearly everything was told %q, want %q", got, want)
	}
	s.Eventually("something is told", func() bool { return len(some.Received()) > 0 })
	if got := some.EventNames(); !slices.Equal(got, []string{done.ID + " completed"}) {
		t.Errorf("who asked for little was told %q", got)
	}
	for _, e := range all.Received() {
		if !e.Signed(a.Secret) || e.ID != e.Header.Get("webhook-id") || e.Header.Get("content-type") != "application/json" || e.At.IsZero() || time.Since(e.At) > time.Hour {
			t.Errorf("%s came with %v", e.Body, e.Header)
		}
		if e.Event == "dead" && (e.Error == nil || e.Error.Message != "" || e.Queue != "q" || e.Kind != "d" || e.Attempt != 1 || e.Worker == "") {
			t.Errorf("of the death it was told %s", e.Body)
		}
		if strings.Contains(string(e.Body), "secret") {
			t.Errorf("the result was told: %s", e.Body)
		}
	}
	s.Eventually("all deliveries are noted", func() bool { return s.Webhook("all").Pending == 0 })
	deliveries := s.Deliveries("all")
	if len(deliveries) != len(want) {
		t.Errorf("got %d deliveries, want %d", len(deliveries), len(want))
	}
	for _, d := range deliveries {
		if d.State != "delivered" || d.Attempts != 1 || d.Status != 200 || d.DurationSeconds <= 0 {
			t.Errorf("the delivery is %+v", d)
		}
	}
}

// Events from a time without chores are delivered once a node runs chores again. A delivery interrupted by the end of a
// node is repeated by the next one.
func TestWebhookMissesNothingWhenNodesStop(t *testing.T) {
	weirtest.Long(t, "it stops nodes")
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	stop := s.RunChoresSendingTo(r)
	s.AddWebhook(obj{"name": "w", "url": r.URL, "events": []string{"completed"}})
	var want []string
	for round := range 4 {
		for range 15 {
			j := s.EnqueueAndClaim("q")
			s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
			want = append(want, j.ID+" completed")
		}
		stop()
		if round == 3 {
			break
		}
		j := s.EnqueueAndClaim("q") // while no node runs chores
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		want = append(want, j.ID+" completed")
		stop = s.RunChoresSendingTo(r)
	}
	// As if a node had died with these in hand: River has them, and no node works them.
	s.Exec("update weir.webhook_delivery set state = 'pending', next_at = now() where id in (select id from weir.webhook_delivery order by id limit 3)")
	t.Cleanup(s.RunChoresSendingTo(r))
	slices.Sort(want)
	s.Eventually("everything is told", func() bool { return len(r.EventNames()) >= len(want) && s.Webhook("w").Pending == 0 })
	if got := r.EventNames(); !slices.Equal(got, want) {
		t.Errorf("told were %d events, want %d", len(got), len(want))
	}
}

// A long open transaction delays no other events, and its own are sent after its commit.
func TestWebhookGetsLateCommits(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(r))
	s.AddWebhook(obj{"name": "w", "url": r.URL, "events": []string{"completed"}})
	late, soon := s.EnqueueAndClaim("q"), s.EnqueueAndClaim("q")
	tx, err := s.DB.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	weirtest.Exec(t, tx, "select weir.complete($1::text::bigint, $2::text::bigint)", late.ID, late.Token)
	s.Post("/v1/jobs/"+soon.ID+"/complete", obj{"token": soon.Token}).Want(http.StatusOK)
	s.Eventually("the other one is told", func() bool { return slices.Equal(r.EventNames(), []string{soon.ID + " completed"}) })
	weirtest.Commit(t, tx)
	s.Eventually("the late one is told", func() bool { return slices.Contains(r.EventNames(), late.ID+" completed") })
}

// Many jobs enqueued at one moment, and much that happens, are noted in bounded steps, each event once.
func TestWebhooksCatchUpInBoundedSteps(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_webhook('w', '{"url": "https://example.com", "events": ["enqueued", "completed"]}')`)
	weirtest.Exec(t, d, "select weir.enqueue_many((select jsonb_agg('{\"kind\": \"k\", \"queue\": \"q\"}'::jsonb) from generate_series(1, 1000)))")
	weirtest.Complete(t, d, weirtest.Claim(t, d, "q", 700)...)
	weirtest.Tick(t, d)
	most := 0
	for range 100 {
		n := weirtest.Value[int](t, d, "select noted from weir.create_deliveries((select id from weir.webhook), 100)")
		if n == 0 && !weirtest.Value[bool](t, d, "select behind from weir.create_deliveries((select id from weir.webhook), 100)") {
			break
		}
		most = max(most, n)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', count(*), count(distinct event_id), count(*) filter (where event = 'enqueued')) from weir.webhook_delivery"); got != "1700 1700 1000" {
		t.Errorf("noted are %s", got)
	}
	if most > 900 { // 100 enqueued, and 100 completed with those of the same moment
		t.Errorf("one step noted %d", most)
	}
}

// What a command writes to standard error can hold secrets: a webhook gets an error's type, and the beginning of its message only
// if it asks for it.
func TestWebhookGetsTextOfErrorsOnlyIfItAsks(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	typed, told := weirtest.NewWebhookReceiver(t), weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(typed, told))
	s.AddWebhook(obj{"name": "typed", "url": typed.URL, "events": []string{"failed", "dead"}})
	s.AddWebhook(obj{"name": "told", "url": told.URL, "events": []string{"failed", "dead"}, "error_text": true})
	s.Enqueue(obj{"kind": "k", "queue": "q", "max_attempts": 1})
	j := s.ClaimOne("q")
	message := "exit status 1: " + strings.Repeat("é", 3000)
	s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": message, "type": "exit"}}).Want(http.StatusOK)
	for r, want := range map[*weirtest.WebhookReceiver]string{typed: "", told: string([]rune(message)[:200])} {
		s.Eventually("both are told", func() bool { return len(r.Received()) >= 2 })
		for _, e := range r.Received() {
			if e.Error == nil || e.Error.Message != want || e.Error.Type != "exit" {
				t.Errorf("it was told %s", e.Body)
			}
		}
	}
	if changed := s.Do(http.MethodPatch, "/v1/webhooks/told", obj{"error_text": false}).Want(http.StatusOK); !strings.Contains(changed.String(), `"error_text":false`) {
		t.Errorf("it is now %s", changed)
	}
	if got := s.Job(j.ID); !strings.Contains(string(got.Error), message) {
		t.Errorf("the job has the error %.100s", got.Error)
	}
}
