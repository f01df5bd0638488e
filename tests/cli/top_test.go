package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// busyNode has queues that are deep, paused, behind an open circuit breaker and without a worker, and failures.
func busyNode(t *testing.T) *weirtest.Node {
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/breakers/stripe", `{}`).Want(http.StatusOK)
	s.Post("/v1/breakers/stripe/trip", `{}`).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/queues/payments", `{"breaker": "stripe"}`).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/queues/reports", `{}`).Want(http.StatusOK)
	s.Post("/v1/queues/reports/pause", `{"reason": "deploying"}`).Want(http.StatusOK)
	var all []obj
	for queue, n := range map[string]int{"mail": 7, "video": 3, "payments": 2, "reports": 1} {
		for range n {
			all = append(all, obj{"kind": "k-" + queue, "queue": queue, "max_attempts": 1})
		}
	}
	s.EnqueueAll(all)
	for i, j := range s.ClaimAs("mailer-1", 3, "mail") {
		switch i {
		case 0:
			s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		case 1:
			s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no\x1b[2J ink", "type": "InkError"}}).Want(http.StatusOK)
		}
	}
	return s
}

func top(s *weirtest.Node, columns, rows int, args ...string) *weirtest.Terminal {
	s.T.Helper()
	return weirtest.StartTerminal(s.T, columns, rows, []string{"WEIR_URL=" + s.URL}, weirtest.Program(s.T, "./cmd/weir"), append([]string{"top"}, args...)...)
}

