package encryption

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// args are args with the planted secret.
func args(n int) obj { return obj{"n": n, "card": planted} }

func wantArgs(t *testing.T, where string, got []byte, n int) {
	t.Helper()
	var read struct {
		N    int
		Card string
	}
	if err := json.Unmarshal(got, &read); err != nil || read.N != n || read.Card != planted {
		t.Errorf("%s: the args are %s", where, got)
	}
}

func TestArgsResultsAndErrorsAreEncrypted(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	single := s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1), "max_attempts": 1})
	mixed := s.EnqueueAll([]obj{
		{"kind": "k", "queue": "secret", "args": args(2), "tags": []string{"t"}}, {"kind": "k", "queue": "plain", "args": obj{"n": 3}}, {"kind": "k", "queue": "secret"},
	})
	wantArgs(t, "the job", s.Job(single).Args, 1)
	if got := string(s.Job(mixed[1]).Args); got != `{"n":3}` || s.Count("select count(*) from weir.job where args = '{\"n\": 3}'") != 1 {
		t.Errorf("the plain job has %s", got)
	}
	claimed := s.Claim(10, "secret", "plain")
	if len(claimed) != 4 {
		t.Fatalf("%d jobs were claimed", len(claimed))
	}
	result := obj{"paid": planted}
	for _, c := range claimed {
		s.Post("/v1/jobs/"+c.ID+"/logs", obj{"token": c.Token, "lines": []obj{{"message": "m"}, {"message": "charged " + planted, "level": "warn", "fields": obj{"card": planted}}}}).Want(http.StatusOK)
		if c.Queue == "plain" { // readable in the database
			s.Exec("delete from weir.job_log where job_id = $1::text::bigint", c.ID)
		} else if text := string(s.Get("/v1/jobs/" + c.ID + "/logs?level=warn").Want(http.StatusOK).Body); !strings.Contains(text, `"message":"charged `+planted+`","fields":{"card":"`+planted+`"}`) {
			t.Errorf("the log is %s", text)
		}
		switch c.ID {
		case single:
			wantArgs(t, "the claim", c.Args, 1)
			s.Post("/v1/jobs/"+c.ID+"/fail", obj{"token": c.Token, "error": obj{"type": "CardError", "message": "declined: " + planted, "stack": planted}}).Want(http.StatusOK)
		case mixed[0]:
			wantArgs(t, "the claim", c.Args, 2)
			s.Post("/v1/jobs/"+c.ID+"/complete", obj{"token": c.Token, "result": result}).Want(http.StatusOK)
		default:
			if got := s.Acks(obj{"id": c.ID, "token": c.Token, "outcome": "complete", "result": obj{"n": 7}}); got != "ok" {
				t.Errorf("the ack is %s", got)
			}
		}
	}
	wantHidden(t, s.DB, planted)

	if got := string(s.Job(mixed[0]).Result); got != `{"paid":"`+planted+`"}` {
		t.Errorf("the result is %s", got)
	}
	if n := s.Count("select count(*) from weir.job_outcome where weir.is_encrypted(result)"); n != 2 {
		t.Errorf("%d results are encrypted", n)
	}
	dead := s.Job(single)
	if text := string(dead.Error); !strings.Contains(text, "declined: "+planted) || !strings.Contains(text, "CardError") || strings.Contains(text, "encrypted") {
		t.Errorf("the error is %s", text)
	}
	for _, path := range []string{"/v1/jobs/" + single, "/v1/jobs?queue=secret", "/v1/dead", "/v1/dead/" + single, "/v1/jobs/" + single + "/timeline"} {
		text := string(s.Get(path).Want(http.StatusOK).Body)
		if !strings.Contains(text, "declined: "+planted) || strings.Contains(text, "weir:encrypted") || strings.Contains(text, "(encrypted)") {
			t.Errorf("%s: %.1500s", path, text)
		}
	}
	wantArgs(t, "the list", weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?queue=secret&state=dead").Want(http.StatusOK)).Items[0].Args, 1)
	if got := weirtest.Value[string](t, s.DB, "select error_type || ' ' || error_message from weir.dead_letters"); got != "CardError (encrypted)" {
		t.Errorf("SQL has the error %s", got)
	}
}

