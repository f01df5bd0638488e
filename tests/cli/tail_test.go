package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// tail starts `weir tail`, which ends with the test.
func tail(s *weirtest.Node, args ...string) *weirtest.Process {
	s.T.Helper()
	return weirtest.StartProgram(s.T, []string{"WEIR_URL=" + s.URL}, weirtest.Program(s.T, "./cmd/weir"), append([]string{"tail"}, args...)...)
}

// says waits until a program has written all of these words.
func says(t *testing.T, c *weirtest.Process, words ...string) {
	t.Helper()
	for _, word := range words {
		weirtest.Eventually(t, "it says "+word, func() bool { return strings.Contains(c.Output.String(), word) })
	}
}

// saysOf enqueues jobs of a kind until the first of them is in a tail: then the tail is open.
func saysOf(s *weirtest.Node, c *weirtest.Process, kind string) {
	s.T.Helper()
	s.Eventually("the tail is open", func() bool {
		s.Enqueue(obj{"kind": kind, "queue": "q"})
		return strings.Contains(c.Output.String(), kind)
	})
}

func TestTailPrintsEventsOfItsFilter(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	all, dead, mail, queue := tail(s), tail(s, "--event", "dead,failed", "--json"), tail(s, "--kind", "mail"), tail(s, "--queue", "post")
	saysOf(s, all, "first")
	saysOf(s, mail, "mail")
	s.Eventually("the tail of a queue is open", func() bool {
		s.Enqueue(obj{"kind": "other", "queue": "post"})
		return strings.Contains(queue.Output.String(), "other in post")
	})
	s.Eventually("the tail of failures is open", func() bool {
		id := s.Enqueue(obj{"kind": "bad", "queue": "bad", "max_attempts": 1})
		s.Post("/v1/jobs/"+id+"/fail", obj{"token": s.ClaimOne("bad").Token, "error": obj{"message": "out of\x1b[31m\nink"}}).Want(http.StatusOK)
		return strings.Contains(dead.Output.String(), `"event":"dead"`)
	})
	says(t, all, "enqueued     job ", " first in q", "worker_active worker", "dead         job ", " bad in bad, attempt 1 on ", ": out of[31m ink")
	for name, c := range map[string]*weirtest.Process{"--kind": mail, "--queue": queue, "no filter": all} {
		text := c.Output.String()
		if name == "--kind" && strings.Contains(text, "first") || name == "--queue" && strings.Contains(text, "mail") || strings.Contains(text, "\x1b") {
			t.Errorf("%s: it prints %q", name, text)
		}
		if status := c.Stop(); status != 0 {
			t.Errorf("%s: told to stop, it ends with %d: %s", name, status, c.Output)
		}
	}
	dead.Signal(syscall.SIGINT)
	if status := dead.Wait(); status != 0 {
		t.Errorf("interrupted, it ends with %d", status)
	}
	for line := range bytes.Lines([]byte(dead.Output.String())) {
		var ev struct{ Event, Kind string }
		if err := json.Unmarshal(line, &ev); err != nil || ev.Event != "dead" && ev.Event != "failed" || ev.Kind != "bad" {
			t.Errorf("--json prints %q: %v", line, err)
		}
	}
	s.CLI("tail", "999").Says(1, "there is no job")
	s.CLI("tail", "1", "--queue", "q").Says(2, "--queue")
	weirtest.RunCLI(t, []string{"WEIR_URL=http://127.0.0.1:1"}, "", "tail").Says(1, "nothing answers")
}

func TestTailGoesOnWithAnotherNode(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	s, node := weirtest.StartServe(t, d)
	c := tail(s)
	saysOf(s, c, "before")
	other := weirtest.StartNodeOn(t, d)
	node.Kill()
	says(t, c, "weir: ", "trying again")
	id := other.Enqueue(obj{"kind": "meanwhile", "queue": "q"})
	weirtest.StartServe(t, d, "WEIR_ADDR="+strings.TrimPrefix(s.URL, "http://"))
	says(t, c, "weir: connected again", "job "+id+" meanwhile")
	saysOf(s, c, "after")
	if n := strings.Count(c.Output.String(), "trying again") + strings.Count(c.Output.String(), "connecting again"); n != 1 {
		t.Errorf("it says %d times that the node is away:\n%s", n, c.Output)
	}
}

func TestTailOfAJobEndsWithIt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q", "max_attempts": 2, "retry": obj{"strategy": "fixed", "base_seconds": 0, "jitter": false}})
	s.Enqueue(obj{"kind": "another", "queue": "q"})
	c := tail(s, id)
	says(t, c, "enqueued")
	log := func(token, message string) {
		s.Post("/v1/jobs/"+id+"/logs", obj{"token": token, "lines": []obj{{"message": message, "level": "warn", "fields": obj{"page": 3}}}}).Want(http.StatusOK)
	}
	first := s.ClaimOne("q")
	log(first.Token, "paper is\nlow")
	s.Post("/v1/jobs/"+id+"/fail", obj{"token": first.Token, "error": obj{"message": "jammed"}}).Want(http.StatusOK)
	says(t, c, "WARN         paper is\n", "low page=3", "failed       attempt 1 on", ": jammed")
	s.WaitForState(id, "available")
	claimed := s.Claim(2, "q")
	for _, j := range claimed {
		if j.ID == id {
			log(j.Token, "done")
			s.Post("/v1/jobs/"+id+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		}
	}
	if status := c.Wait(); status != 0 {
		t.Errorf("it ends with %d", status)
	}
	text := c.Output.String()
	if !strings.Contains(text, "completed    attempt 2 on") || strings.Contains(text, "another") || strings.Count(text, "enqueued") != 1 {
		t.Errorf("it prints:\n%s", text)
	}
	// Of a job that has ended it prints the same, by time.
	past := s.CLI("tail", id).Says(0).Stdout
	at := -1
	for _, word := range []string{"enqueued", "paper is", "jammed", "done", "completed"} {
		next := strings.Index(past, word)
		if next <= at {
			t.Errorf("%q is out of order:\n%s", word, past)
		}
		at = next
	}
	for line := range strings.Lines(s.CLI("tail", id, "--json", "--event", "completed").Says(0).Stdout) {
		if !json.Valid([]byte(line)) || !strings.Contains(line, `"completed"`) && !strings.Contains(line, `"message"`) {
			t.Errorf("--json prints %q", line)
		}
	}
	cancelled := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+cancelled+"/cancel", nil).Want(http.StatusOK)
	s.CLI("tail", cancelled).Says(1, "job "+cancelled+" is cancelled")
}

func TestTailHasColoursOnATerminalOnly(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": s.ClaimOne("q").Token}).Want(http.StatusOK)
	for _, c := range []struct {
		setting string
		colour  bool
	}{{"NO_COLOR=", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		x := weirtest.StartTerminal(t, 100, 20, []string{"WEIR_URL=" + s.URL, c.setting}, weirtest.Program(t, "./cmd/weir"), "tail", id)
		x.Shows("enqueued", "completed")
		if got := strings.Contains(x.Output.String(), "\x1b[32mcompleted"); got != c.colour {
			t.Errorf("%s: coloured: %v\n%q", c.setting, got, x.Output)
		}
	}
}
