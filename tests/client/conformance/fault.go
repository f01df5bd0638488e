//go:build unix

package conformance

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// alone runs a case with a node, a database and workers of its own, and makes its faults.
func alone(t *testing.T, d Driver, way string, one workCase) {
	t.Helper()
	s := &stage{t: t, driver: d, way: way}
	s.open(one)
	r := &running{workCase: one, stage: s, queue: "alone"}
	s.settings = map[string]any{
		"queues": []string{r.queue}, "concurrency": one.Workers.Concurrency, "lease_seconds": one.Workers.LeaseSeconds, "grace_seconds": one.Workers.GraceSeconds,
	}
	s.producer = d.talk(t, append([]string{"produce"}, s.address()...)...)
	for range one.Workers.Count {
		s.startWorker()
	}
	err := r.begin()
	if err == nil {
		for _, f := range one.Faults {
			s.make(f, r.queue)
		}
		err = r.finish()
	}
	r.judge(t, err)
	for len(s.workers) > 0 {
		s.endWorker()
	}
}

// open starts what the faults of a case can stop.
func (s *stage) open(one workCase) {
	s.t.Helper()
	faults := fmt.Sprint(one.Faults)
	switch {
	case strings.Contains(faults, "database"):
		server := weirtest.NewServer(s.t)
		s.database = weirtest.Open(s.t, server.URL("weir"))
		s.node = weirtest.StartNodeOn(s.t, s.database)
		s.stop = func() {
			if err := server.Kill(); err != nil {
				s.t.Fatal(err)
			}
		}
		s.restart = func() { weirtest.Restart(s.t, server) }
	case strings.Contains(faults, "node"):
		s.database = weirtest.New(s.t)
		address := "WEIR_ADDR=" + freeAddress(s.t)
		var process *weirtest.Process
		s.restart = func() { s.node, process = weirtest.StartServe(s.t, s.database, address) }
		s.stop = func() { process.Kill() }
		s.restart()
	default:
		s.node = weirtest.StartNode(s.t)
		s.database = s.node.DB
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// make waits for a fault's time, and makes it.
func (s *stage) make(f fault, queue string) {
	s.t.Helper()
	for state, n := range f.When {
		weirtest.Eventually(s.t, fmt.Sprintf("%d jobs are %s", n, state), func() bool {
			var found int
			err := s.database.QueryRow(s.t.Context(), "select count(*) from weir.jobs where queue = $1 and state = $2", queue, state).Scan(&found)
			return err == nil && found >= n
		})
	}
	switch f.Then {
	case "kill worker":
		s.takeWorker().Kill()
	case "end worker":
		s.endWorker()
	case "start worker":
		s.startWorker()
	case "kill node", "kill database":
		s.stop()
	case "start node", "start database":
		s.restart()
	default:
		s.t.Fatalf("there is no fault %q", f.Then)
	}
}