func TestWorkflowsAndSchedulesAreEncrypted(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	step := func(name string, more obj) obj {
		step := obj{"name": name, "kind": "k", "queue": "secret", "args": args(1)}
		for k, v := range more {
			step[k] = v
		}
		return step
	}
	s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{
		step("first", nil), step("then", obj{"depends_on": []string{"first"}}),
		{"name": "child", "depends_on": []string{"then"}, "workflow": obj{"name": "inner", "steps": []obj{step("inside", nil)}}},
	}}).Want(http.StatusCreated)
	first := s.ClaimOne("secret")
	wantArgs(t, "a step", first.Args, 1)
	s.Post("/v1/jobs/"+first.ID+"/complete", obj{
		"token": first.Token, "result": planted + " result", "add_steps": []obj{step("added", nil)},
	}).Want(http.StatusOK)
	var inputs int
	for _, c := range append(s.Claim(1, "secret"), s.ClaimPatiently(obj{"queues": []string{"secret"}, "worker": "w", "wait_seconds": 20}).Jobs...) {
		wantArgs(t, "a later step", c.Args, 1)
		if strings.Contains(string(c.Dependencies), `"first":"`+planted+` result"`) {
			inputs++
			if got := string(s.Get("/v1/jobs/" + c.ID + "/dependencies").Want(http.StatusOK).Body); !strings.Contains(got, planted+" result") {
				t.Errorf("the dependencies are %s", got)
			}
		}
		s.Post("/v1/jobs/"+c.ID+"/complete", obj{"token": c.Token}).Want(http.StatusOK)
	}
	if inputs != 1 {
		t.Errorf("%d steps got the result of the first", inputs)
	}
	wantArgs(t, "the step of a child", s.ClaimPatiently(obj{"queues": []string{"secret"}, "worker": "w", "wait_seconds": 20}).Jobs[0].Args, 1)

	job := obj{"kind": "s", "queue": "secret", "args": args(4)}
	s.Do("PUT", "/v1/schedules/s", obj{"every_seconds": 3600, "job": job}).Want(http.StatusOK)
	s.Post("/v1/schedules/s/trigger", nil).Want(http.StatusCreated)
	wantArgs(t, "a schedule's job", s.ClaimOne("secret").Args, 4)
	if got := string(s.Get("/v1/schedules/s").Want(http.StatusOK).Body); !strings.Contains(got, planted) {
		t.Errorf("the schedule is %s", got)
	}
	job["args"] = obj{"at": "{{scheduled_at}}"}
	s.Do("PUT", "/v1/schedules/s", obj{"every_seconds": 3600, "job": job}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	wantHidden(t, s.DB, planted)
}

// What was made before a queue is encrypted stays as it is, and what comes after is encrypted: schedules' jobs too.
func TestTheSettingCountsForWhatComesAfter(t *testing.T) {
	t.Parallel()
	s := startNode(t, weirtest.New(t), keyFile(t))
	s.Do("PUT", "/v1/schedules/s", obj{"every_seconds": 3600, "job": obj{"kind": "k", "queue": "q", "args": args(1)}}).Want(http.StatusOK)
	s.Do("PUT", "/v1/schedules/w", obj{"every_seconds": 3600, "workflow": obj{"name": "w", "steps": []obj{{"name": "a", "kind": "k", "queue": "q", "args": args(1)}}}}).Want(http.StatusOK)
	before := s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"early": true}})
	s.CLI("queue", "set", "q", "encrypted=true").Says(0)
	if got := string(s.Get("/v1/queues/q").Want(http.StatusOK).Body); !strings.Contains(got, `"encrypted":true`) {
		t.Errorf("the queue is %s", got)
	}
	if n := s.Count("select count(*) from weir.audit where operation = 'editQueue' and after ->> 'encrypted' = 'true'"); n != 1 {
		t.Errorf("the audit trail has %d entries", n)
	}
	s.Exec("vacuum full weir.schedule")
	wantHidden(t, s.DB, planted)
	s.Post("/v1/schedules/s/trigger", nil).Want(http.StatusCreated)
	s.Post("/v1/schedules/w/trigger", nil).Want(http.StatusCreated)
	for _, c := range s.Claim(10, "q") {
		if c.ID == before {
			if string(c.Args) != `{"early": true}` {
				t.Errorf("the earlier job has %s", c.Args)
			}
			continue
		}
		wantArgs(t, "a job of a schedule", c.Args, 1)
	}
	later := s.Enqueue(obj{"kind": "k", "queue": "q", "args": args(2)})
	s.Do("PATCH", "/v1/queues/q", obj{"encrypted": false}).Want(http.StatusOK)
	s.Eventually("the node follows", func() bool {
		id := s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"late": true}})
		return s.Count("select count(*) from weir.job where id = $1::text::bigint and args = '{\"late\": true}'", id) == 1
	})
	wantArgs(t, "an encrypted job of a queue that is no longer", s.Job(later).Args, 2)
}

func TestExportsEventsAndMovesKeepWhatIsEncrypted(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	t.Cleanup(s.RunChores())
	s.Do("PUT", "/v1/queues/graves", obj{}).Want(http.StatusOK)
	s.Do("PATCH", "/v1/queues/secret", obj{"dead_letter_queue": "graves"}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1), "max_attempts": 1})
	c := s.ClaimOne("secret")
	s.Post("/v1/jobs/"+c.ID+"/fail", obj{"token": c.Token, "error": obj{"message": planted + ", \"quoted\"", "type": "T"}}).Want(http.StatusOK)
	wantArgs(t, "the copy in another queue", s.ClaimOne("graves").Args, 1)
	for format, want := range map[string]string{
		"ndjson": `"card": "` + planted, "csv": `""card"":""` + planted,
	} {
		o := s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{"queue": "secret"}, "format": format}).ID)
		text := string(s.Get("/v1/operations/" + o.ID + "/result").Want(http.StatusOK).Body)
		plain := strings.ReplaceAll(strings.ReplaceAll(text, `": "`, `":"`), `"": ""`, `"":""`)
		if !strings.Contains(plain, strings.ReplaceAll(want, `": "`, `":"`)) || !strings.Contains(plain, planted+`, `) || strings.Contains(plain, "weir:encrypted") {
			t.Errorf("the export as %s is %s", format, text)
		}
	}
	wantHidden(t, s.DB, planted)
}

