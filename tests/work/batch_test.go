package work

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// eachJob is a loop of sh over the jobs of a batch, with id and args of each.
const eachJob = `while read -r line; do
	id=$(echo "$line" | sed 's/^{"id":"\([0-9]*\)".*/\1/')
	args=$(echo "$line" | sed 's/.*"args":"\([a-z ]*\)".*/\1/')
`

func TestBatchHasJobsOfOneKind(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for i := range 7 {
		s.Enqueue(obj{"kind": []string{"a", "b"}[i%2], "queue": "q"})
	}
	got := filepath.Join(t.TempDir(), "got")
	s.StartWorker([]string{"--queue", "q", "--batch", "3", "--concurrency", "1"}, "sh", "-c", `echo "$WEIR_JOB_KIND $WEIR_JOB_QUEUE $WEIR_JOB_BATCH $(wc -l)" >>`+got)
	weirtest.Eventually(t, "all jobs complete", func() bool {
		return weirtest.Value[int](t, s.DB, "select count(*)::int from weir.jobs where state = 'completed'") == 7
	})
	text, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	jobs := map[string]int{}
	for line := range strings.Lines(string(text)) {
		var kind, queue string
		var told, lines int
		if _, err := fmt.Sscan(line, &kind, &queue, &told, &lines); err != nil || queue != "q" || told != lines || lines < 1 || lines > 3 {
			t.Errorf("a command got %q, %v", line, err)
		}
		jobs[kind] += lines
		jobs["most"] = max(jobs["most"], lines)
	}
	if jobs["a"] != 4 || jobs["b"] != 3 || jobs["most"] < 2 {
		t.Errorf("the commands got %v", jobs)
	}
}

func TestBatchReportsTheOutcomeOfEachJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	command := eachJob + `
		case $args in
		done) echo '{"job": "'$id'", "outcome": "complete", "result": {"n": 1}}' ;;
		more) echo '{"job": "'$id'", "enqueue": {"kind": "next", "queue": "later"}}'; echo '{"job": "'$id'", "outcome": "complete"}' ;;
		bad) echo '{"job": "'$id'", "outcome": "fail", "error": "no route"}' ;;
		never) echo '{"job": "'$id'", "outcome": "fail", "error": {"message": "bad order", "type": "Order"}, "retry": false}' ;;
		needless) echo '{"job": "'$id'", "outcome": "fail", "error": "paid already", "cancel": true}' ;;
		later) echo '{"job": "'$id'", "outcome": "snooze", "snooze_seconds": 3600}' ;;
		lost) echo '{"job": "'$id'", "enqueue": {"kind": "next", "queue": "later"}}' ;;
		esac >&3
	done; echo "the end" >&2; exit ${WEIR_JOB_KIND#exit}`
	named := map[string]string{"done": "completed", "more": "completed", "bad": "retryable", "never": "dead", "needless": "cancelled", "later": "scheduled"}
	left := map[string]string{"exit0": "completed", "exit75": "scheduled", "exit65": "dead", "exit1": "retryable"}
	ids := map[string]map[string]string{}
	for kind := range left {
		ids[kind] = map[string]string{}
		for _, args := range []string{"done", "more", "bad", "never", "needless", "later", "left"} {
			ids[kind][args] = s.Enqueue(obj{"kind": kind, "queue": "q", "args": args, "retry": obj{"strategy": "fixed", "base_seconds": 3600, "jitter": false}})
		}
	}
	s.StartWorker([]string{"--queue", "q", "--batch", "20", "--concurrency", "2"}, "sh", "-c", command)
	for kind, state := range left {
		for args, want := range named {
			s.WaitForState(ids[kind][args], want)
		}
		j := s.WaitForState(ids[kind]["left"], state)
		if state == "dead" && !strings.Contains(string(j.Error), "exit status 65: the end") {
			t.Errorf("what is left of a batch that exits with 65 has the error %s", j.Error)
		}
		if n := weirtest.Value[int](t, s.DB, "select count(*)::int from weir.jobs where kind = 'next' and parent_id = $1::bigint", ids[kind]["more"]); n != 1 {
			t.Errorf("the job of kind %s has %d follow-up jobs", kind, n)
		}
	}
	if j := s.Job(ids["exit1"]["done"]); string(j.Result) != `{"n":1}` {
		t.Errorf("the result is %s", j.Result)
	}
	if j := s.Job(ids["exit0"]["never"]); !strings.Contains(string(j.Error), "bad order") || !strings.Contains(string(j.Error), "Order") {
		t.Errorf("the error is %s", j.Error)
	}
	if n := weirtest.Value[int](t, s.DB, "select count(*)::int from weir.jobs where kind = 'next'"); n != 4 {
		t.Errorf("there are %d follow-up jobs, want 4", n)
	}
}

