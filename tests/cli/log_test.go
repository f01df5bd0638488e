package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestLogsShowWhatTheWorkerLogged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+id+"/logs", weirtest.Object{"token": s.ClaimOne("q").Token, "lines": []weirtest.Object{
		{"message": "began"}, {"message": "out of \x1b[31mink\nsecond line", "level": "warn", "fields": weirtest.Object{"page": 3, "a": "b"}},
	}}).Want(http.StatusOK)
	shown := s.CLI("job", "logs", id).Says(0, "attempt 1, ", "INFO  began", "WARN  out of ", "\n  second line", `a="b" page=3`).Stdout
	if strings.Contains(shown, "\x1b") {
		t.Errorf("it prints a control character: %q", shown)
	}
	if text := s.CLI("job", "logs", id, "--level", "warn").Says(0, "ink").Stdout; strings.Contains(text, "began") {
		t.Errorf("--level warn prints %s", text)
	}
	s.CLI("job", "logs", id, "--attempt", "2").Says(0, "There are no such lines.")
	s.CLI("job", "logs", id, "--json").Says(0, `"message":"began"`)
	s.CLI("job", "cancel", id).Says(0)
	s.Exec("select weir.release(job_id, token) from weir.job_lease")
	s.CLI("job", "logs", id, "--follow").Says(0, "INFO  began", "WARN  out of ")
	if lines := strings.Split(strings.TrimSpace(s.CLI("job", "logs", id, "-f", "--json", "--level", "warn").Says(0).Stdout), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], `{"number":2`) {
		t.Errorf("it prints %q", lines)
	}
	s.CLI("job", "logs", "999999", "--follow").Says(1, "there is no job")
	s.CLI("job", "logs", "999999").Says(1, "there is no job")
	s.CLI("job", "logs", id, "--attempt", "-1").Says(2, "--attempt")
}
