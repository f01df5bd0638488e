package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestLiveCommandsKeepToTheKey: a key of a tenant or of queues sees its own in top, tail, a watch and completions.
func TestLiveCommandsKeepToTheKey(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Do(http.MethodPut, "/v1/queues/mail", obj{"tenant": "acme"}).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/queues/vault", obj{}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "letter", "queue": "mail", "tenant": "acme"})
	s.Enqueue(obj{"kind": "gold", "queue": "vault"})
	for name, bound := range map[string]obj{"tenant": {"tenant": "acme"}, "queues": {"queues": []string{"mail"}}} {
		t.Run(name, func(t *testing.T) {
			settings := []string{"WEIR_URL=" + s.URL, "WEIR_TOKEN=" + s.AsNew(name, bound, "reader").Key}
			weir := weirtest.Program(t, "./cmd/weir")
			tailed, watched := weirtest.StartProgram(t, settings, weir, "tail"), weirtest.StartProgram(t, settings, weir, "jobs", "--watch")
			weirtest.Eventually(t, "the tail and the watch see its own", func() bool {
				s.Enqueue(obj{"kind": "gold", "queue": "vault"})
				s.Enqueue(obj{"kind": "letter", "queue": "mail", "tenant": "acme"})
				return strings.Contains(tailed.Output.String(), "letter") && strings.Contains(watched.Output.String(), "letter")
			})
			frame := weirtest.RunCLI(t, settings, "", "top", "--once").Says(0, "\nmail ").Stdout
			names := weirtest.RunCLI(t, settings, "", "complete", "--", "queue", "show", "").Says(0, "mail").Stdout
			for where, text := range map[string]string{"top": frame, "complete": names, "tail": tailed.Output.String(), "jobs --watch": watched.Output.String()} {
				if strings.Contains(text, "vault") || strings.Contains(text, "gold") {
					t.Errorf("weir %s shows what its key may not see:\n%s", where, text)
				}
			}
		})
	}
}

func TestTopEndsWithItsKey(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Do(http.MethodPut, "/v1/queues/mail", obj{}).Want(http.StatusOK)
	key := s.NewKey(obj{"name": "k", "roles": []string{"reader"}})
	x := weirtest.StartTerminal(t, 80, 24, []string{"WEIR_URL=" + s.URL, "WEIR_TOKEN=" + key.Secret}, weirtest.Program(t, "./cmd/weir"), "top", "--every", "1s")
	x.Shows("mail")
	s.Do(http.MethodDelete, "/v1/keys/"+key.ID, nil)
	if status := x.Wait(); status != 1 {
		t.Errorf("without its key it ends with %d", status)
	}
	x.Shows("weir: ")
	weirtest.RunCLI(t, []string{"WEIR_URL=" + s.URL}, "", "top", "--once").Says(1, "key")
}
