package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/terminal"
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

	above []*graphNode // the steps that it depends on
	below []*graphNode // the steps drawn below it: those of which it is the deepest dependency
	depth int
	undos string // the step that it compensates
}

type graphEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Kind string `json:"kind"`
}

var stateMarks = map[string]string{
	"completed": "●", "running": "◐", "dead": "✗", "cancelled": "⊘",
	"available": "○", "scheduled": "◷", "retryable": "↻", "held": "·",
}

// draw draws the workflow as a tree: each step below the deepest step that it depends on, its other dependencies named
// at the end of its line. If more than similar steps stand side by side, those with the same state are drawn as one.
func (g *graph) draw(p *printer, w *workflow, similar int) {
	w.print(p)
	p.line("%s\n", w.summary(p.now))
	roots := g.arrange()
	d := drawing{table: p.table(), similar: similar, critical: map[string]bool{}}
	for _, name := range g.CriticalPath {
		d.critical[name] = true
	}
	d.steps(roots, "", true)
	d.end()
	if len(g.CriticalPath) > 1 {
		path := terminal.Shorten(terminal.OneLine(strings.Join(g.CriticalPath, " → ")), 200)
		p.line("\ncritical path (*): %s, %s", path, roughly(Seconds(g.Seconds)))
	}
}

// summary is when the workflow was submitted, how far it is, and where it comes from.
func (w *workflow) summary(now time.Time) string {
	line := fmt.Sprintf("submitted %s, took %s", relative(now, w.CreatedAt), roughly(w.took(now)))
	if w.FinishedAt == nil {
		line = fmt.Sprintf("submitted %s, %d running, %d waiting", relative(now, w.CreatedAt), w.Running, w.Waiting)
	}
	if w.ParentWorkflowID != "" {
		line += ", within workflow " + w.ParentWorkflowID
	}
	if w.ForkedFrom != "" {
		line += ", forked from workflow " + w.ForkedFrom
	}
	if w.DeadlineAt != nil && w.FinishedAt == nil {
		line += ", deadline " + relative(now, *w.DeadlineAt)
	}
	return line
}

// arrange links the nodes and returns those at the top.
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
			to.undos = from.Name
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
		if last := n.deepest(); last != nil {
			last.below = append(last.below, n)
		}
	}
	return roots
}

// deepest is the deepest step that a step depends on, or nil.
func (n *graphNode) deepest() *graphNode {
	if len(n.above) == 0 {
		return nil
	}
	return slices.MaxFunc(n.above, func(a, b *graphNode) int { return cmp.Compare(a.depth, b.depth) })
}

// drawing is a drawing under way.
type drawing struct {
	*table
	similar  int
	critical map[string]bool
}

func (d *drawing) steps(nodes []*graphNode, indent string, top bool) {
	groups := d.groups(nodes)
	for i, group := range groups {
		branch, rest := "├─ ", "│  "
		if i == len(groups)-1 {
			branch, rest = "└─ ", "   "
		}
		if top {
			branch, rest = "", ""
		}
		if len(group) == 1 {
			d.step(group[0], indent+branch)
		} else {
			d.group(group, indent+branch)
		}
		for _, n := range group { // a step that depends on a whole group is below one of its members
			d.steps(n.below, indent+rest, false)
		}
	}
}

// groups puts similar steps together if there are many steps.
func (d *drawing) groups(nodes []*graphNode) [][]*graphNode {
	var groups [][]*graphNode
	at := map[string]int{}
	for _, n := range nodes {
		alike := n.State + " " + n.Kind + " " + n.HeldReason
		if i, ok := at[alike]; ok && len(nodes) > d.similar {
			groups[i] = append(groups[i], n)
			continue
		}
		at[alike] = len(groups)
		groups = append(groups, []*graphNode{n})
	}
	return groups
}

// label is a step's branch, mark and name. Its leading spaces are part of the drawing.
func (n *graphNode) label(branch, name string) safe {
	return safe(branch + cmp.Or(stateMarks[n.State], "?") + " " + terminal.OneLine(name))
}

// group draws several steps as one.
func (d *drawing) group(steps []*graphNode, branch string) {
	first, last := steps[0], steps[len(steps)-1]
	d.row(first.label(branch, first.Name+" … "+last.Name), first.State, blank, countOf(len(steps), "step"))
}

// step draws one step: its mark, name, state, duration and notes.
func (d *drawing) step(n *graphNode, branch string) {
	name := n.Name
	if d.critical[n.Name] {
		name += " *"
	}
	state := n.State
	if n.State == "held" && n.HeldReason != "dependency" {
		state += " (" + n.HeldReason + ")"
	}
	took := blank
	switch {
	case n.StartedAt != nil && n.FinishedAt != nil:
		took = safe(roughly(max(0, n.FinishedAt.Sub(*n.StartedAt))))
	case n.StartedAt != nil:
		took = safe(roughly(max(0, d.now.Sub(*n.StartedAt))))
	}
	d.row(n.label(branch, name), state, took, safe(terminal.OneLine(strings.Join(n.notes(), "; "))))
}

// notes says what the tree does not show of a step.
func (n *graphNode) notes() []string {
	var notes []string
	if others := n.otherDependencies(); len(others) > 0 {
		notes = append(notes, "also after "+strings.Join(others, ", "))
	}
	if n.Needs != "completed" && len(n.above) > 0 {
		notes = append(notes, "needs "+n.Needs)
	}
	if n.undos != "" {
		notes = append(notes, "undoes "+n.undos)
	}
	if n.ChildWorkflowID != "" {
		notes = append(notes, "workflow "+n.ChildWorkflowID)
	}
	return notes
}

// otherDependencies names the first of the steps that a step depends on, besides the one that it is drawn below.
func (n *graphNode) otherDependencies() []string {
	const most = 4
	var others []string
	deepest := n.deepest()
	for _, above := range n.above {
		if above != deepest {
			others = append(others, above.Name)
		}
	}
	if len(others) > most {
		others = append(others[:most-1], fmt.Sprintf("%d more", len(others)-most+1))
	}
	return others
}
