package health

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// components are those that a node checks without a circuit breaker and without chores.
var components = []string{"database", "listener", "loops", "frontier", "promotion", "leases", "partitions", "horizon"}

func TestEachComponentIsChecked(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, name := range components {
		var c weirtest.Component
		// If the machine stalls, the first check may fail.
		s.Eventually(name+" is checked, and well", func() bool { c = s.Component(name); return c.Status == "ok" })
		if len(c.History) != c.Checks || !c.History[0].OK || c.SuccessRate <= 0 || c.SuccessRate > 1 {
			t.Errorf("%s: %+v", name, c)
		}
		if ofNode := slices.Contains([]string{"database", "listener", "loops"}, name); (c.Node != "") != ofNode {
			t.Errorf("%s is of node %q", name, c.Node)
		}
	}
	if c := s.Component("database"); c.History[0].Seconds == nil {
		t.Error("how long the database took is not there")
	}
	if got := s.Component("chores"); got.Status != "failing" { // this node runs no River
		t.Errorf("chores: %+v", got)
	}
}

func TestOpenBreakerLowersScore(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, name := range components {
		s.Eventually(name+" is checked, and well", func() bool { return s.Component(name).Status == "ok" })
	}
	// From now on this test checks, and no other session.
	conn, err := s.DB.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	weirtest.Exec(t, conn, "alter function weir.check_health rename to check_health_for_the_test")
	weirtest.Exec(t, conn, "delete from weir.health_check where not ok")
	check := func() {
		t.Helper()
		if checked := weirtest.Value[bool](t, conn, "select weir.check_health_for_the_test('0 s')"); !checked {
			t.Fatal("it was not checked")
		}
	}
	summary := func() weirtest.Resilience {
		// No chores run here, and whatever a stalling machine does to a node is not the question.
		weirtest.Exec(t, conn, "delete from weir.health_check where component = 'chores' or not ok and node <> ''")
		return weirtest.Decode[weirtest.Resilience](s.Get("/v1/health/summary").Want(http.StatusOK))
	}
	if r := summary(); r.Status != "healthy" || r.Score != 100 || len(r.Failing) != 0 || r.Components < 8 {
		t.Errorf("at first: %+v", r)
	}
	s.Do(http.MethodPut, "/v1/breakers/stripe", `{}`)
	check()
	s.Post("/v1/breakers/stripe/trip", `{"open_seconds": 3600}`).Want(http.StatusOK)
	check()
	c := s.Component("breaker:stripe")
	if c.Status != "failing" || c.Message != "it is open" || c.SuccessRate != 0.5 || c.Checks != 2 || c.History[0].OK || !c.History[1].OK {
		t.Errorf("the breaker: %+v", c)
	}
	r := summary()
	if r.Status != "degraded" || r.Score >= 100 || r.Score < 80 || !slices.Equal(r.Failing, []string{"breaker:stripe"}) || r.Breakers.Open != 1 || r.Breakers.OpenedLastDay != 1 {
		t.Errorf("with an open breaker: %+v", r)
	}
	s.Exec("select weir.record_health('frontier', '', false, null, 'gone')")
	if r := summary(); r.Status != "critical" {
		t.Errorf("without a frontier: %+v", r)
	}
}

func TestLastHundredChecksAreKept(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt) select 1, clock_timestamp() - interval '1 minute', 1, 5, 0")
	for range 120 {
		weirtest.Exec(t, d, "select weir.check_health('0 s')")
	}
	if got := weirtest.Value[string](t, d, "select checks || ' ' || passed || ' ' || success_rate || ' ' || message from weir.health where component = 'promotion'"); got != "100 0 0 1 jobs have been due for more than 10 seconds" {
		t.Errorf("promotion: %s", got)
	}
	weirtest.Exec(t, d, "delete from weir.job_scheduled")
	for range 25 {
		weirtest.Exec(t, d, "select weir.check_health('0 s')")
	}
	if got := weirtest.Value[string](t, d, "select checks || ' ' || success_rate || ' ' || ok from weir.health where component = 'promotion'"); got != "100 0.25 true" {
		t.Errorf("promotion: %s", got)
	}
	if checked := weirtest.Value[bool](t, d, "select weir.check_health()"); checked {
		t.Error("it was checked again at once")
	}
}
