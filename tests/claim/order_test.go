package claim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestClaimGoesByPriorityThenOrder(t *testing.T) {
	t.Parallel()
	t.Run("SQL", claimGoesByPriorityThenOrderSQL)
	t.Run("REST", claimGoesByPriorityThenOrderREST)
}

func claimGoesByPriorityThenOrderSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	type place struct {
		id       int64
		priority int
	}
	var want []place
	for range 10 {
		var jobs []string
		var priorities []int
		for range 30 {
			p := 1 + rand.IntN(10)
			priorities = append(priorities, p)
			jobs = append(jobs, fmt.Sprintf(`{"kind": "a", "queue": "q", "priority": %d}`, p))
		}
		for i, id := range weirtest.Enqueue(t, d, jobs...) {
			want = append(want, place{id, priorities[i]})
		}
	}
	slices.SortStableFunc(want, func(a, b place) int { return b.priority - a.priority })
	var got []place
	for n := 1; len(got) < len(want); n = 1 + (n+3)%17 {
		jobs := weirtest.Claim(t, d, "q", n)
		if len(jobs) == 0 {
			t.Fatalf("nothing left after %d of %d", len(got), len(want))
		}
		for _, j := range jobs {
			got = append(got, place{j.ID, j.Priority})
		}
		if n == 5 {
			weirtest.Tick(t, d)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("claimed in the order\n%v\nwant\n%v", got, want)
	}
}

func claimGoesByPriorityThenOrderREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	dice := rand.New(rand.NewPCG(1, 2))
	var want []obj
	for len(want) < 300 {
		if dice.IntN(3) == 0 {
			j := obj{"kind": "single", "priority": 1 + dice.IntN(10)}
			j["id"] = s.Enqueue(j)
			want = append(want, j)
			continue
		}
		batch := make([]obj, 1+dice.IntN(30))
		for i := range batch {
			batch[i] = obj{"kind": "batched", "priority": 1 + dice.IntN(10)}
		}
		for i, id := range s.EnqueueAll(batch) {
			batch[i]["id"] = id
		}
		want = append(want, batch...)
	}
	slices.SortStableFunc(want, func(a, b obj) int { return b["priority"].(int) - a["priority"].(int) })
	s.Settle()
	for at := 0; at < len(want); {
		got := s.Claim(1+dice.IntN(20), "default")
		if len(got) == 0 {
			t.Fatalf("nothing to claim after %d jobs", at)
		}
		for _, j := range got {
			if j.ID != want[at]["id"] {
				t.Fatalf("job number %d is %s, want %s with priority %d", at, j.ID, want[at]["id"], want[at]["priority"])
			}
			at++
		}
	}
}

func TestLateJobOfHigherPriorityComesFirst(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for p := 1; p <= 10; p++ {
		for range 3 {
			weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q', priority => $1)", p)
		}
		weirtest.Tick(t, d)
		if j := weirtest.ClaimOne(t, d, "q"); j.Priority != p {
			t.Errorf("claimed one of priority %d while %d waits", j.Priority, p)
		}
	}
}

func TestReturningJobGoesToEndOfItsPriority(t *testing.T) {
	t.Parallel()
	t.Run("SQL", returningJobGoesToEndOfItsPrioritySQL)
	t.Run("REST", returningJobGoesToEndOfItsPriorityREST)
}

func returningJobGoesToEndOfItsPrioritySQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	kind := func(name string, more string) string { return `{"kind": "` + name + `", "queue": "q"` + more + `}` }
	weirtest.Enqueue(t, d, kind("released", ""), kind("failed", ""), kind("lost", ""), kind("edited", `, "delay_seconds": 50`), kind("snoozed", ""))
	for _, j := range weirtest.Claim(t, d, "q", 10) {
		switch j.Kind {
		case "released":
			weirtest.Exec(t, d, "select weir.release($1, $2)", j.ID, j.Token)
		case "failed":
			weirtest.Exec(t, d, "select weir.fail($1, $2, null, retry_in => '0')", j.ID, j.Token)
		case "lost":
			weirtest.Exec(t, d, "update weir.job_lease set expires_at = now() - interval '1 s' where job_id = $1", j.ID)
			weirtest.Exec(t, d, "select weir.expire_leases()")
		case "snoozed":
			weirtest.Exec(t, d, "select weir.snooze($1, $2, '0')", j.ID, j.Token)
		}
		weirtest.Enqueue(t, d, kind("after "+j.Kind, ""))
	}
	weirtest.Enqueue(t, d, kind("low", `, "priority": 1`), kind("high", `, "priority": 9`))
	weirtest.Exec(t, d, "select weir.edit((select id from weir.jobs where kind = 'edited'), '{\"run_at\": \"2001-01-01T00:00:00Z\"}')")
	weirtest.Enqueue(t, d, kind("last", ""))
	var got []string
	for range 12 {
		got = append(got, weirtest.ClaimOne(t, d, "q").Kind)
	}
	want := []string{"high", "released", "after released", "failed", "after failed", "lost", "after lost", "snoozed", "after snoozed", "edited", "last", "low"}
	if !slices.Equal(got, want) {
		t.Errorf("claimed\n%q\nwant\n%q", got, want)
	}
}

