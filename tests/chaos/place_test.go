package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// Whatever clients do to the same jobs at once, no call fails internally, and each job is in one place.
func TestConcurrentChangesLeaveJobInOnePlace(t *testing.T) {
	weirtest.Long(t, "it changes jobs for a while")
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q", "max_attempts": 3, "retry": obj{"strategy": "fixed", "base_seconds": 0.05}}}, 30))
	const rounds = 150
	var mu sync.Mutex
	tokens := map[string]string{} // the newest known token of each job, valid or stale
	statuses := map[string]int{}
	var clients sync.WaitGroup
	for c := range 12 {
		clients.Go(func() {
			dice := rand.New(rand.NewPCG(7, uint64(c)))
			ack := func() (id string, body obj, outcome string) {
				id = ids[dice.IntN(len(ids))]
				mu.Lock()
				token := tokens[id]
				mu.Unlock()
				if token == "" {
					token = "1"
				}
				outcome = []string{"complete", "fail", "snooze", "release"}[dice.IntN(4)]
				body = obj{"token": token}
				switch outcome {
				case "fail":
					body["error"] = obj{"message": "no"}
				case "snooze":
					body["delay_seconds"] = dice.Float64() / 10
				}
				return id, body, outcome
			}
			for range rounds {
				method, path, body := http.MethodPost, "", any(nil)
				id := ids[dice.IntN(len(ids))]
				switch dice.IntN(9) {
				case 0, 1, 2:
					path, body = "/v1/claims", obj{"worker": fmt.Sprint(c), "queues": []string{"q"}, "limit": 1 + dice.IntN(5), "lease_seconds": 1}
				case 3:
					of, with, outcome := ack()
					path, body = "/v1/jobs/"+of+"/"+outcome, with
				case 4:
					var acks []obj
					for range 8 {
						of, with, outcome := ack()
						acks = append(acks, weirtest.With(with, obj{"id": of, "outcome": outcome}))
					}
					path, body = "/v1/acks", obj{"acks": acks}
				case 5:
					path = "/v1/jobs/" + id + "/cancel"
				case 6:
					path, body = "/v1/jobs/"+id+"/retry", obj{"reset_attempts": dice.IntN(2) == 0}
				case 7:
					method, path, body = http.MethodPatch, "/v1/jobs/"+id, obj{"priority": 1 + dice.IntN(10)}
				case 8:
					path, body = "/v1/queues/q/purge", obj{"state": "available"}
					if dice.IntN(10) > 0 {
						method, path, body = http.MethodGet, "/v1/jobs/"+id, nil
					}
				}
				r, err := s.Send(t.Context(), method, path, body)
				if err != nil {
					t.Error(err)
					return
				}
				if r.Status != http.StatusOK && r.Status != http.StatusConflict && r.Status != http.StatusServiceUnavailable { // locked for too long
					t.Error(r)
				}
				var got weirtest.ClaimedJobs
				if path == "/v1/claims" && json.Unmarshal(r.Body, &got) == nil {
					mu.Lock()
					for _, j := range got.Jobs {
						tokens[j.ID] = j.Token
					}
					mu.Unlock()
				}
				mu.Lock()
				statuses[fmt.Sprint(path[strings.LastIndexByte(path, '/'):], " ", r.Status)]++
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	for _, done := range []string{"/complete 200", "/complete 409", "/acks 200", "/cancel 200", "/retry 200", "/claims 200"} {
		if statuses[done] == 0 {
			t.Errorf("%s never happened; what did is %v", done, statuses)
		}
	}
	if n := strings.Count(s.Log.String(), "deadlock detected"); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
	const places = `(select coalesce(job_id, seq) as job_id from weir.job_ready union all select job_id from weir.job_scheduled union all select job_id from weir.job_held
		union all select job_id from weir.job_lease union all select job_id from weir.job_outcome) p`
	if n := s.Count(`select count(*) from weir.job j where (select count(*) from ` + places + ` where p.job_id = j.id) <> 1`); n != 0 {
		t.Errorf("%d jobs are in no place, or in several", n)
	}
	if n := s.Count(`select count(*) from weir.job_dead d where not exists (select from weir.job_outcome o where o.job_id = d.job_id and o.state = 'dead')`); n != 0 {
		t.Errorf("%d dead letters are not dead", n)
	}
	if n := s.Count(`select count(*) from weir.job_outcome o where o.state = 'dead' and not exists (select from weir.job_dead d where o.job_id = d.job_id)`); n != 0 {
		t.Errorf("%d dead jobs are no dead letters", n)
	}
	for _, id := range ids {
		s.Job(id)
	}
}
