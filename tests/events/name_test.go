package events

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

func TestUnknownEventsAreRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, query := range []string{"event=dead,died", "event=dead&event=died"} {
		p := s.Get("/v1/events?"+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != "query.event[1]" {
			t.Errorf("%s: the place is %+v", query, p.Errors)
		}
	}
}

// Every event that the database records has a name that can be asked for.
func TestAllEventsHaveNames(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	names := weirtest.Values[string](t, d, "select unnest(enum_range(null::weir.event_kind))::text")
	for prefix, constraint := range map[string]string{
		"workflow_": "workflow_event_is_known", "workflow_ ": "workflow_state_is_known", "breaker_": "breaker_event_is_known",
	} {
		text := weirtest.Value[string](t, d, "select min(pg_get_constraintdef(oid)) from pg_constraint where conname = $1", constraint)
		for _, name := range regexp.MustCompile(`'([a-z_]+)'`).FindAllStringSubmatch(text, -1) {
			names = append(names, strings.TrimSpace(prefix)+name[1])
		}
	}
	if len(names) < 40 {
		t.Fatalf("found only %d names: %v", len(names), names)
	}
	for _, name := range names {
		if !slices.Contains(jobs.EventNames, name) && name != "workflow_running" {
			t.Errorf("%s is recorded, and cannot be asked for", name)
		}
	}
}
