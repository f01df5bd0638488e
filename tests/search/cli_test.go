package search

import (
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestJobsAreSearchedOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(obj{"kind": "resize", "queue": "files", "tags": []string{"red"}, "args": obj{"customer": obj{"id": 42}, "note": "a=b"}})
	s.Enqueue(obj{"kind": "import", "queue": "bulk", "priority": 8})
	for _, c := range []struct {
		flags         []string
		first, second bool
	}{
		{nil, true, true},
		{[]string{"--kind", "resize", "--kind", "import"}, true, true},
		{[]string{"--queue", "files,nothing"}, true, false},
		{[]string{"--args", "customer.id=42", "--args", "note=a=b"}, true, false},
		{[]string{"--text", "resize or import", "--min-priority", "8"}, false, true},
		{[]string{"--max-attempts", "0", "--state", "available", "--max-run-seconds", "1"}, false, false},
		{[]string{"--has-error=false", "--min-wait-seconds", "0", "--created-after", "2020-01-01T00:00:00Z"}, true, true},
		{[]string{"--error", "refused"}, false, false},
	} {
		out := s.CLI(append([]string{"jobs"}, c.flags...)...).Says(0).Stdout
		for shown, want := range map[string]bool{"resize": c.first, "import": c.second, "There are no such jobs.": !c.first && !c.second} {
			if strings.Contains(out, shown) != want {
				t.Errorf("weir jobs %v: says %q is %t, want %t\n%s", c.flags, shown, !want, want, out)
			}
		}
	}
	s.CLI("jobs", "--args", "x").Says(2, "path=value")
	s.CLI("jobs", "--state", "nothing").Says(1, "state")
	s.CLI("jobs", "--min-priority", "x").Says(2, "min-priority")
}
