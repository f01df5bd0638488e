package jobs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Graph is a workflow as nodes and edges.
type Graph struct {
	WorkflowID   ID            `json:"workflow_id" doc:"The workflow." example:"4700"`
	Name         string        `json:"name" doc:"What people call it." example:"order"`
	State        WorkflowState `json:"state" enum:"running,stopping,compensating,completed,failed,cancelled" doc:"How far it is."`
	Progress     float64       `json:"progress" doc:"How many of its steps have ended, in percent."`
	Nodes        []GraphNode   `json:"nodes" doc:"Its steps, compensations included, in the order of the definition."`
	Edges        []GraphEdge   `json:"edges" doc:"Which waits for which."`
	CriticalPath []string      `json:"critical_path" doc:"The steps that the workflow's length follows from, in order: each waited longest for the one before it, and the last one ended last, or has not ended. Empty until something has begun."`
	Seconds      float64       `json:"critical_path_seconds" doc:"From the workflow's submission to the end of that path, or until now."`
}

// GraphNode is a step.
type GraphNode struct {
	Name            string     `json:"name" doc:"Its name." example:"charge"`
	JobID           ID         `json:"job_id" doc:"Its job." example:"4711"`
	Kind            string     `json:"kind" doc:"What its worker does; weir.wait and weir.workflow have none."`
	State           State      `json:"state" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Where its job is in its life."`
	HeldReason      string     `json:"held_reason,omitempty" doc:"What it waits for, if it is held."`
	Needs           string     `json:"needs" enum:"completed,ended,any" doc:"What it needs of those it depends on."`
	StartedAt       *time.Time `json:"started_at,omitempty" doc:"When its last attempt, or its wait, began."`
	FinishedAt      *time.Time `json:"finished_at,omitempty" doc:"When it ended."`
	ChildWorkflowID ID         `json:"child_workflow_id,omitempty" doc:"The workflow that it started."`
	CopiedFrom      ID         `json:"copied_from,omitempty" doc:"In a fork: the job whose result it has."`
}

// GraphEdge leads from a step to one that waits for it.
type GraphEdge struct {
	From string `json:"from" doc:"The name of a step." example:"charge"`
	To   string `json:"to" doc:"The name of a step that waits for it." example:"ship"`
	Kind string `json:"kind" enum:"dependency,compensation" doc:"compensation: the second undoes the first."`
}

// Graph returns a workflow as nodes and edges. Errors: WorkflowNotFound.
func (e *Engine) Graph(ctx context.Context, id ID) (Graph, error) {
	w, err := e.Workflow(ctx, id)
	if err != nil {
		return Graph{}, err
	}
	rows, err := e.reads.GraphSteps(ctx, int64(id))
	if err != nil {
		return Graph{}, fromDB("reading a graph", err)
	}
	g := Graph{WorkflowID: id, Name: w.Name, State: w.State, Progress: w.Progress, Nodes: make([]GraphNode, len(rows)), Edges: []GraphEdge{}}
	parents := map[string][]string{}
	for i, r := range rows {
		g.Nodes[i] = GraphNode{
			Name: r.Name, JobID: ID(r.JobID), Kind: r.Kind, HeldReason: value(r.HeldReason), Needs: r.Needs, StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt),
			ChildWorkflowID: ID(value(r.ChildWorkflowID)), CopiedFrom: ID(value(r.CopiedFrom)),
		}
		if r.State != nil {
			g.Nodes[i].State = State(*r.State)
		}
		for _, d := range r.DependsOn {
			g.Edges = append(g.Edges, GraphEdge{d, r.Name, "dependency"})
		}
		parents[r.Name] = r.DependsOn
		if r.Compensates != nil {
			g.Edges = append(g.Edges, GraphEdge{*r.Compensates, r.Name, "compensation"})
		}
	}
	end := value(w.FinishedAt)
	if w.FinishedAt == nil {
		now, err := e.q.Settled(ctx)
		if err != nil {
			return Graph{}, fromDB("reading the database's clock", err)
		}
		end = now.Now.UTC()
	}
	g.CriticalPath, g.Seconds = criticalPath(g.Nodes, parents, w.CreatedAt, end)
	return g, nil
}

// criticalPath walks back from the step that ended last, each time to the dependency that ended last.
func criticalPath(nodes []GraphNode, parents map[string][]string, began, now time.Time) ([]string, float64) {
	ends := make(map[string]time.Time, len(nodes))
	last, at := "", time.Time{}
	for _, n := range nodes {
		end, ok := now, n.State == Running || n.State == Held && n.HeldReason != "dependency" || n.State == Retryable
		if n.FinishedAt != nil && (n.State == Completed || n.State == Dead) {
			end, ok = *n.FinishedAt, true
		}
		if ok {
			ends[n.Name] = end
			if last == "" || end.After(at) {
				last, at = n.Name, end
			}
		}
	}
	path := []string{}
	for name := last; name != ""; {
		path = append(path, name)
		before, latest := "", time.Time{}
		for _, p := range parents[name] {
			if end, ok := ends[p]; ok && (before == "" || end.After(latest)) {
				before, latest = p, end
			}
		}
		name = before
	}
	slices.Reverse(path)
	if len(path) == 0 {
		return path, 0
	}
	return path, max(0, at.Sub(began).Seconds())
}

// Mermaid is the graph as a Mermaid flowchart.
func (g *Graph) Mermaid() string {
	var text strings.Builder
	text.WriteString("flowchart TD\n")
	number := make(map[string]int, len(g.Nodes))
	critical := make(map[string]bool, len(g.CriticalPath))
	for _, name := range g.CriticalPath {
		critical[name] = true
	}
	for i, n := range g.Nodes {
		number[n.Name] = i
		left, right := "[", "]"
		switch n.Kind {
		case "weir.wait":
			left, right = "([", "])"
		case "weir.workflow":
			left, right = "[[", "]]"
		}
		fmt.Fprintf(&text, "  s%d%s\"%s\"%s:::%s\n", i, left, mermaidText(n.Name), right, n.State)
	}
	var bold []int
	for i, edge := range g.Edges {
		arrow := "-->"
		if edge.Kind == "compensation" {
			arrow = "-.->|undone by|"
		}
		fmt.Fprintf(&text, "  s%d %s s%d\n", number[edge.From], arrow, number[edge.To])
		if edge.Kind == "dependency" && critical[edge.From] && critical[edge.To] {
			bold = append(bold, i)
		}
	}
	for _, i := range bold {
		fmt.Fprintf(&text, "  linkStyle %d stroke-width:4px\n", i)
	}
	for _, class := range []struct{ state, style string }{
		{"held", "fill:#eeeeee,stroke:#999999,color:#333333"},
		{"scheduled", "fill:#e8eef7,stroke:#7a94c0,color:#333333"},
		{"retryable", "fill:#fdf0d5,stroke:#d09a2c,color:#333333"},
		{"available", "fill:#dce9fb,stroke:#3c78d8,color:#333333"},
		{"running", "fill:#fff2b3,stroke:#c9a400,color:#333333"},
		{"completed", "fill:#d9f0d9,stroke:#3a923a,color:#333333"},
		{"cancelled", "fill:#f2f2f2,stroke:#999999,color:#777777,stroke-dasharray:4 3"},
		{"dead", "fill:#f8d7d7,stroke:#c0392b,color:#333333"},
	} {
		fmt.Fprintf(&text, "  classDef %s %s\n", class.state, class.style)
	}
	return text.String()
}

var mermaidEscapes = strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "#", "#35;", "`", "#96;")

func mermaidText(s string) string { return mermaidEscapes.Replace(s) }
