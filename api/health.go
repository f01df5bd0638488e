package api

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// Health is the answer of a node that works; otherwise the answer is a problem.
type Health struct {
	Status string `json:"status" enum:"ok" doc:"ok."`
}

type healthOutput struct {
	Body Health
}

// Readiness is the answer of a node that takes requests.
type Readiness struct {
	Status     string           `json:"status" enum:"ok" doc:"ok."`
	Components []ReadyComponent `json:"components" doc:"The components of this node, by name. A node is ready as long as its database answers; the others say what does not work beside that."`
}

// ReadyComponent is a component of a node.
type ReadyComponent struct {
	Name    string `json:"name" doc:"database, listener, loops, and chores unless the node leaves them to others." example:"listener"`
	Status  string `json:"status" enum:"ok,failing" doc:"Whether it works."`
	Message string `json:"message,omitempty" doc:"What is wrong."`
}

type readinessOutput struct {
	Body Readiness
}

// Components are the parts of the service.
type Components struct {
	Status     string           `json:"status" enum:"ok,failing" doc:"failing if any component is."`
	Components []jobs.Component `json:"components" doc:"The components, by name and node."`
}

type componentsInput struct {
	Component string `query:"component" maxLength:"200" doc:"Only components of this name."`
	History   int    `query:"history" minimum:"0" maximum:"100" default:"100" doc:"Maximum number of checks of each."`
}

type componentsOutput struct {
	Body Components
}

type resilienceOutput struct {
	Body jobs.Resilience
}

// Info is what a node says of itself.
type Info struct {
	Version         string    `json:"version" doc:"The version of weir." example:"0.1.0"`
	GoVersion       string    `json:"go_version" doc:"The version of Go that it was built with." example:"go1.26.8"`
	DatabaseVersion string    `json:"database_version,omitempty" doc:"The version of PostgreSQL; absent if the database does not answer." example:"15.8"`
	Node            string    `json:"node" doc:"Identifies this run of this node."`
	StartedAt       time.Time `json:"started_at" doc:"When the node started."`
}

type infoOutput struct {
	Body Info
}

func (a *API) registerHealth() {
	ok := Health{Status: "ok"}
	register(a, huma.Operation{
		OperationID: "getLiveness", Method: http.MethodGet, Path: "/livez", Tags: []string{tagService},
		Summary:     "Liveness probe",
		Description: "Answers even without a database. Restart a node that fails it.",
	}, documented{answer: ok, noDatabase: true}, a.getLiveness)
	register(a, huma.Operation{
		OperationID: "getReadiness", Method: http.MethodGet, Path: "/readyz", Tags: []string{tagService},
		Summary: "Readiness probe",
		Description: "Answers 503 while the database is unreachable or not migrated, and while the node shuts down. Send " +
			"such a node no requests.",
	}, documented{answer: Readiness{Status: "ok", Components: []ReadyComponent{{Name: "database", Status: "ok"}, {Name: "listener", Status: "ok"}, {Name: "loops", Status: "ok"}}}}, a.getReadiness)
	register(a, huma.Operation{
		OperationID: "getInfo", Method: http.MethodGet, Path: "/v1/info", Tags: []string{tagService},
		Summary:     "Get node information",
		Description: "Versions and the start time of this node.",
	}, documented{answer: Info{
		Version: "0.1.0", GoVersion: "go1.26.8", DatabaseVersion: "15.8", Node: "weir-7d9f/0b8c6a0e-5b0c-4c39-8b43-3a1c7e1f2d55", StartedAt: exampleTime,
	}, noDatabase: true}, a.getInfo)
}

func (a *API) registerComponents() {
	seconds := 0.002
	register(a, huma.Operation{
		OperationID: "getHealth", Method: http.MethodGet, Path: "/v1/health", Tags: []string{tagService},
		Summary: "Get the health of each component",
		Description: "The components of the service and the circuit breakers, each with its last hundred checks, one " +
			"every ten seconds, and their success rate. Every node answers for all nodes. To decide about one " +
			"node, use `/livez` and `/readyz`.",
	}, documented{answer: Components{Status: "failing", Components: []jobs.Component{
		{Name: "breaker:stripe", Status: jobs.HealthFailing, Since: exampleTime, CheckedAt: exampleLater, Message: "it is open", Checks: 100, SuccessRate: 0.96, History: []jobs.HealthCheck{{At: exampleLater, Message: "it is open"}}},
		{Name: "database", Node: "weir-7d9f/0b8c6a0e-5b0c-4c39-8b43-3a1c7e1f2d55", Status: jobs.HealthOK, Since: exampleTime, CheckedAt: exampleLater, Checks: 100, SuccessRate: 1, History: []jobs.HealthCheck{{At: exampleLater, OK: true, Seconds: &seconds}}},
	}}}, a.getHealth)
	register(a, huma.Operation{
		OperationID: "getResilience", Method: http.MethodGet, Path: "/v1/health/summary", Tags: []string{tagService},
		Summary: "Get a health score",
		Description: "A score from 0 to 100 and a status, from the components and the circuit breakers. A node whose last " +
			"check is more than half a minute old has ended and does not count.",
	}, documented{answer: jobs.Resilience{
		Status: "degraded", Score: 92.1, Components: 9, Failing: []string{"breaker:stripe"}, Breakers: jobs.ResilienceOfGates{Closed: 3, Open: 1, OpenedLastDay: 2, ClosedLastDay: 1, HeldJobs: 1200},
	}}, a.getResilience)
}

func (a *API) getHealth(ctx context.Context, in *componentsInput) (*componentsOutput, error) {
	components, err := a.engine.Health(ctx, in.Component, in.History)
	if err != nil {
		return nil, err
	}
	out := &componentsOutput{Body: Components{Status: "ok", Components: components}}
	for _, c := range components {
		if c.Status == jobs.HealthFailing {
			out.Body.Status = "failing"
		}
	}
	return out, nil
}

func (a *API) getResilience(ctx context.Context, _ *struct{}) (*resilienceOutput, error) {
	resilience, err := a.engine.Resilience(ctx)
	if err != nil {
		return nil, err
	}
	return &resilienceOutput{Body: resilience}, nil
}

func (a *API) getLiveness(context.Context, *struct{}) (*healthOutput, error) {
	return &healthOutput{Body: Health{Status: "ok"}}, nil
}

func (a *API) getReadiness(ctx context.Context, _ *struct{}) (*readinessOutput, error) {
	err := a.engine.Ready(ctx)
	switch {
	case err == nil:
		return &readinessOutput{Body: Readiness{Status: "ok", Components: a.readyComponents()}}, nil
	case jobs.CodeOf(err) == jobs.Unavailable:
		return nil, err
	}
	callOf(ctx).err = err
	return nil, newProblem(ctx, jobs.Unavailable, "the database is not as this weir needs it; see the log")
}

func (a *API) readyComponents() []ReadyComponent {
	components := []ReadyComponent{}
	for _, c := range a.engine.Checks() {
		component := ReadyComponent{Name: c.Name, Status: "ok", Message: c.Message}
		if c.Message != "" {
			component.Status = "failing"
		}
		components = append(components, component)
	}
	return components
}

func (a *API) getInfo(ctx context.Context, _ *struct{}) (*infoOutput, error) {
	out := &infoOutput{Body: Info{Version: a.version, GoVersion: runtime.Version(), Node: a.engine.Node(), StartedAt: a.startedAt.UTC()}}
	if version, err := a.engine.DatabaseVersion(ctx); err == nil {
		out.Body.DatabaseVersion = version
	}
	return out, nil
}
