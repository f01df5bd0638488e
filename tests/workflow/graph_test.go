package workflow

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWorkflowIsSubmittedDrawnAndChanged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("workflow").Says(0, "no such workflows")
	file := filepath.Join(t.TempDir(), "order.json")
	text, err := json.Marshal(obj{"name": "order", "steps": []obj{
		stepOf("reserve", "q"), stepOf("charge", "q", "reserve"), stepOf("pack", "q", "reserve"), stepOf("ship", "q", "charge", "pack"),
		{"name": "received", "wait_for": obj{"signal": "received"}, "depends_on": []string{"ship"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w := strings.Fields(s.CLI("workflow", "submit", "@"+file, "--idempotency-key", "o-1").Says(0, "with 5 steps").Stdout)[1]
	s.CLI("workflow", "submit", "@"+file, "--idempotency-key", "o-1").Says(0, "workflow "+w+" existed already")
	s.CLI("workflow", "submit", `{"name": "w", "steps": [{"name": "a", "kind": "a", "depends_on": ["b"]}, {"name": "b", "kind": "b", "depends_on": ["a"]}]}`).Says(1, "a -> b -> a")
	s.CLI("workflow", "submit", `nonsense`).Says(2, "not JSON")
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(200)

	drawn := s.CLI("workflow", "show", w).Says(0, "workflow "+w+" order is running: 20 % of 5 steps").Stdout
	for _, line := range []string{"● reserve *", "├─ ○ charge", "└─ ○ pack", "· ship", "also after", "· received"} {
		if !strings.Contains(drawn, line) {
			t.Errorf("%q is not in\n%s", line, drawn)
		}
	}
	s.CLI("workflow", "show", w, "--mermaid").Says(0, "flowchart TD", "s0 --> s1")
	var graph weirtest.Graph
	if err := json.Unmarshal([]byte(s.CLI("workflow", "show", w, "--json").Says(0).Stdout), &graph); err != nil || len(graph.Nodes) != 5 {
		t.Errorf("--json shows %+v, %v", graph, err)
	}
	s.CLI("workflow", "signal", w, "received", `{"by": "ann"}`).Says(0, "it is kept")
	s.CLI("workflow", "timeline", w).Says(0, "workflow submitted", "reserve", "completed", "workflow signal")
	s.CLI("workflow", "cancel", w).Says(0, "is cancelled")
	s.CLI("workflow", "cancel", w).Says(1, "is over")
	s.CLI("workflow", "retry", w, "--by", "ann").Says(0, "is running: 20 %")
	f := strings.Fields(s.CLI("workflow", "fork", w, "reserve").Says(0, "is running: 0 %").Stdout)[1]
	s.CLI("workflows", "list", "--state", "running").Says(0, w, f, "order")
	s.CLI("workflow", "show", f).Says(0, "forked from workflow "+w)
	s.CLI("workflow", "list", "--limit", "1").Says(0, "There are more")
	s.CLI("workflow", "show", "4711").Says(1, "there is no workflow 4711")
	s.CLI("workflow", "list", "--limit", "0").Says(2, "--limit")
}

func TestManyAlikeStepsAreDrawnAsOne(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	steps, maps := []obj{stepOf("list", "q")}, []string{}
	for i := range 50 {
		maps = append(maps, fmt.Sprint("count-", i))
		steps = append(steps, obj{"name": maps[i], "kind": "count", "queue": "q", "depends_on": []string{"list"}})
	}
	w := s.Submit(nil, append(steps, stepOf("join", "q", maps...))...)
	short := s.CLI("workflow", "show", w).Says(0, "count-0 … count-49", "50 steps", "46 more").Stdout
	long := s.CLI("workflow", "show", w, "--all").Says(0, "count-17").Stdout
	if strings.Count(short, "\n") > 12 || strings.Count(long, "\n") < 50 {
		t.Errorf("short:\n%s\nlong:\n%s", short, long)
	}
}

func TestGraphIsMermaidFlowchart(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, obj{"name": `a "quoted" <b>`, "kind": "k", "compensation": "undo"}, obj{"name": "wait", "wait_for": obj{"signal": "x"}, "depends_on": []string{`a "quoted" <b>`}}, stepOf("undo", "q"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/workflows/"+w+"/graph", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/vnd.mermaid")
	answer, err := s.SendRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	text := string(answer.Want(http.StatusOK).Body)
	if kind := answer.Header.Get("Content-Type"); kind != "text/vnd.mermaid" {
		t.Errorf("it is %s", kind)
	}
	for _, want := range []string{"flowchart TD\n", `s0["a #quot;quoted#quot; #lt;b#gt;"]:::available`, `s1(["wait"]):::held`, "s0 --> s1", "s0 -.->|undone by| s2", "classDef dead"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestEventsShowWorkflows(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, stepOf("a", "q"), obj{"name": "ok", "wait_for": obj{"signal": "go"}, "depends_on": []string{"a"}})
	events, hangUp := s.WatchEvents("event=completed,workflow_signal,workflow_completed&workflow_id="+w, "")
	defer hangUp()
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	s.Post("/v1/workflows/"+w+"/signals/go", nil).Want(http.StatusOK)
	got := weirtest.EventNames(s.NextEvents(events, 4))
	slices.Sort(got)
	if want := []string{"completed", "completed", "workflow_completed", "workflow_signal"}; !slices.Equal(got, want) {
		t.Errorf("the stream tells %q, want %q", got, want)
	}
}

func TestWhyNamesMissingDependencies(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, stepOf("a", "q"), stepOf("b", "q"), stepOf("c", "q", "a", "b"), obj{"name": "s", "wait_for": obj{"signal": "go"}})
	for name, want := range map[string]string{"c": "it waits for 2 of the 2 steps that it depends on, to complete: a, b", "s": "it waits for a signal: go"} {
		id := fmt.Sprint(s.Count("select job_id from weir.workflow_step where workflow_id = $1::bigint and name = $2", w, name))
		reasons := weirtest.Decode[struct {
			Reasons []struct{ Code, Message string }
		}](s.Get("/v1/jobs/" + id + "/why").Want(http.StatusOK)).Reasons
		if len(reasons) == 0 || reasons[0].Message != want {
			t.Errorf("of %s it says %+v, want %s", name, reasons, want)
		}
	}
}
