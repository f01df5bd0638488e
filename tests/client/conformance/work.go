//go:build unix

package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// ways are how SDKs reach weir.
var ways = []string{"REST", "SQL"}

// Work has an SDK do the jobs of all cases, over REST and over SQL. Cases without workers and faults of their own share a node and a worker.
func Work(t *testing.T, d Driver) {
	t.Helper()
	all := load(t)
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			var shared []*running
			for _, one := range slices.Concat(all.Work, all.Mistakes.Work) {
				switch {
				case one.Only != "" && one.Only != way:
				case one.Workers == nil:
					shared = append(shared, &running{workCase: one})
				default:
					t.Run(one.Name, func(t *testing.T) {
						t.Parallel()
						alone(t, d, way, one)
					})
				}
			}
			together(t, d, way, shared)
		})
	}
}

// stage is where cases run: a node and its database, a producer and workers.
type stage struct {
	t        *testing.T
	driver   Driver
	way      string
	node     *weirtest.Node
	database *weirtest.Database
	restart  func() // starts the node or database again that stop has killed
	stop     func()
	producer *conversation
	settings map[string]any
	workers  []*weirtest.Process
	ended    []*weirtest.Process
}

func (s *stage) address() []string {
	if s.way == "SQL" {
		return []string{"sql", s.database.Direct}
	}
	return []string{"rest", s.node.URL}
}

func (s *stage) startWorker() {
	s.t.Helper()
	settings, err := json.Marshal(s.settings)
	if err != nil {
		s.t.Fatal(err)
	}
	s.workers = append(s.workers, s.driver.start(s.t, append(append([]string{"work"}, s.address()...), string(settings))...))
}

// takeWorker takes the first worker from those that run.
func (s *stage) takeWorker() *weirtest.Process {
	worker := s.workers[0]
	s.workers, s.ended = s.workers[1:], append(s.ended, worker)
	return worker
}

// endWorker tells a worker to end, which it must do well.
func (s *stage) endWorker() {
	s.t.Helper()
	worker := s.takeWorker()
	worker.Signal(syscall.SIGTERM)
	if status := worker.Wait(); status != 0 {
		s.t.Errorf("a worker that was told to end ended with %d:\n%s", status, worker.Output)
	}
}

// runs is how often handlers began with each job.
func (s *stage) runs() map[string]int {
	counts := map[string]int{}
	for _, worker := range slices.Concat(s.workers, s.ended) {
		for line := range strings.SplitSeq(worker.Output.String(), "\n") {
			if id, ok := strings.CutPrefix(line, "ran "); ok {
				counts[id]++
			}
		}
	}
	return counts
}

// together runs cases side by side.
func together(t *testing.T, d Driver, way string, cases []*running) {
	t.Helper()
	node := weirtest.StartNode(t)
	s := &stage{t: t, driver: d, way: way, node: node, database: node.DB}
	queues := make([]string, len(cases))
	for i, r := range cases {
		queues[i] = fmt.Sprintf("case-%d", i+1)
		r.stage, r.queue = s, queues[i]
	}
	s.settings = map[string]any{"queues": queues, "concurrency": 20, "lease_seconds": 2, "grace_seconds": 5}
	s.producer = d.talk(t, append([]string{"produce"}, s.address()...)...)
	s.startWorker()
	begun := make([]error, len(cases))
	for i, r := range cases {
		begun[i] = r.begin()
	}
	for i, r := range cases {
		t.Run(r.Name, func(t *testing.T) { r.judge(t, errors.Join(begun[i], r.finish())) })
	}
	s.endWorker()
}
