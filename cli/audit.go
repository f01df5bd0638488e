package cli

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// auditEntry is what is printed of a change in the audit trail.
type auditEntry struct {
	At            time.Time
	Principal     string
	PrincipalKind string `json:"principal_kind"`
	Remote        string
	Operation     string
	Object        string
	Before, After map[string]json.RawMessage
}

type auditCommand struct {
	Principal string    `help:"Only changes by this principal: its name, or the id of its key." placeholder:"NAME"`
	Operation string    `help:"Only changes by this operation, such as pauseQueue." placeholder:"NAME"`
	Object    string    `help:"Only changes of this object, such as queues/mail." placeholder:"PATH"`
	After     time.Time `help:"Only changes at this time or later, in RFC 3339." placeholder:"TIME"`
	Before    time.Time `help:"Only changes before this time, in RFC 3339." placeholder:"TIME"`
	Limit     limit     `help:"List at most this many." default:"50"`
	answerFlags
}

// Run lists the audit trail.
func (c *auditCommand) Run(ctx context.Context, s *Session) error {
	call := rest.Get("/v1/audit").With("principal", c.Principal).With("operation", c.Operation).With("object", c.Object).
		With("after", timeParameter(c.After)).With("before", timeParameter(c.Before))
	return list(ctx, s, c.answerFlags, call, int(c.Limit), "There are no such changes.", layout[auditEntry]{
		columns: []string{"AT", "WHO", "FROM", "OPERATION", "OBJECT", "CHANGE"},
		row: func(_ *printer, e *auditEntry) []any {
			return []any{
				e.At.Local().Format(timeFormat), e.Principal, e.Remote, e.Operation, e.Object, terminal.Shorten(terminal.OneLine(e.change()), 100),
			}
		},
	})
}

// timeParameter is a time in a query; "" for none.
func timeParameter(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// change says what changed: each setting with its old and its new value.
func (e *auditEntry) change() string {
	names := slices.Sorted(maps.Keys(e.After))
	for _, name := range slices.Sorted(maps.Keys(e.Before)) {
		if _, both := e.After[name]; !both {
			names = append(names, name)
		}
	}
	texts := make([]string, len(names))
	for i, name := range names {
		before, was := e.Before[name]
		after, is := e.After[name]
		switch {
		case was && is:
			texts[i] = name + ": " + string(before) + " -> " + string(after)
		case is:
			texts[i] = name + ": " + string(after)
		default:
			texts[i] = name + ": " + string(before) + " -> none"
		}
	}
	return strings.Join(texts, ", ")
}