// A returning job goes to the end of its priority: jobs are first in, first out by the time they became available.
func returningJobGoesToEndOfItsPriorityREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := s.EnqueueAll([]obj{{"kind": "a"}, {"kind": "b"}, {"kind": "c", "priority": 4}})
	got := s.ClaimAs("worker", 1, "default")[0]
	if got.ID != ids[0] {
		t.Fatalf("claimed %s first", got.ID)
	}
	s.Post("/v1/jobs/"+got.ID+"/release", obj{"token": got.Token}).Want(http.StatusOK)
	s.Settle()
	for _, want := range []string{ids[1], ids[0], ids[2]} {
		if got := s.Claim(1, "default"); len(got) != 1 || got[0].ID != want {
			t.Fatalf("claimed %+v, want job %s", got, want)
		}
	}
}

// The service before this one ordered 10 first in one place and 1 first in another.
func TestPriorityTenComesFirstEverywhere(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	d := s.DB
	orders := map[string]func(queue string) []int{
		"a claim over REST": func(queue string) []int {
			var got []int
			for _, j := range s.ClaimAs("w", 10, queue) {
				got = append(got, s.Job(j.ID).Priority)
			}
			return got
		},
		"claims one by one": func(queue string) []int {
			var got []int
			for range 10 {
				got = append(got, s.Job(s.ClaimOne(queue).ID).Priority)
			}
			return got
		},
		"a claim in SQL": func(queue string) []int {
			return weirtest.Values[int](t, d, "select priority from weir.claim(array[$1], 'w', 10)", queue)
		},
		"who is ahead": func(queue string) []int {
			return weirtest.Values[int](t, d, `select j.priority from weir.jobs j cross join lateral (select coalesce(max((w.detail ->> 'ahead')::int), 0) as ahead from weir.why(j.id) w) w
				where j.queue = $1 order by w.ahead`, queue)
		},
	}
	for name, order := range orders {
		queue := strings.ReplaceAll(name, " ", "-")
		for _, p := range []int{3, 9, 1, 10, 5, 2, 8, 6, 4, 7} {
			s.Enqueue(obj{"kind": "k", "queue": queue, "priority": p})
		}
		s.Settle()
		if got := order(queue); !slices.Equal(got, []int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}) {
			t.Errorf("%s: %v", name, got)
		}
	}

	// The number means the same wherever it comes from: the queue's default, an edit, a list filter, a retry.
	s.Do(http.MethodPut, "/v1/queues/default-10", `{"priority": 10}`).Want(http.StatusOK)
	first := s.Enqueue(`{"kind": "k", "queue": "default-10"}`)
	second := s.Enqueue(`{"kind": "k", "queue": "default-10", "priority": 9}`)
	third := s.Enqueue(`{"kind": "k", "queue": "default-10", "priority": 1}`)
	s.Do(http.MethodPatch, "/v1/jobs/"+third, `{"priority": 10}`).Want(http.StatusOK)
	if page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?queue=default-10&priority=10").Want(http.StatusOK)); len(page.Items) != 2 || page.Items[0].ID != third || page.Items[1].ID != first {
		t.Errorf("those of priority 10 are %+v", page.Items)
	}
	s.Settle()
	for i, want := range []string{first, third, second} {
		j := s.ClaimOne("default-10")
		if j.ID != want {
			t.Errorf("claim %d gives job %s, want %s", i, j.ID, want)
		}
		if i == 0 {
			s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}, "retry_in_seconds": 600}).Want(http.StatusOK)
		}
	}
	later := s.Enqueue(`{"kind": "k", "queue": "default-10", "priority": 9, "run_at": "` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`)
	for _, id := range []string{later, first} {
		s.Post(fmt.Sprintf("/v1/jobs/%s/retry", id), nil).Want(http.StatusOK)
	}
	s.Settle()
	if j := s.ClaimOne("default-10"); j.ID != first {
		t.Errorf("of two that were run again, job %s comes first, want %s of priority 10", j.ID, first)
	}
}
