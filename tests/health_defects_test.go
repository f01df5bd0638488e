package tests

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs/chores"
	"github.com/weirhq/weir/tests/pgtest"
)

type readiness struct {
	Status     string
	Components []struct{ Name, Status, Message string }
}

func (s *service) readyComponent(name string) (status, message string) {
	s.t.Helper()
	for _, c := range readAs[readiness](s.get("/readyz").want(http.StatusOK)).Components {
		if c.Name == name {
			return c.Status, c.Message
		}
	}
	return "", ""
}

// A node's chores can fail while its calls work: here their role may not log in.
func TestChoresThatCannotStartAreReported(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t)
	s := startServiceOn(t, database.URL)
	s.pool = database.Pool()
	role := fmt.Sprintf("chores_%d", time.Now().UnixNano())
	do(t, s.pool, "create role "+role+" superuser nologin password 'secret'")
	t.Cleanup(func() { try(s.pool, "drop role "+role) })
	address, err := url.Parse(database.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "secret")
	c, err := chores.Open(t.Context(), chores.Config{DatabaseURL: address.String(), Engine: s.engine, Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	defer running.Wait()
	defer cancel()

	s.eventually("/readyz shows that the chores fail", func() bool {
		status, message := s.readyComponent("chores")
		return status == "failing" && strings.Contains(message, "starting River")
	})
	s.eventually("/v1/health shows it for this node", func() bool {
		c := s.ownComponent("chores")
		return c.Node != "" && c.Status == "failing" && strings.Contains(c.Message, "starting River")
	})
	time.Sleep(3 * time.Second) // several attempts
	if n := strings.Count(s.log.String(), "starting River"); n != 1 {
		t.Errorf("%d lines of log say that the chores do not start, want one for the first of several failures", n)
	}

	do(t, s.pool, "alter role "+role+" login")
	s.eventually("the chores start", func() bool { status, _ := s.readyComponent("chores"); return status == "ok" })
	s.eventually("/v1/health shows it", func() bool { return s.ownComponent("chores").Status == "ok" })
}

// ownComponent is one of the node, not of the service.
func (s *service) ownComponent(name string) servedComponent {
	s.t.Helper()
	all := readAs[struct{ Components []servedComponent }](s.get("/v1/health?component=" + name).want(http.StatusOK)).Components
	if i := slices.IndexFunc(all, func(c servedComponent) bool { return c.Name == name && c.Node != "" }); i >= 0 {
		return all[i]
	}
	return servedComponent{}
}

func TestHealthOfAHungDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	s := startServiceOn(t, server.URL("weir"))
	s.eventually("the database is checked", func() bool { return s.ownComponent("database").Status == "ok" })

	pids := processesOf(t, server.DataDir())
	signal(t, "STOP", pids)
	defer signal(t, "CONT", pids)
	began := time.Now()
	c := s.ownComponent("database")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("/v1/health took %s while the database hangs", took)
	}
	if c.Status != "failing" || !strings.Contains(c.Message, "does not answer") {
		t.Errorf("while the database hangs, /v1/health says %+v", c)
	}
	time.Sleep(40 * time.Second) // by then its last check is older than that of a node that has ended
	if c := s.ownComponent("database"); c.Status != "failing" {
		t.Errorf("after 40 s of it, /v1/health says %+v", c)
	}
	signal(t, "CONT", pids)
	s.eventually("the database is checked again, and its silence is saved", func() bool {
		c := s.ownComponent("database")
		silence := slices.ContainsFunc(c.History, func(h struct {
			OK      bool
			Message string
			Seconds *float64
		},
		) bool {
			return !h.OK && strings.HasPrefix(h.Message, "it did not answer for ")
		})
		return c.Status == "ok" && silence
	})
}

// processesOf returns the processes of a server, by the folder that the first of them names.
func processesOf(t *testing.T, dataDir string) []string {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "--", "postgres.* "+dataDir).Output()
	if err != nil {
		t.Fatalf("looking for the server of %s: %v", dataDir, err)
	}
	pids := strings.Fields(string(out))
	children, _ := exec.Command("pgrep", "-P", strings.Join(pids, ",")).Output()
	return append(pids, strings.Fields(string(children))...)
}

func signal(t *testing.T, name string, pids []string) {
	t.Helper()
	if out, err := exec.Command("kill", append([]string{"-" + name}, pids...)...).CombinedOutput(); err != nil && name == "STOP" {
		t.Fatalf("kill -%s %v: %v: %s", name, pids, err, out)
	}
}
