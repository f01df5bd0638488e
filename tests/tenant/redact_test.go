package tenant

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

const secret = "s3cr3t"

var parameter = regexp.MustCompile(`\{(\w+)\}`)

// plant stores a secret in everything that a redacted key must not see, and returns what paths may name.
func plant(s *weirtest.Node) (names []string) {
	args := obj{"x": obj{"args": secret}}
	failure := obj{"message": secret, "type": "T", "stack": secret}
	job := func(queue string) obj {
		return obj{"kind": "k", "queue": queue, "args": args, "metadata": obj{"m": secret}}
	}
	done, dead, failed, running := s.Enqueue(job("done")), s.Enqueue(job("dead")), s.Enqueue(job("failed")), s.Enqueue(job("running"))
	s.Post("/v1/jobs/"+done+"/complete", obj{"token": s.ClaimOne("done").Token, "result": obj{"r": secret}}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+dead+"/fail", obj{"token": s.ClaimOne("dead").Token, "retry": false, "error": failure}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+failed+"/fail", obj{"token": s.ClaimOne("failed").Token, "error": failure}).Want(http.StatusOK)
	token := s.ClaimOne("running").Token
	s.Post("/v1/jobs/"+running+"/heartbeat", obj{"token": token, "progress": obj{"percent": 1, "message": secret}}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+running+"/logs", obj{"token": token, "lines": []obj{{"message": secret, "fields": obj{"f": secret}}}}).Want(http.StatusOK)
	// By SQL an error may have any fields.
	loose := s.Enqueue(job("loose"))
	s.Exec("select weir.fail($1, $2::bigint, $3, retry => false)", loose, s.Count("select token from weir.claim('{loose}', 'w')"), `{"message": "`+secret+`", "code": "`+secret+`", "more": {"x": "`+secret+`"}}`)
	step := func(name string, after ...string) obj {
		return obj{"name": name, "kind": "k", "queue": "steps", "args": args, "metadata": obj{"m": secret}, "depends_on": after}
	}
	workflow := s.Submit(obj{"metadata": obj{"m": secret}, "on_failure": "continue"}, step("one"), step("two", "one"), obj{"name": "wait", "wait_for": obj{"signal": "go"}}, step("three"))
	s.Post("/v1/workflows/"+workflow+"/signals/go", obj{"payload": obj{"p": secret}}).Want(http.StatusOK)
	for _, j := range s.Claim(2, "steps") {
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "result": secret}).Want(http.StatusOK)
	}
	for _, j := range s.Claim(2, "steps") {
		s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "retry": false, "error": failure}).Want(http.StatusOK)
		names = append(names, j.ID)
	}
	s.Post("/v1/schedules", obj{"name": "nightly", "cron": "0 0 * * *", "job": obj{"kind": "k", "args": args}}).Want(http.StatusCreated)
	for _, format := range []string{"ndjson", "csv"} {
		names = append(names, s.WaitForOperation(s.StartOperation("/v1/jobs/export", obj{"filter": obj{}, "format": format}).ID).ID)
	}
	return append(names, done, dead, failed, running, loose, workflow, "done", "dead", "failed", "loose", "steps", "w", "nightly")
}

// gets calls every GET with all names that its path may have, and returns the answers of each that are successes.
func gets(t *testing.T, s *weirtest.Node, names []string) map[string]string {
	t.Helper()
	document := weirtest.Decode[struct {
		Paths map[string]map[string]json.RawMessage
	}](s.Get("/openapi.json").Want(http.StatusOK))
	answers := map[string]string{}
	for path, methods := range document.Paths {
		if _, ok := methods["get"]; !ok || path == "/v1/events" {
			continue
		}
		for _, name := range names {
			at := parameter.ReplaceAllLiteralString(path, name)
			if r := s.Get(at); r.Status == http.StatusOK {
				answers[path] += string(r.Body) + "\n"
			}
			if at == path {
				break
			}
		}
	}
	return answers
}

func TestARedactedKeySeesNoPayloadsAndNoErrors(t *testing.T) {
	weirtest.Long(t, "hundreds of calls")
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	stop := s.RunChores()
	defer stop()
	redacted := s.AsNew("redacted", obj{"redact": true}, "admin")
	events, hangUp := redacted.WatchEvents("", "")
	defer hangUp()
	names := plant(s)
	whole, hidden := gets(t, s, names), gets(t, redacted, names)
	shown := 0
	for path, text := range whole {
		if strings.Contains(text, secret) {
			shown++
		}
		if hidden[path] == "" {
			t.Errorf("GET %s: a redacted key gets no answer", path)
		}
		if at := strings.Index(hidden[path], secret); at >= 0 {
			t.Errorf("GET %s: a redacted key sees %s", path, hidden[path][max(0, at-200):at+len(secret)])
		}
	}
	if shown < 14 {
		t.Errorf("only %d operations show the secret to others: %v", shown, len(whole))
	}
	for _, path := range []string{"/v1/jobs/{id}", "/v1/dead/{id}", "/v1/jobs/{id}/timeline", "/v1/workflows/{id}/steps"} {
		if !strings.Contains(whole[path], secret) || !strings.Contains(hidden[path], `"T"`) {
			t.Errorf("GET %s: the type of an error is missing from %s", path, hidden[path])
		}
	}
	for failed := 0; failed < 3; {
		for _, e := range redacted.NextEvents(events, 1) {
			if strings.Contains(fmt.Sprint(e.Data), secret) {
				t.Errorf("an event has %+v", e.Data)
			}
			if e.Name == "failed" || e.Name == "dead" {
				failed++
			}
		}
	}
}

// TestARedactedKeyLearnsNothingFromWhatItChanges looks at the answers of calls that change jobs, and searches.
func TestARedactedKeyLearnsNothingFromWhatItChanges(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	redacted := s.AsNew("redacted", obj{"redact": true}, all...)
	body := obj{"kind": "k", "queue": "q", "args": obj{"a": secret}, "metadata": obj{"m": secret}, "unique": obj{"key": "u"}}
	id := s.Enqueue(body)
	for _, r := range []*weirtest.Response{
		redacted.Post("/v1/jobs", obj{"kind": "other", "unique": obj{"key": "u"}}).Want(http.StatusOK),
		redacted.Do(http.MethodPatch, "/v1/jobs/"+id, obj{"priority": 7}).Want(http.StatusOK),
		redacted.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK),
		redacted.Post("/v1/jobs/"+id+"/retry", nil).Want(http.StatusOK),
	} {
		if strings.Contains(string(r.Body), secret) {
			t.Errorf("got %v", r)
		}
	}
	redacted.Get("/v1/jobs?q="+secret).Problem(http.StatusForbidden, "forbidden")
	redacted.Get("/v1/dead?q="+secret).Problem(http.StatusForbidden, "forbidden")
	for path, more := range map[string]obj{"/v1/jobs/bulk": {"action": "cancel"}, "/v1/jobs/export": {}, "/v1/dead/redrive": {}, "/v1/dead/purge": {}} {
		more["filter"] = obj{"q": secret}
		redacted.Post(path, more).Problem(http.StatusForbidden, "forbidden")
	}
	if n := s.Count("select count(*) from weir.operation"); n != 0 {
		t.Errorf("%d operations were started", n)
	}
	redacted.Get("/v1/jobs?kind=k").Want(http.StatusOK)
	if job := redacted.ClaimOne("q"); !strings.Contains(string(job.Args), secret) {
		t.Errorf("a worker gets the args %s", job.Args)
	}
}