func TestSearchesSayWhatTheyDoNotSee(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1)})
	s.Enqueue(obj{"kind": "k", "queue": "plain", "args": args(1)})
	for path, skipped := range map[string]bool{"/v1/jobs?q=" + planted: true, "/v1/dead?q=x": true, "/v1/jobs?kind=k": false, "/v1/jobs?queue=plain&q=" + planted: false} {
		page := string(s.Get(path).Want(http.StatusOK).Body)
		if strings.Contains(page, `"encrypted_not_searched":true`) != skipped {
			t.Errorf("%s: %s", path, page)
		}
		if strings.Contains(path, planted) && strings.Count(page, `"kind":"k"`) != 1 {
			t.Errorf("%s found %s", path, page)
		}
	}
}

func TestReplaysAndDryRunsOfEncryptedJobs(t *testing.T) {
	t.Parallel()
	s, path := start(t)
	secret, plain := s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1)}), s.Enqueue(obj{"kind": "k", "queue": "plain", "args": obj{"n": 2}})
	replay := func(id string, body obj) string {
		return weirtest.Decode[weirtest.Job](s.Post("/v1/jobs/"+id+"/replay", body).Want(http.StatusCreated)).ID
	}
	wantArgs(t, "the copy", s.Job(replay(secret, nil)).Args, 1)
	wantArgs(t, "the copy in another queue", s.Job(replay(secret, obj{"queue": "plain"})).Args, 1)
	wantArgs(t, "the changed copy", s.Job(replay(secret, obj{"args": args(3)})).Args, 3)
	if got := string(s.Job(replay(plain, obj{"queue": "secret"})).Args); got != `{"n":2}` && got != `{"n": 2}` {
		t.Errorf("the copy of a plain job has %s", got)
	}
	if n := s.Count("select count(*) from weir.job where not weir.is_encrypted(args)"); n != 1 {
		t.Errorf("%d jobs have readable args, want that in the plain queue", n)
	}
	if text := string(s.Post("/v1/jobs/dry-run", obj{"kind": "k", "queue": "secret", "args": args(4)}).Want(http.StatusOK).Body); !strings.Contains(text, `"enqueued"`) {
		t.Errorf("a dry run says %s", text)
	}
	wantHidden(t, s.DB, planted)

	// A node without the key replays what is encrypted, and encrypts nothing.
	keyless := startNode(t, s.DB, "")
	keyless.Post("/v1/jobs/"+secret+"/replay", nil).Want(http.StatusCreated)
	keyless.Post("/v1/jobs/"+plain+"/replay", obj{"queue": "secret"}).Problem(http.StatusServiceUnavailable, "encryption_unavailable")
	keyless.Post("/v1/jobs/dry-run", obj{"kind": "k", "queue": "secret", "args": args(4)}).Problem(http.StatusServiceUnavailable, "encryption_unavailable")
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.replay($1, '{\"args\": {\"n\": 1}}')", secret), "WR023")
	weirtest.Exec(t, s.DB, "select weir.replay($1)", secret)
	wantArgs(t, "the job at another node", startNode(t, s.DB, path).Job(secret).Args, 1)
}

func TestEncryptedJobsAreComparedReadable(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	a, b := s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1)}), s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(2)})
	type answer struct {
		Args struct {
			Equal, Encrypted bool
			Patch            []struct{ Op, Path string }
		}
	}
	s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1)})
	if text := string(s.Get("/v1/jobs/" + a + "/similar").Want(http.StatusOK).Body); !strings.Contains(text, "args_equal") || !strings.Contains(text, "1 of 2 members") {
		t.Errorf("similar are %s", text)
	}
	if text := string(startNode(t, s.DB, "").Get("/v1/jobs/" + a + "/similar").Want(http.StatusOK).Body); strings.Contains(text, "args_") {
		t.Errorf("without a key similar are %s", text)
	}
	path := "/v1/jobs/" + a + "/compare/" + b
	if got := weirtest.Decode[answer](s.Get(path).Want(http.StatusOK)).Args; got.Encrypted || len(got.Patch) != 1 || got.Patch[0].Path != "/n" {
		t.Errorf("the args differ by %+v", got)
	}
	if got := weirtest.Decode[answer](startNode(t, s.DB, "").Get(path).Want(http.StatusOK)).Args; !got.Encrypted || got.Equal || len(got.Patch) != 0 {
		t.Errorf("without a key the args differ by %+v", got)
	}
}
