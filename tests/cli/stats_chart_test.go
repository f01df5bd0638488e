package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestStatsAreDrawnOnATerminalOnly(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+id+"/complete", obj{"token": s.ClaimOne("q").Token}).Want(http.StatusOK)
	if text := s.CLI("stats").Says(0, "ENQUEUED").Stdout; strings.Contains(text, "each bar") || strings.Contains(text, "█") {
		t.Errorf("piped, it prints\n%s", text)
	}
	for _, columns := range []int{80, 160} {
		x := weirtest.StartTerminal(t, columns, 40, []string{"WEIR_URL=" + s.URL}, weirtest.Program(t, "./cmd/weir"), "stats")
		x.Shows("each bar: 60 s", "enqueued   ", "completed  ", "p95 wait   ", "█  at most 0.02/s at ")
		for line := range strings.Lines(x.Screen()) {
			if strings.Contains(line, "█") && len([]rune(strings.TrimRight(line, "\n"))) > columns {
				t.Errorf("%d columns: %q", columns, line)
			}
		}
		if status := x.Wait(); status != 0 {
			t.Errorf("it ends with %d", status)
		}
	}
}
