package encryption

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// SQL has no key: what should be encrypted is refused there, and nothing changes.
func TestSQLRefusesWhatIsReadable(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	for _, sql := range []string{
		`select weir.enqueue('k', '{"a": 1}', queue => 'secret')`,
		`select weir.enqueue_many('[{"kind": "k"}, {"kind": "k", "queue": "secret", "args": [1], "tags": ["t"]}]')`,
		`select weir.submit_workflow('{"name": "w", "steps": [{"name": "a", "kind": "k", "queue": "secret", "args": 1}]}')`,
		`select weir.set_schedule('s', '{"every_seconds": 60, "job": {"kind": "k", "queue": "secret", "args": 1}}')`,
		`select weir.claim('{secret}', 'w')`,
	} {
		if refused := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, sql), "WR023"); refused != nil && refused.Hint == "" {
			t.Errorf("%s: no hint with %s", sql, refused.Message)
		}
	}
	weirtest.Exec(t, s.DB, "select weir.enqueue('k', queue => 'secret')") // hides nothing
	c := s.ClaimOne("secret")
	token := strings.Split(c.Token, ".")[0]
	for _, sql := range []string{
		fmt.Sprintf(`select weir.complete(%s, %s, '{"r": 1}')`, c.ID, token), fmt.Sprintf(`select weir.complete_many('{%s}', '{%s}', array['1'::jsonb])`, c.ID, token),
		fmt.Sprintf(`select weir.fail(%s, %s, '{"message": "m"}')`, c.ID, token), fmt.Sprintf(`select weir.fail(%s, %s, '{"message": "m"}', cancel => true)`, c.ID, token), fmt.Sprintf(`select weir.log(%s, %s, '[{"message": "m"}]')`, c.ID, token),
	} {
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, sql), "WR023")
	}
	if got := s.Job(c.ID).State; got != "running" {
		t.Errorf("the job is %s", got)
	}
	weirtest.Exec(t, s.DB, fmt.Sprintf(`select weir.fail(%s, %s, '{"type": "T"}')`, c.ID, token))
}