// A job whose outcome is reported ends while the command goes on, and each has its own progress and log.
func TestBatchTellsOfEachJobWhileItRuns(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	first, second := s.Enqueue(obj{"kind": "k", "queue": "q", "args": "one"}), s.Enqueue(obj{"kind": "k", "queue": "q", "args": "two"})
	release := filepath.Join(t.TempDir(), "go")
	s.StartWorker([]string{"--queue", "q", "--batch", "2", "--concurrency", "1", "--lease-seconds", "2"}, "sh", "-c", eachJob+`
		echo '{"job": "'$id'", "log": "this is '$args'", "progress": {"percent": 40, "message": "'$args'"}}' >&3
		[ $args = one ] && echo '{"job": "'$id'", "outcome": "complete"}' >&3
	done; until [ -e `+release+` ]; do sleep 0.05; done`)
	s.WaitForState(first, "completed")
	weirtest.Eventually(t, "the progress is seen", func() bool {
		j := s.Job(second)
		return j.State == "running" && j.Progress != nil && j.Progress.Message == "two"
	})
	lease := weirtest.Value[string](t, s.DB, "select lease_expires_at::text from weir.jobs where id = $1::bigint", second)
	weirtest.Eventually(t, "the lease of the other is extended", func() bool {
		return weirtest.Value[string](t, s.DB, "select lease_expires_at::text from weir.jobs where id = $1::bigint", second) > lease
	})
	touch(t, release)
	if j := s.WaitForState(second, "completed"); j.Attempt != 1 {
		t.Errorf("it has made %d attempts", j.Attempt)
	}
	for id, want := range map[string]string{first: "this is one", second: "this is two"} {
		weirtest.Eventually(t, "the log is there", func() bool {
			return strings.Contains(string(s.Get("/v1/jobs/"+id+"/logs").Want(http.StatusOK).Body), want)
		})
	}
}

// One of them stops the command. The others go back and lose no attempt.
func TestBatchStopsForOneOfItsJobs(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]struct {
		timeout int
		do      func(s *weirtest.Node, id string)
		state   string
	}{
		"cancel":  {600, func(s *weirtest.Node, id string) { s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK) }, "cancelled"},
		"timeout": {1, func(*weirtest.Node, string) {}, "dead"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weirtest.StartNode(t)
			marker := filepath.Join(t.TempDir(), "begun")
			stopped, other := s.Enqueue(obj{"kind": "k", "queue": "q", "timeout_seconds": stop.timeout, "max_attempts": 1}), s.Enqueue(obj{"kind": "k", "queue": "q", "max_attempts": 1})
			s.StartWorker([]string{"--queue", "q", "--batch", "2", "--concurrency", "1", "--lease-seconds", "1"}, "sh", "-c", fmt.Sprintf(`[ -e %s ] || { touch %[1]s; sleep 600; }`, marker))
			s.WaitForState(stopped, "running")
			stop.do(s, stopped)
			s.WaitForState(stopped, stop.state)
			if j := s.WaitForState(other, "completed"); j.Attempt != 1 {
				t.Errorf("the other job has made %d attempts", j.Attempt)
			}
		})
	}
}

func TestBatchFailsForALineThatNamesNoJobOfIt(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	named, left := s.Enqueue(obj{"kind": "k", "queue": "q", "args": "one", "max_attempts": 1}), s.Enqueue(obj{"kind": "k", "queue": "q", "args": "two", "max_attempts": 1})
	s.StartWorker([]string{"--queue", "q", "--batch", "2", "--concurrency", "1"}, "sh", "-c", eachJob+`
		[ $args = one ] && echo '{"job": "'$id'", "outcome": "complete"}' >&3
	done; echo '{"job": "99", "outcome": "complete"}' >&3`)
	s.WaitForState(named, "completed")
	if j := s.WaitForState(left, "dead"); !strings.Contains(string(j.Error), `names the job \"99\"`) {
		t.Errorf("the other job fails with %s", j.Error)
	}
}

// A command that has one job may name its outcome too.
func TestOutcomesTakeTheirPlaceOfTheExitStatus(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.StartWorker([]string{"--queue", "q"}, "sh", "-c", `echo '{"outcome": "fail", "error": "paid already", "cancel": true}' >&3; exit 1`)
	if j := s.WaitForState(s.Enqueue(obj{"kind": "k", "queue": "q"}), "cancelled"); !strings.Contains(string(j.Error), "paid already") {
		t.Errorf("the error is %s", j.Error)
	}
}
