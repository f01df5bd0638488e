package node

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestDrainingNodeFinishesItsCalls(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	held := s.EnqueueAndClaim("q")
	waiting := s.ParkMany(5, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{fmt.Sprintf("empty-%d", i%2)}, "wait_seconds": 60}
	})
	s.Engine.Drain()
	for _, answer := range waiting {
		if got := s.Answer(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited got %+v, want an empty list", got)
		}
	}
	s.Get("/readyz").Problem(http.StatusServiceUnavailable, "unavailable")
	s.Get("/livez").Want(http.StatusOK)
	for _, wait := range []int{0, 60} {
		s.Post("/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": wait}).Problem(http.StatusServiceUnavailable, "unavailable")
	}
	s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.Post("/v1/jobs/"+held.ID+"/heartbeat", obj{"token": held.Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).Want(http.StatusOK)
	s.Job(held.ID)
}

func TestStoppedNodeFinishesItsAnswers(t *testing.T) {
	weirtest.Long(t, "it waits for a node to stop")
	t.Parallel()
	database := weirtest.New(t)
	s, process := weirtest.StartServe(t, database, "WEIR_DRAIN_SECONDS=6")
	held := s.EnqueueAndClaim("q")
	waiting := s.ParkMany(20, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"empty"}, "wait_seconds": 60}
	})

	// A request is half sent when the signal comes.
	half, rest := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", half)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	late := make(chan *weirtest.Response, 1)
	go func() {
		r, err := s.SendRequest(request)
		if err != nil {
			t.Errorf("the request under way: %v", err)
		}
		late <- r
	}()
	fmt.Fprint(rest, `{"kind": "late",`)
	s.Eventually("it is under way", func() bool { return s.Metric("weir_http_requests_in_flight") == float64(len(waiting)+2) })

	process.Signal(syscall.SIGTERM)
	for _, answer := range waiting {
		if got := s.Answer(answer); got == nil || len(got) != 0 {
			t.Errorf("a claim that waited got %+v, want an empty list", got)
		}
	}
	// While the node tells load balancers that it is stopping, it still answers new calls; then it refuses connections.
	unready := 0
	s.Eventually("connections are refused", func() bool {
		r, err := s.Send(t.Context(), http.MethodGet, "/readyz", nil)
		if err != nil {
			return true
		}
		r.Problem(http.StatusServiceUnavailable, "unavailable")
		unready++
		if unready == 1 {
			s.Post("/v1/jobs/"+held.ID+"/complete", obj{"token": held.Token}).Want(http.StatusOK)
			s.Post("/v1/claims", `{"worker": "w", "queues": ["q"]}`).Problem(http.StatusServiceUnavailable, "unavailable")
		}
		return false
	})
	if unready == 0 {
		t.Error("the node never said that it is not ready")
	}
	select {
	case <-process.Ended:
		t.Fatalf("it ended with a reply under way:\n%s", process.Output)
	default:
	}
	fmt.Fprint(rest, ` "queue": "q"}`)
	rest.Close()
	if r := <-late; r != nil && r.Status != http.StatusCreated {
		t.Errorf("the request under way: %v", r)
	}
	if status := process.Wait(); status != 0 {
		t.Errorf("it ended with status %d", status)
	}
	if n := s.Count(`select count(*) from weir.jobs where kind = 'late' and state = 'available'`); n != 1 {
		t.Errorf("of the request under way %d jobs are there", n)
	}
	if n := s.Count(`select count(*) from pg_stat_activity where datname = current_database() and application_name like 'weir%'`); n != 0 {
		t.Errorf("%d connections to the database are left", n)
	}
	var log []string
	for line := range strings.Lines(process.Output.String()) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("no JSON in the log: %s", line)
		}
		log = append(log, entry.Msg)
	}
	if !slices.Contains(log, "stopped") {
		t.Errorf("the log does not say that it stopped: %q", log)
	}
}

func TestStoppedNodeAnswersParkedClaims(t *testing.T) {
	t.Parallel()
	s, c := weirtest.StartServe(t, weirtest.New(t), "WEIR_DRAIN_SECONDS=6")
	waits := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60})
	c.Signal(syscall.SIGTERM)
	if got := s.Answer(waits); len(got) != 0 {
		t.Errorf("the claim that waited got %v", got)
	}
	r, err := s.Send(t.Context(), http.MethodGet, "/readyz", nil)
	if err != nil || r.Status != http.StatusServiceUnavailable {
		t.Errorf("while it ends, /readyz says %v, %v", r, err)
	}
	if _, err := s.Send(t.Context(), http.MethodPost, "/v1/jobs", obj{"kind": "k"}); err != nil {
		t.Errorf("while it drains, it takes no job: %v", err)
	}
	if status := c.Wait(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, c.Output)
	}
}
