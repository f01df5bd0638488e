package health

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestHungDatabaseIsReportedAsFailing(t *testing.T) {
	weirtest.Long(t, "it waits for time limits")
	t.Parallel()
	server := weirtest.NewServer(t)
	s := weirtest.StartNodeOn(t, weirtest.Open(t, server.URL("weir")))
	s.Eventually("the database is checked", func() bool { return ownComponent(s, "database").Status == "ok" })

	pids := processesOf(t, server.DataDir())
	signal(t, "STOP", pids)
	defer signal(t, "CONT", pids)
	began := time.Now()
	c := ownComponent(s, "database")
	if took := time.Since(began); took > weirtest.Soon {
		t.Errorf("/v1/health took %s while the database hangs", took)
	}
	if c.Status != "failing" || !strings.Contains(c.Message, "does not answer") {
		t.Errorf("while the database hangs, /v1/health says %+v", c)
	}
	time.Sleep(40 * time.Second) // its last saved check is then as old as that of a node that has ended
	if c := ownComponent(s, "database"); c.Status != "failing" {
		t.Errorf("after 40 s without an answer, /v1/health says %+v", c)
	}
	signal(t, "CONT", pids)
	s.Eventually("the database is checked again, and the time without an answer is saved", func() bool {
		c := ownComponent(s, "database")
		for _, h := range c.History {
			if !h.OK && strings.HasPrefix(h.Message, "it did not answer for ") {
				return c.Status == "ok"
			}
		}
		return false
	})
}

// processesOf returns the processes of a server.
func processesOf(t *testing.T, dataDir string) []string {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "--", "postgres.* "+dataDir).Output()
	if err != nil {
		t.Fatalf("looking for the server of %s: %v", dataDir, err)
	}
	pids := strings.Fields(string(out))
	children, _ := exec.Command("pgrep", "-P", strings.Join(pids, ",")).Output() // fails if there are none
	return append(pids, strings.Fields(string(children))...)
}

// signal ignores processes that have ended.
func signal(t *testing.T, name string, pids []string) {
	t.Helper()
	_ = exec.Command("kill", append([]string{"-" + name}, pids...)...).Run()
}
