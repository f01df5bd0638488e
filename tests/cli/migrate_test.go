package cli

import (
	"encoding/json"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMigrateAnswersInJSON(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_DATABASE_URL=" + weirtest.Empty(t).Direct}
	run := func(command string) (answer struct {
		Version    int64
		Current    bool
		Migrations []struct {
			Version   int64
			Name      string
			AppliedAt string `json:"applied_at"`
		}
	}) {
		t.Helper()
		r := weirtest.RunCLI(t, settings, "y\n", "migrate", command, "--json").Says(0)
		if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
			t.Fatalf("%s: %v\n%s", r.Line, err, r.Stdout)
		}
		return answer
	}
	before := run("status")
	if before.Version != 0 || before.Current || len(before.Migrations) == 0 || before.Migrations[0].AppliedAt != "" {
		t.Errorf("an empty database is %+v", before)
	}
	up := run("up")
	if after := run("status"); up.Version == 0 || after.Version != up.Version || !after.Current || after.Migrations[0].AppliedAt == "" {
		t.Errorf("migrated to %+v, it is %+v", up, after)
	}
	if r := weirtest.RunCLI(t, settings, "n\n", "migrate", "down", "--json"); r.Status != 1 || r.Stdout != "" {
		t.Errorf("%s, answered n, ends with %d: %s", r.Line, r.Status, r.Stdout)
	}
	if down := run("down"); down.Version != 0 {
		t.Errorf("removed, it is %+v", down)
	}
}
