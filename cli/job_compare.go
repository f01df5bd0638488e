package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type compareJobs struct {
	A id `arg:"" complete:"job" help:"The id of a job."`
	B id `arg:"" complete:"job" help:"The id of the job to compare it with."`
	answerFlags
}

// comparison is two jobs side by side.
type comparison struct {
	A      comparedJob                `json:"a"`
	B      comparedJob                `json:"b"`
	Same   map[string]json.RawMessage `json:"same"`
	Differ map[string]struct {
		A json.RawMessage `json:"a"`
		B json.RawMessage `json:"b"`
	} `json:"differ"`
	Args   *difference `json:"args"`
	Result *difference `json:"result"`
}

type comparedJob struct {
	ID            string   `json:"id"`
	WaitedSeconds *float64 `json:"waited_seconds"`
	RanSeconds    *float64 `json:"ran_seconds"`
	TotalSeconds  *float64 `json:"total_seconds"`
	Timeline      []struct {
		AfterSeconds float64 `json:"after_seconds"`
		moment
	} `json:"timeline"`
	More bool `json:"more_moments"`
}

// difference is how a value of one job becomes that of the other.
type difference struct {
	Equal     bool `json:"equal"`
	Encrypted bool `json:"encrypted"`
	Patch     []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	} `json:"patch"`
}

// Run shows how two jobs differ.
func (c *compareJobs) Run(ctx context.Context, s *Session) error {
	return show(ctx, s, c.answerFlags, rest.Get(jobPath(c.A, "compare", string(c.B))), func(p *printer, v *comparison) {
		v.printFacts(p)
		v.Args.print(p, "args")
		v.Result.print(p, "result")
		v.printTimelines(p)
	})
}

const shownValue = 60 // characters of a value in a table

func (v *comparison) printFacts(p *printer) {
	t := p.table("", "JOB "+v.A.ID, "JOB "+v.B.ID)
	for _, name := range slices.Sorted(maps.Keys(v.Differ)) {
		t.row(name, shortValue(v.Differ[name].A), shortValue(v.Differ[name].B))
	}
	t.row("waited", spanOf(v.A.WaitedSeconds), spanOf(v.B.WaitedSeconds))
	t.row("ran", spanOf(v.A.RanSeconds), spanOf(v.B.RanSeconds))
	t.row("in all", spanOf(v.A.TotalSeconds), spanOf(v.B.TotalSeconds))
	t.end()
	if len(v.Same) > 0 {
		p.line("\nequal:")
		t = p.table()
		for _, name := range slices.Sorted(maps.Keys(v.Same)) {
			t.row("  "+name, shortValue(v.Same[name]))
		}
		t.end()
	}
}

func (d *difference) print(p *printer, name string) {
	switch {
	case d == nil:
		p.line("\n%s: not shown to this key", name)
	case d.Encrypted:
		p.line("\n%s: encrypted, and the node cannot decrypt it", name)
	case d.Equal:
		p.line("\n%s: equal", name)
	default:
		p.line("\n%s:", name)
		for _, o := range d.Patch {
			p.line("  %s %s %s", o.Op, strconv.Quote(o.Path), terminal.Shorten(string(o.Value), maxValue))
		}
	}
}

// printTimelines prints both timelines in the order of the time since each job's enqueue.
func (v *comparison) printTimelines(p *printer) {
	p.line("")
	t := p.table("AFTER", "JOB "+v.A.ID, "JOB "+v.B.ID)
	a, b := v.A.Timeline, v.B.Timeline
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].AfterSeconds <= b[0].AfterSeconds {
			t.row(spanOf(&a[0].AfterSeconds), a[0].describe(-1), blank)
			a = a[1:]
		} else {
			t.row(spanOf(&b[0].AfterSeconds), blank, b[0].describe(-1))
			b = b[1:]
		}
	}
	t.end()
	for _, j := range []comparedJob{v.A, v.B} {
		if j.More {
			p.line("\njob %s has more moments: weir job timeline %s", j.ID, j.ID)
		}
	}
}

func shortValue(value json.RawMessage) string {
	if string(value) == "null" {
		return ""
	}
	return terminal.Shorten(terminal.OneLine(string(value)), shownValue)
}

// spanOf is a number of seconds with milliseconds, which tell two jobs apart.
func spanOf(seconds *float64) string {
	if seconds == nil {
		return ""
	}
	return fmt.Sprint(time.Duration(*seconds * float64(time.Second)).Round(time.Millisecond))
}
