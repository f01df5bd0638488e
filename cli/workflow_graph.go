package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// graph is a workflow as nodes and edges.
type graph struct {
	Nodes        []*graphNode `json:"nodes"`
	Edges        []graphEdge  `json:"edges"`
	CriticalPath []string     `json:"critical_path"`
	Seconds      float64      `json:"critical_path_seconds"`
}

type graphNode struct {
	Name            string     `json:"name"`
	State           string     `json:"state"`
	HeldReason      string     `json:"held_reason"`
	Kind            string     `json:"kind"`
	Needs           string     `json:"needs"`
	StartedAt       *time.Time `json:"started_at"`
	FinishedAt      *time.Time `json:"finished_at"`
	ChildWorkflowID string     `json:"child_workflow_id"`

	above, below []*graphNode // what it waits for, and what waits for it, as drawn: below the last of those that it waits for
	depth        int
	undoes       string
}

type graphEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Kind string `json:"kind"`
}

var stateMarks = map[string]string{"completed": "●", "running": "◐", "dead": "✗", "cancelled": "⊘", "available": "○", "scheduled": "◷", "retryable": "↻", "held": "·"}

// draw draws a workflow as a tree: each step below the deepest of those that it waits for, the others named at the end of its line. Of more than
// `few` steps below one that nothing waits for besides the same steps, those in the same state are drawn as one.
func (g *graph) draw(out io.Writer, w *workflow, now time.Time, few int) error {
	paint := newPainter(out)
	fmt.Fprintln(out, w.say(paint))
	line := fmt.Sprintf("submitted %s, took %s", relative(now, w.CreatedAt), roughly(w.took(now)))
	if w.FinishedAt == nil {
		line = fmt.Sprintf("submitted %s, %d running, %d waiting", relative(now, w.CreatedAt), w.Running, w.Waiting)
	}
	for what, id := range map[string]string{"within workflow ": w.ParentWorkflowID, "forked from workflow ": w.ForkedFrom} {
		if id != "" {
			line += ", " + what + id
		}
	}
	if w.DeadlineAt != nil && w.FinishedAt == nil {
		line += ", deadline " + relative(now, *w.DeadlineAt)
	}
	fmt.Fprintf(out, "%s\n\n", line)

	roots := g.arrange()
	critical := map[string]bool{}
	for _, name := range g.CriticalPath {
		critical[name] = true
	}
	d := drawing{table: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0), now: now, few: few, critical: critical}
	d.steps(roots, "", true)
	if err := d.table.Flush(); err != nil {
		return err
	}
	if len(g.CriticalPath) > 1 {
		path := make([]string, len(g.CriticalPath))
		for i, name := range g.CriticalPath {
			path[i] = oneLine(name)
		}
		fmt.Fprintf(out, "\ncritical path (*): %s, %s\n", shorten(strings.Join(path, " → "), 200), roughly(time.Duration(g.Seconds*float64(time.Second))))
	}
	return nil
}

// arrange links the nodes and returns those that stand at the top.
func (g *graph) arrange() []*graphNode {
	byName := make(map[string]*graphNode, len(g.Nodes))
	for _, n := range g.Nodes {
		byName[n.Name] = n
	}
	waits := map[*graphNode]int{}
	children := map[*graphNode][]*graphNode{}
	for _, e := range g.Edges {
		from, to := byName[e.From], byName[e.To]
		if from == nil || to == nil {
			continue
		}
		if e.Kind == "compensation" {
			to.undoes = from.Name
			continue
		}
		to.above = append(to.above, from)
		waits[to]++
		children[from] = append(children[from], to)
	}
	var roots, next []*graphNode
	for _, n := range g.Nodes {
		if waits[n] == 0 {
			roots = append(roots, n)
		}
	}
	for level := roots; len(level) > 0; level, next = next, nil {
		for _, n := range level {
			for _, c := range children[n] {
				c.depth = max(c.depth, n.depth+1)
				if waits[c]--; waits[c] == 0 {
					next = append(next, c)
				}
			}
		}
	}
	for _, n := range g.Nodes {
		if len(n.above) > 0 {
			last := slices.MaxFunc(n.above, func(a, b *graphNode) int { return cmp.Compare(a.depth, b.depth) })
			last.below = append(last.below, n)
		}
	}
	return roots
}

// drawing is one that is under way.
type drawing struct {
	table    *tabwriter.Writer
	now      time.Time
	few      int
	critical map[string]bool
}

func (d *drawing) steps(nodes []*graphNode, indent string, top bool) {
	groups := d.gather(nodes)
	for i, group := range groups {
		branch, rest := "├─ ", "│  "
		if i == len(groups)-1 {
			branch, rest = "└─ ", "   "
		}
		if top {
			branch, rest = "", ""
		}
		n := group[0]
		if len(group) > 1 {
			fmt.Fprintf(d.table, "%s%s%s %s … %s\t%s\t\t%d steps\n", indent, branch, mark(n), oneLine(n.Name), oneLine(group[len(group)-1].Name), n.State, len(group))
			for _, n := range group { // a step that waits for all of them is below one of them
				d.steps(n.below, indent+rest, false)
			}
			continue
		}
		d.line(n, indent+branch)
		d.steps(n.below, indent+rest, false)
	}
}

// gather puts steps together that look the same, where there are many.
func (d *drawing) gather(nodes []*graphNode) [][]*graphNode {
	var groups [][]*graphNode
	if len(nodes) <= d.few {
		for _, n := range nodes {
			groups = append(groups, []*graphNode{n})
		}
		return groups
	}
	at := map[string]int{}
	for _, n := range nodes {
		alike := n.State + " " + n.Kind + " " + n.HeldReason
		if i, ok := at[alike]; ok {
			groups[i] = append(groups[i], n)
			continue
		}
		at[alike] = len(groups)
		groups = append(groups, []*graphNode{n})
	}
	return groups
}

func mark(n *graphNode) string { return cmp.Or(stateMarks[n.State], "?") }

// line draws one step: its mark and name, its state, how long it took, and what there is to say.
func (d *drawing) line(n *graphNode, before string) {
	name := oneLine(n.Name)
	if d.critical[n.Name] {
		name += " *"
	}
	state := n.State
	if n.State == "held" && n.HeldReason != "dependency" {
		state += " (" + oneLine(n.HeldReason) + ")"
	}
	took := ""
	switch {
	case n.StartedAt != nil && n.FinishedAt != nil:
		took = roughly(max(0, n.FinishedAt.Sub(*n.StartedAt)))
	case n.StartedAt != nil:
		took = roughly(max(0, d.now.Sub(*n.StartedAt)))
	}
	var notes []string
	if len(n.above) > 1 {
		var others []string
		deepest := slices.MaxFunc(n.above, func(a, b *graphNode) int { return cmp.Compare(a.depth, b.depth) })
		for _, p := range n.above {
			if p != deepest {
				others = append(others, oneLine(p.Name))
			}
		}
		if len(others) > 4 {
			others = append(others[:3], fmt.Sprintf("%d more", len(others)-3))
		}
		notes = append(notes, "also after "+strings.Join(others, ", "))
	}
	if n.Needs != "completed" && len(n.above) > 0 {
		notes = append(notes, "needs "+n.Needs)
	}
	if n.undoes != "" {
		notes = append(notes, "undoes "+oneLine(n.undoes))
	}
	if n.ChildWorkflowID != "" {
		notes = append(notes, "workflow "+oneLine(n.ChildWorkflowID))
	}
	fmt.Fprintf(d.table, "%s%s %s\t%s\t%s\t%s\n", before, mark(n), name, state, took, strings.Join(notes, "; "))
}