// A client cannot send what was encrypted for another one, to have it decrypted.
func TestForgedValuesAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1)})
	stolen := weirtest.Value[string](t, s.DB, "select args #>> '{}' from weir.job")
	escaped := `"\u0077eir` + strings.TrimPrefix(stolen, "weir") + `"`
	for _, queue := range []string{"plain", "secret"} {
		for _, forged := range []string{`"` + stolen + `"`, escaped, ` ` + escaped} {
			job := fmt.Sprintf(`{"kind": "k", "queue": %q, "args": %s}`, queue, forged)
			s.Post("/v1/jobs", job).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			s.Post("/v1/jobs/batch", `{"jobs": [`+job+`]}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			step := fmt.Sprintf(`{"name": "a", "kind": "k", "queue": %q, "args": %s}`, queue, forged)
			s.Post("/v1/workflows", `{"name": "w", "steps": [`+step+`]}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			s.Do("PUT", "/v1/schedules/s", `{"every_seconds": 60, "job": `+job+`}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		}
	}
	id := s.Enqueue(obj{"kind": "k", "queue": "plain", "args": obj{"nested": stolen}, "metadata": obj{"m": stolen}, "tags": []string{stolen}})
	if got := string(s.Get("/v1/jobs/" + id).Want(http.StatusOK).Body); strings.Contains(got, planted) {
		t.Errorf("a nested one was decrypted: %s", got)
	}
	c := s.ClaimOne("plain")
	if strings.Contains(string(c.Args), planted) {
		t.Errorf("a nested one was decrypted: %s", c.Args)
	}
	for _, forged := range []string{`"` + stolen + `"`, escaped} {
		s.Post("/v1/jobs/"+c.ID+"/complete", `{"token": "`+c.Token+`", "result": `+forged+`}`).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.Post("/v1/workflows/1/signals/s", obj{"payload": stolen}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Do("PUT", "/v1/breakers/b", obj{"while_open": obj{"policy": "complete_default", "result": stolen}}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Post("/v1/jobs/"+c.ID+"/fail", `{"token": "`+c.Token+`", "error": {"message": "`+stolen+`", "type": "`+stolen+`"}, "retry": false}`).Want(http.StatusOK)
	if got := string(s.Get("/v1/jobs/" + id).Want(http.StatusOK).Body); strings.Contains(got, planted) {
		t.Errorf("one in an error was decrypted: %s", got)
	}
	// Args are not opened as a result.
	s.Exec("update weir.job set args = to_jsonb($1::text) where id = $2::text::bigint", stolen, id)
	if got := string(s.Get("/v1/jobs/" + id).Want(http.StatusOK).Body); !strings.Contains(got, planted) {
		t.Errorf("the test plants nothing that opens: %s", got)
	}
	s.Exec("update weir.job set args = '{}' where id = $1::text::bigint", id)
	s.Exec("update weir.job_outcome set result = to_jsonb($1::text) where job_id = $2::text::bigint", stolen, id)
	if got := string(s.Get("/v1/jobs/" + id).Want(http.StatusOK).Body); strings.Contains(got, planted) {
		t.Errorf("args were opened as a result: %s", got)
	}
}

// A node without the key neither takes nor gives.
func TestANodeWithoutAKeyRefuses(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1)})
	for name, path := range map[string]string{"none": "", "another": keyFile(t)} {
		other := startNode(t, s.DB, path)
		if path == "" {
			other.Post("/v1/jobs", obj{"kind": "k", "queue": "secret", "args": args(2)}).Problem(http.StatusServiceUnavailable, "encryption_unavailable")
			other.Post("/v1/jobs/batch", obj{"jobs": []obj{{"kind": "k", "queue": "secret", "args": args(2)}}}).Problem(http.StatusServiceUnavailable, "encryption_unavailable")
			other.Do("PUT", "/v1/queues/more", obj{"encrypted": true}).Problem(http.StatusServiceUnavailable, "encryption_unavailable")
		}
		if name == "another" {
			s.Exec("update weir.job_ready set attempt = attempt") // it may claim what it cannot read
		}
		other.Post("/v1/claims", obj{"queues": []string{"secret"}, "worker": "w"}).Problem(http.StatusServiceUnavailable, "encryption_unavailable")
		if got := string(other.Job(id).Args); strings.Contains(got, planted) || !strings.Contains(got, "weir:encrypted:") {
			t.Errorf("a node with the key %s shows %s", name, got)
		}
	}
	if got := s.Job(id); got.Attempt != 0 || got.State != "scheduled" {
		t.Errorf("the job that a node could not read is %s after %d attempts", got.State, got.Attempt)
	}
	s.Post("/v1/jobs/"+id+"/retry", nil).Want(http.StatusOK)
	wantArgs(t, "the node with the key", s.ClaimOne("secret").Args, 1)
}

// What was tampered with is a dead letter, with a clear error; it does not stop the others.
func TestTamperedJobsDie(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	ids := s.EnqueueAll([]obj{
		{"kind": "k", "queue": "secret", "args": args(1)}, {"kind": "k", "queue": "secret", "args": args(2)}, {"kind": "k", "queue": "secret", "args": args(3)},
	})
	s.Exec("update weir.job set args = to_jsonb(overlay(args #>> '{}' placing 'AAAA' from 30)) where id = $1::text::bigint", ids[1])
	claimed := s.Claim(10, "secret")
	if len(claimed) != 2 {
		t.Fatalf("%d jobs were claimed", len(claimed))
	}
	wantArgs(t, "the job before", claimed[0].Args, 1)
	wantArgs(t, "the job after", claimed[1].Args, 3)
	if got := s.Job(ids[1]); got.State != "dead" || !strings.Contains(string(got.Error), "cannot be decrypted") || !strings.Contains(string(got.Error), "weir.undecryptable") {
		t.Errorf("the job is %s, with %s", got.State, got.Error)
	}
}

// A node that does not know yet that a queue is encrypted never stores what is readable.
func TestAStaleNodeStoresNothingReadable(t *testing.T) {
	t.Parallel()
	path := keyFile(t)
	s := startNode(t, weirtest.New(t), path)
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	c := s.ClaimOne("q")
	failing := s.EnqueueAndClaim("q")
	// Not by weir.set_queue, which notifies the nodes.
	s.Exec("update weir.queue set encrypted = true where name = 'q'")
	s.Enqueue(obj{"kind": "k", "queue": "q", "args": args(1)})
	s.Exec("update weir.queue set encrypted = false")
	s.Exec("notify weir_queue, 'q'")
	s.Eventually("the node follows", func() bool {
		id := s.Enqueue(obj{"kind": "k", "queue": "q", "args": obj{"late": true}})
		return s.Count("select count(*) from weir.job where id = $1::text::bigint and args = '{\"late\": true}'", id) == 1
	})
	s.Exec("update weir.queue set encrypted = true where name = 'q'")
	if got := s.Acks(
		obj{"id": c.ID, "token": c.Token, "outcome": "complete", "result": planted},
		obj{"id": failing.ID, "token": failing.Token, "outcome": "fail", "error": obj{"message": planted}},
	); got != "ok, ok retryable" {
		t.Errorf("the acks are %s", got)
	}
	wantHidden(t, s.DB, planted)
}

// The bound on args is that of what the client sends.
func TestLargeValuesFit(t *testing.T) {
	t.Parallel()
	s, _ := start(t)
	const most = 1 << 20
	text := strings.Repeat("x", most-len(`{"t":""}`))
	id := s.Enqueue(obj{"kind": "k", "queue": "secret", "args": obj{"t": text}})
	s.Post("/v1/jobs", obj{"kind": "k", "queue": "secret", "args": obj{"t": text + "x"}}).Want(http.StatusRequestEntityTooLarge)
	c := s.ClaimOne("secret")
	if len(c.Args) != most || c.ID != id {
		t.Errorf("the args have %d bytes", len(c.Args))
	}
	s.Post("/v1/jobs/"+c.ID+"/complete", obj{"token": c.Token, "result": obj{"t": text}}).Want(http.StatusOK)
	if got := s.Job(id).Result; len(got) != most {
		t.Errorf("the result has %d bytes", len(got))
	}
}
