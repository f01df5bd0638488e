//go:build unix

package weirtest

import (
	"net/http"
	"testing"
)

// Line is a line of a queue with limits as clients see it.
type Line struct {
	Tenant, Key string
	Waiting     int
	InFlight    int  `json:"in_flight"`
	Concurrency *int `json:"concurrency"`
	Open        bool
}

// SetLimits sets a queue's limits and waits until they are in force.
func (s *Node) SetLimits(queue, limits string) {
	s.T.Helper()
	s.Do(http.MethodPut, "/v1/queues/"+queue, `{"limits": `+limits+`}`).Want(http.StatusOK)
	s.Eventually("the limits are in force", func() bool {
		return s.Count("select count(*) from weir.queue q cross join lateral (select a.* from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1) a where q.name = $1 and a.phase = 'open' and a.version = q.limits_version", queue) == 1
	})
}

// SetLimits sets a queue's limits and puts them in force.
func SetLimits(t testing.TB, q Querier, queue, limits string) {
	t.Helper()
	Exec(t, q, "select weir.set_queue($1, jsonb_build_object('limits', $2::text::jsonb))", queue, limits)
	Admit(t, q, queue, 0)
}

// Admit makes admission passes over a queue until nothing is left to do, and returns the number of admitted jobs.
func Admit(t testing.TB, q Querier, queue string, wanted int) int {
	t.Helper()
	total := 0
	for range 1000 {
		total += Value[int](t, q, "select admitted from weir.admit($1, $2)", queue, wanted)
		if !Value[bool](t, q, "select more from weir.admit($1, 0)", queue) {
			return total
		}
	}
	t.Fatalf("queue %s has more to do after a thousand passes", queue)
	return 0
}

// CheckLimits fails the test if a count of the limits is wrong.
func CheckLimits(t testing.TB, q Querier) {
	t.Helper()
	for _, line := range Values[string](t, q, "select to_json(c)::text from weir.check_limits() c") {
		t.Error(line)
	}
}
