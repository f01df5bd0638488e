package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCLIAWorkflowIsSubmittedDrawnAndChanged(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.cli("workflow").says(0, "no such workflows")
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
	w := strings.Fields(s.cli("workflow", "submit", "@"+file, "--idempotency-key", "o-1").says(0, "with 5 steps").stdout)[1]
	s.cli("workflow", "submit", "@"+file, "--idempotency-key", "o-1").says(0, "workflow "+w+" existed already")
	s.cli("workflow", "submit", `{"name": "w", "steps": [{"name": "a", "kind": "a", "depends_on": ["b"]}, {"name": "b", "kind": "b", "depends_on": ["a"]}]}`).says(1, "a -> b -> a")
	s.cli("workflow", "submit", `nonsense`).says(2, "not JSON")
	j := s.claimOne("q")
	s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).want(200)

	drawn := s.cli("workflow", "show", w).says(0, "workflow "+w+" order is running: 20 % of 5 steps").stdout
	for _, line := range []string{"● reserve *", "├─ ○ charge", "└─ ○ pack", "· ship", "also after", "· received"} {
		if !strings.Contains(drawn, line) {
			t.Errorf("%q is not in\n%s", line, drawn)
		}
	}
	s.cli("workflow", "show", w, "--mermaid").says(0, "flowchart TD", "s0 --> s1")
	var graph servedGraph
	if err := json.Unmarshal([]byte(s.cli("workflow", "show", w, "--json").says(0).stdout), &graph); err != nil || len(graph.Nodes) != 5 {
		t.Errorf("--json shows %+v, %v", graph, err)
	}
	s.cli("workflow", "signal", w, "received", `{"by": "ann"}`).says(0, "it is kept")
	s.cli("workflow", "timeline", w).says(0, "workflow submitted", "reserve", "completed", "workflow signal")
	s.cli("workflow", "cancel", w).says(0, "is cancelled")
	s.cli("workflow", "cancel", w).says(1, "is over")
	s.cli("workflow", "retry", w, "--by", "ann").says(0, "is running: 20 %")
	f := strings.Fields(s.cli("workflow", "fork", w, "reserve").says(0, "is running: 0 %").stdout)[1]
	s.cli("workflows", "list", "--state", "running").says(0, w, f, "order")
	s.cli("workflow", "show", f).says(0, "forked from workflow "+w)
	s.cli("workflow", "list", "--limit", "1").says(0, "There are more")
	s.cli("workflow", "show", "4711").says(1, "there is no workflow 4711")
	s.cli("workflow", "list", "--limit", "0").says(2, "--limit")
}

func TestCLIManyStepsThatAreAlikeAreDrawnAsOne(t *testing.T) {
	t.Parallel()
	s := startService(t)
	steps, maps := []obj{stepOf("list", "q")}, []string{}
	for i := range 50 {
		maps = append(maps, fmt.Sprint("count-", i))
		steps = append(steps, obj{"name": maps[i], "kind": "count", "queue": "q", "depends_on": []string{"list"}})
	}
	w := s.submit(nil, append(steps, stepOf("join", "q", maps...))...)
	short := s.cli("workflow", "show", w).says(0, "count-0 … count-49", "50 steps", "46 more").stdout
	long := s.cli("workflow", "show", w, "--all").says(0, "count-17").stdout
	if strings.Count(short, "\n") > 12 || strings.Count(long, "\n") < 50 {
		t.Errorf("short:\n%s\nlong:\n%s", short, long)
	}
}
