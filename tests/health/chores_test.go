package health

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs/chores"
	"github.com/weirhq/weir/tests/weirtest"
)

type readiness struct {
	Components []struct{ Name, Status, Message string }
}

// readyComponent is a component of the answer of /readyz.
func readyComponent(s *weirtest.Node, name string) (status, message string) {
	s.T.Helper()
	for _, c := range weirtest.Decode[readiness](s.Get("/readyz").Want(http.StatusOK)).Components {
		if c.Name == name {
			return c.Status, c.Message
		}
	}
	return "", ""
}

// ownComponent is a component of a node, not of the service.
func ownComponent(s *weirtest.Node, name string) weirtest.Component {
	s.T.Helper()
	all := weirtest.Decode[struct{ Components []weirtest.Component }](s.Get("/v1/health?component=" + name).Want(http.StatusOK)).Components
	if i := slices.IndexFunc(all, func(c weirtest.Component) bool { return c.Name == name && c.Node != "" }); i >= 0 {
		return all[i]
	}
	return weirtest.Component{}
}

// Chores can fail while calls work: here their role may not log in.
func TestChoresThatCannotStartAreReported(t *testing.T) {
	weirtest.Long(t, "it waits for several attempts")
	t.Parallel()
	s := weirtest.StartNode(t)
	role := fmt.Sprintf("chores_%d", time.Now().UnixNano())
	s.Exec("create role " + role + " superuser nologin password 'secret'")
	t.Cleanup(func() { _ = weirtest.TryExec(s.DB, "drop role "+role) })
	address, err := url.Parse(s.DB.Direct)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "secret")
	c, err := chores.Open(t.Context(), chores.Config{DatabaseURL: address.String(), Engine: s.Engine, Logger: slog.New(slog.NewTextHandler(s.Log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)

	s.Eventually("/readyz shows that the chores fail", func() bool {
		status, message := readyComponent(s, "chores")
		return status == "failing" && strings.Contains(message, "starting River")
	})
	s.Eventually("/v1/health shows it for this node", func() bool {
		c := ownComponent(s, "chores")
		return c.Status == "failing" && strings.Contains(c.Message, "starting River")
	})
	time.Sleep(3 * time.Second) // several attempts
	if n := strings.Count(s.Log.String(), "starting River"); n != 1 {
		t.Errorf("%d lines of log say that the chores do not start, want one for the first of several failures", n)
	}

	s.Exec("alter role " + role + " login")
	s.Eventually("the chores start", func() bool { status, _ := readyComponent(s, "chores"); return status == "ok" })
	s.Eventually("/v1/health shows it", func() bool { return ownComponent(s, "chores").Status == "ok" })
}
