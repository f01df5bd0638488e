package api

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

const mermaidType = "text/vnd.mermaid"

type graphInput struct {
	WorkflowPath
	Accept string `header:"Accept" doc:"text/vnd.mermaid: a Mermaid flowchart. Anything else: JSON."`
}

type workflowTimelineInput struct {
	WorkflowPath
	Paging
}

// WorkflowTimeline is one page of what happened to a workflow and its jobs.
type WorkflowTimeline struct {
	Items      []jobs.WorkflowMoment `json:"items" doc:"What happened, in order."`
	NextCursor *string               `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type workflowTimelineOutput struct {
	Body WorkflowTimeline
}

func (a *API) registerWorkflowGraphs() {
	const path = "/v1/workflows/{id}/graph"
	example := jobs.Graph{
		WorkflowID: 4700, Name: "order", State: jobs.WorkflowRunning, Progress: 33.3,
		Nodes: []jobs.GraphNode{
			{Name: "reserve", JobID: 4710, Kind: "reserve_stock", State: jobs.Completed, Needs: "completed", StartedAt: &exampleTime, FinishedAt: &exampleLater},
			{Name: "charge", JobID: 4711, Kind: "charge_card", State: jobs.Running, Needs: "completed", StartedAt: &exampleLater},
		},
		Edges:        []jobs.GraphEdge{{From: "reserve", To: "charge", Kind: "dependency"}},
		CriticalPath: []string{"reserve", "charge"}, Seconds: 42.5,
	}
	register(a, huma.Operation{
		OperationID: "getWorkflowGraph", Method: http.MethodGet, Path: path, Tags: []string{tagWorkflows},
		Summary: "Get the graph of a workflow",
		Description: "The steps with their states and times, the edges between them, and the critical path, which " +
			"determines how long the workflow takes. With `Accept: text/vnd.mermaid` the answer is a Mermaid " +
			"flowchart.",
	}, documented{problems: []jobs.Code{jobs.WorkflowNotFound}}, a.getWorkflowGraph)
	a.huma.OpenAPI().Paths[path].Get.Responses["200"].Content = map[string]*huma.MediaType{
		"application/json": {Schema: a.schemas().Schema(reflect.TypeFor[jobs.Graph](), true, ""), Example: example},
		mermaidType:        {Schema: &huma.Schema{Type: huma.TypeString, Description: "A flowchart of Mermaid."}, Example: "flowchart TD\n  s0[\"reserve\"]:::completed\n"},
	}
	register(a, huma.Operation{
		OperationID: "getWorkflowTimeline", Method: http.MethodGet, Path: "/v1/workflows/{id}/timeline", Tags: []string{tagWorkflows},
		Summary: "Get a workflow's timeline",
		Description: "The events of the workflow (`workflow_submitted`, `workflow_signal`, `workflow_failed` and others) " +
			"and of all its jobs, in order.",
	}, documented{answer: WorkflowTimeline{Items: []jobs.WorkflowMoment{
		{Moment: jobs.Moment{At: exampleTime, Event: "workflow_submitted", Detail: json.RawMessage(`{"name": "order", "steps": 3}`)}},
		{Moment: jobs.Moment{At: exampleTime, Event: "enqueued", Detail: json.RawMessage(`{"queue": "default", "priority": 5}`)}, Step: "reserve", JobID: 4710},
		{Moment: jobs.Moment{At: exampleLater, Event: "started", Attempt: 1, Worker: "stock-1"}, Step: "reserve", JobID: 4710},
	}}, problems: []jobs.Code{jobs.WorkflowNotFound}}, a.getWorkflowTimeline)
}

func (a *API) getWorkflowGraph(ctx context.Context, in *graphInput) (*huma.StreamResponse, error) {
	graph, err := a.engine.Graph(ctx, in.id())
	if err != nil {
		return nil, err
	}
	for accepted := range strings.SplitSeq(in.Accept, ",") {
		if kind, _, err := mime.ParseMediaType(accepted); err == nil && kind == mermaidType {
			return &huma.StreamResponse{Body: func(c huma.Context) {
				c.SetHeader("Content-Type", mermaidType)
				_, _ = c.BodyWriter().Write([]byte(graph.Mermaid()))
			}}, nil
		}
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/json")
		_ = jsonFormat.Marshal(c.BodyWriter(), graph)
	}}, nil
}

func (a *API) getWorkflowTimeline(ctx context.Context, in *workflowTimelineInput) (*workflowTimelineOutput, error) {
	after, err := in.count(ctx, "workflow timeline")
	if err != nil {
		return nil, err
	}
	moments, err := a.engine.WorkflowTimeline(ctx, in.id(), after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &workflowTimelineOutput{}
	out.Body.Items, out.Body.NextCursor = trimCounted(ctx, in.Paging, "workflow timeline", moments, after)
	return out, nil
}