// row is the line of a screen that begins with a word.
func row(screen, word string) string {
	for line := range strings.Lines(screen) {
		if strings.HasPrefix(line, word) {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

func TestTopPrintsOneFrame(t *testing.T) {
	t.Parallel()
	s := busyNode(t)
	s.Exec("update weir.job set created_at = created_at - interval '1 hour' where kind = 'k-video'") // so that weir asks why
	text := s.CLI("top", "--once").Says(0, "weir top  "+s.URL, "10 waiting, 1 running, 0 scheduled, 0 retryable, 0 held, 1 dead", "% of attempts fail",
		"SLOW OR WRONG", "circuit breaker stripe has been open for", "queue reports is paused: 1 job available", "queue video, 3 jobs: no worker waits",
		"k-mail failed with InkError: 1 attempt in 15 min").Stdout
	for word, want := range map[string]string{"mail": "mail 4 1 0 0 1 ", "payments": "payments 2 0 ", "reports": "reports 1 0 ", "mailer-1": "mailer-1 1 "} {
		if got := row(text, word); !strings.HasPrefix(got, want) {
			t.Errorf("the row of %s is %q, want %q …\n%s", word, got, want, text)
		}
	}
	if !strings.HasSuffix(row(text, "mail "), " active") || !strings.HasSuffix(row(text, "payments"), " open") || !strings.HasSuffix(row(text, "reports"), " paused") {
		t.Errorf("states:\n%s", text)
	}
	if cells := strings.Fields(row(text, "mail ")); len(cells) != 14 || cells[6] == "0" || cells[8] != "50.0" || cells[11] == "-" {
		t.Errorf("rates and waits of mail: %q", cells)
	}
	if strings.Contains(text, "\x1b") || strings.Index(text, "\nmail ") > strings.Index(text, "\nvideo ") {
		t.Errorf("it prints %q", text)
	}
	if sorted := s.CLI("top", "--once", "--sort", "name").Says(0).Stdout; strings.Index(sorted, "\npayments ") > strings.Index(sorted, "\nvideo ") {
		t.Errorf("sorted by name:\n%s", sorted)
	}
	s.CLI("top").Says(2, "--once")
	s.CLI("top", "--every", "0.1").Says(2, "--every")
	s.CLI("top", "--once", "--url", "http://127.0.0.1:1").Says(1, "nothing answers")
}

func TestTopTakesKeys(t *testing.T) {
	t.Parallel()
	s := busyNode(t)
	x := top(s, 80, 24)
	x.Shows("weir top", "▾WAITING", "P95 WAIT", "mail", "payments", "reports", "video", "mailer-1", "SLOW OR WRONG", "stripe has been open", "q quit")
	for i, line := range strings.Split(x.Screen(), "\n") {
		if len([]rune(line)) > 80 || i >= 24 {
			t.Errorf("line %d is too much: %q", i, line)
		}
	}
	if strings.Contains(x.Screen(), "LATER") {
		t.Errorf("80 columns have room for:\n%s", x.Screen())
	}
	x.Type("s")
	x.Shows("▾RUNNING")
	x.Type("S")
	x.Shows("▾WAITING")
	x.Type("r")
	x.Shows("▴WAITING")
	x.Type("r/vid\r")
	x.Shows("filter: vid", "video")
	x.Hides("payments", "mailer-1")
	x.Type("\r")
	x.Shows("QUEUE video", "available 3", "WHY JOBS DO NOT RUN", "no_worker, 3 jobs", "FAILURES OF THE LAST DAY", "esc back")
	x.Type("q")
	x.Shows("SLOW OR WRONG")
	x.Type("\x1b")
	x.Shows("payments", "mailer-1")
	x.Type("?")
	x.Shows("next pane", "P95 WAIT is of the last 15 minutes")
	x.Type("?")
	x.Hides("next pane")
	x.Type("p")
	x.Shows("paused: p goes on")
	s.EnqueueAll([]obj{{"kind": "k", "queue": "late"}})
	x.Type("p")
	x.Shows("late")
	x.Resize(140, 40)
	x.Shows("LATER", "HELD", "FAIL %", "HOST")
	x.Resize(50, 12)
	x.Hides("HELD", "P95 WAIT")
	x.Shows("QUEUE", "▾WAITING", "q quit")
	x.Type("q")
	if status := x.Wait(); status != 0 {
		t.Errorf("it ends with %d", status)
	}
}

func TestTopSelectsAndScrolls(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for i := range 40 {
		s.Do(http.MethodPut, fmt.Sprintf("/v1/queues/q%02d", i), `{}`).Want(http.StatusOK)
	}
	x := top(s, 100, 20, "--sort", "name")
	x.Shows("q00", "no workers", "nothing is slow or wrong")
	x.Hides("q39")
	x.Type("G")
	x.Shows("q39")
	x.Hides("q00")
	if !strings.Contains(x.Styled(), "\x1b[7mq39") {
		t.Errorf("the last queue is not marked: %q", x.Styled())
	}
	x.Type("kk\r")
	x.Shows("QUEUE q37")
	x.Type("\x03")
	if status := x.Wait(); status != 0 {
		t.Errorf("interrupted, it ends with %d", status)
	}
}

func TestTopWaitsForANodeThatIsAway(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	s, node := weirtest.StartServe(t, d)
	s.Enqueue(`{"kind": "k", "queue": "before"}`)
	x := top(s, 120, 24, "--every", "1s")
	x.Shows("before")
	node.Kill()
	x.Shows("no answer since", "nothing answers", "before")
	weirtest.StartServe(t, d, "WEIR_ADDR="+strings.TrimPrefix(s.URL, "http://"))
	s.Enqueue(`{"kind": "k", "queue": "after"}`)
	x.Hides("no answer since")
	x.Shows("before", "after")
	x.Signal(syscall.SIGTERM)
	if status := x.Wait(); status != 0 {
		t.Errorf("told to stop, it ends with %d", status)
	}
}

func TestTopHasColoursUnlessNotWanted(t *testing.T) {
	t.Parallel()
	s := busyNode(t)
	for setting, coloured := range map[string]bool{"NO_COLOR=": true, "NO_COLOR=1": false} {
		x := weirtest.StartTerminal(t, 100, 30, []string{"WEIR_URL=" + s.URL, setting}, weirtest.Program(t, "./cmd/weir"), "top")
		x.Shows("stripe has been open")
		if got := strings.Contains(x.Output.String(), "\x1b[31m"); got != coloured {
			t.Errorf("%s: coloured: %v", setting, got)
		}
	}
}

// TestTopAsksLittle counts the calls of a screen with many queues.
func TestTopAsksLittle(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	var jobs []obj
	for i := range 60 {
		jobs = append(jobs, obj{"kind": "k", "queue": fmt.Sprintf("q%02d", i)})
	}
	s.EnqueueAll(jobs)
	s.Exec("update weir.job set created_at = created_at - interval '1 hour'")
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var calls, refreshes atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path == "/v1/queues" {
			refreshes.Add(1)
		}
		r.Host = target.Host
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	weirtest.RunCLI(t, []string{"WEIR_URL=" + front.URL}, "", "top", "--once").Says(0, "q59", "no worker")
	if n, most := calls.Load(), 7*refreshes.Load(); n > most || refreshes.Load() < 5 {
		t.Errorf("%d refreshes make %d calls, want at most %d", refreshes.Load(), n, most)
	}
}
