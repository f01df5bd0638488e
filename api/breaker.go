package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// BreakerPath is the path of one circuit breaker.
type BreakerPath struct {
	Owner
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The circuit breaker's name." example:"stripe"`
}

func (p BreakerPath) ref() jobs.Ref { return jobs.Ref{Tenant: p.Tenant, Name: p.Name} }

type breakerOutput struct {
	Body jobs.Breaker
}

type breakersInput struct {
	State  jobs.BreakerState `query:"state" enum:"closed,open,half_open" doc:"Only circuit breakers in this state."`
	Tenant string            `query:"tenant" maxLength:"200" doc:"Only circuit breakers of this tenant." example:"acme"`
	Paging
}

// BreakerPage is one page of the list of circuit breakers.
type BreakerPage struct {
	Items      []jobs.Breaker `json:"items" doc:"The circuit breakers, by name, or by tenant/name where they are a tenant's."`
	NextCursor *string        `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type breakerPageOutput struct {
	Body BreakerPage
}

type breakerBodyInput struct {
	BreakerPath
	Payload
}

// Changer says who makes a change, where the body has no field for it.
type Changer struct {
	By string `query:"by" minLength:"1" maxLength:"200" doc:"Who did it; stored in the history of the breaker." example:"ann"`
}

type breakerSettingsInput struct {
	BreakerPath
	Changer
	Payload
}

type deleteBreakerInput struct {
	BreakerPath
	Changer
}

type breakerEventsInput struct {
	BreakerPath
	Paging
}

// BreakerEventPage is one page of what happened to a circuit breaker.
type BreakerEventPage struct {
	Items      []jobs.BreakerEvent `json:"items" doc:"The events, newest first."`
	NextCursor *string             `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type breakerEventPageOutput struct {
	Body BreakerEventPage
}

func (a *API) registerBreakers() {
	tags := []string{tagBreakers}
	missing := []jobs.Code{jobs.BreakerNotFound}
	pinned := []jobs.Code{jobs.BreakerNotFound, jobs.BreakerPinned}
	open, closed := exampleBreaker(), exampleBreaker()
	closed.State, closed.NextProbeAt, closed.Recovering = jobs.BreakerClosed, nil, true
	settings := jobs.BreakerSettings{FailureRatio: new(0.5), MinCalls: new(20), WindowSeconds: new(30), WhileOpen: &jobs.WhileOpen{Policy: "hold"}}
	register(a, huma.Operation{
		OperationID: "listBreakers", Method: http.MethodGet, Path: "/v1/breakers", Tags: tags,
		Summary:     "List circuit breakers",
		Description: "The circuit breakers by name (`tenant/name` if it is a tenant's), each with its state, the calls in its window, and its settings.",
	}, documented{answer: BreakerPage{Items: []jobs.Breaker{open}}}, a.listBreakers)
	register(a, huma.Operation{
		OperationID: "getBreaker", Method: http.MethodGet, Path: "/v1/breakers/{name}", Tags: tags,
		Summary:     "Get a circuit breaker",
		Description: "Its state, for people and for workers that call the dependency outside a job.",
	}, documented{answer: open, problems: missing}, a.getBreaker)
	registerBody(a, huma.Operation{
		OperationID: "putBreaker", Method: http.MethodPut, Path: "/v1/breakers/{name}", Tags: tags,
		Summary: "Set all settings of a circuit breaker",
		Description: "Creates the breaker if it does not exist. Settings that are not given return to weir's defaults. " +
			"Its state does not change.",
	}, documented{body: settings, answer: open, problems: []jobs.Code{jobs.TooManyNames}}, a.putBreaker)
	registerBody(a, huma.Operation{
		OperationID: "editBreaker", Method: http.MethodPatch, Path: "/v1/breakers/{name}", Tags: tags,
		Summary:     "Change settings of a circuit breaker",
		Description: "Changes the given settings and keeps the others. `counts` and `while_open` are replaced as a whole.",
	}, documented{body: jobs.BreakerSettings{WhileOpen: &jobs.WhileOpen{Policy: "reroute", Queue: "mail-backup", ForSeconds: new(3600.0)}}, answer: open, problems: append(missing, jobs.TooManyNames)}, a.editBreaker)
	register(a, huma.Operation{
		OperationID: "deleteBreaker", Method: http.MethodDelete, Path: "/v1/breakers/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a circuit breaker",
		Description: "Only if it is closed, holds no jobs and is not set for a queue. The next job that names it creates " +
			"it again.",
	}, documented{problems: []jobs.Code{jobs.BreakerNotFound, jobs.BreakerInUse}}, a.deleteBreaker)
	registerBody(a, huma.Operation{
		OperationID: "tripBreaker", Method: http.MethodPost, Path: "/v1/breakers/{name}/trip", Tags: tags,
		Summary:     "Open a circuit breaker",
		Description: "Opens it by hand. It is then probed as usual; to keep it open, pin it.",
	}, documented{body: jobs.BreakerTrip{By: "ann", Reason: "they announced maintenance", OpenSeconds: new(600.0)}, optional: true, answer: open, problems: pinned}, a.tripBreaker)
	registerBody(a, huma.Operation{
		OperationID: "resetBreaker", Method: http.MethodPost, Path: "/v1/breakers/{name}/reset", Tags: tags,
		Summary:     "Close a circuit breaker",
		Description: "Closes it by hand. Earlier samples no longer count, and the jobs that it held return at its ramp.",
	}, documented{body: jobs.BreakerReset{By: "ann", Reason: "their status page is green"}, optional: true, answer: closed, problems: pinned}, a.resetBreaker)
	registerBody(a, huma.Operation{
		OperationID: "pinBreaker", Method: http.MethodPost, Path: "/v1/breakers/{name}/pin", Tags: tags,
		Summary: "Pin a circuit breaker",
		Description: "Keeps it open or closed whatever its samples say, for a time or until it is unpinned (`none`). A " +
			"breaker that was pinned open is probed at once when it is unpinned.",
	}, documented{body: jobs.BreakerPin{State: "open", By: "ann", Reason: "maintenance until noon", ForSeconds: new(7200.0)}, answer: open, problems: missing}, a.pinBreaker)
	registerBody(a, huma.Operation{
		OperationID: "reportToBreaker", Method: http.MethodPost, Path: "/v1/breakers/{name}/report", Tags: tags,
		Summary: "Report calls made outside jobs",
		Description: "The outcomes of jobs are counted automatically. A failure may open the breaker; while it is " +
			"half-open, a report counts like a probe.",
	}, documented{body: jobs.BreakerReport{Outcome: "failure", Error: &jobs.Failure{Type: "Timeout", Message: "no answer within 2 s"}}, answer: open, problems: missing}, a.reportToBreaker)
	register(a, huma.Operation{
		OperationID: "listBreakerEvents", Method: http.MethodGet, Path: "/v1/breakers/{name}/events", Tags: tags,
		Summary:     "List a circuit breaker's events",
		Description: "Each change of the last 90 days, newest first: what, when, by whom and why.",
	}, documented{answer: BreakerEventPage{Items: []jobs.BreakerEvent{exampleBreakerEvent()}}, problems: missing}, a.listBreakerEvents)
}

func (a *API) listBreakers(ctx context.Context, in *breakersInput) (*breakerPageOutput, error) {
	after, err := in.position(ctx, "breakers")
	if err != nil {
		return nil, err
	}
	breakers, err := a.engine.Breakers(ctx, jobs.BreakerFilter{State: in.State, Tenant: in.Tenant}, refOf(after), in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &breakerPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "breakers", breakers, func(last jobs.Breaker) string {
		return place(jobs.Ref{Tenant: last.Tenant, Name: last.Name})
	})
	return out, nil
}

func (a *API) getBreaker(ctx context.Context, in *BreakerPath) (*breakerOutput, error) {
	return breakerAnswer(a.engine.Breaker(ctx, in.ref()))
}

func (a *API) putBreaker(ctx context.Context, in *breakerSettingsInput, settings *jobs.BreakerSettings) (*breakerOutput, error) {
	return breakerAnswer(a.engine.SetBreaker(ctx, in.ref(), *settings, true, in.By))
}

// editBreaker checks first that the breaker exists: a typo in the name must not create one.
func (a *API) editBreaker(ctx context.Context, in *breakerSettingsInput, settings *jobs.BreakerSettings) (*breakerOutput, error) {
	if _, err := a.engine.Breaker(ctx, in.ref()); err != nil {
		return nil, err
	}
	return breakerAnswer(a.engine.SetBreaker(ctx, in.ref(), *settings, false, in.By))
}

func (a *API) deleteBreaker(ctx context.Context, in *deleteBreakerInput) (*struct{}, error) {
	return nil, a.engine.DeleteBreaker(ctx, in.ref(), in.By)
}

func (a *API) tripBreaker(ctx context.Context, in *breakerBodyInput, trip *jobs.BreakerTrip) (*breakerOutput, error) {
	return breakerAnswer(a.engine.TripBreaker(ctx, in.ref(), *trip))
}

func (a *API) resetBreaker(ctx context.Context, in *breakerBodyInput, reset *jobs.BreakerReset) (*breakerOutput, error) {
	return breakerAnswer(a.engine.ResetBreaker(ctx, in.ref(), *reset))
}

func (a *API) pinBreaker(ctx context.Context, in *breakerBodyInput, pin *jobs.BreakerPin) (*breakerOutput, error) {
	return breakerAnswer(a.engine.PinBreaker(ctx, in.ref(), *pin))
}

func (a *API) reportToBreaker(ctx context.Context, in *breakerBodyInput, report *jobs.BreakerReport) (*breakerOutput, error) {
	return breakerAnswer(a.engine.ReportBreaker(ctx, in.ref(), *report))
}

func (a *API) listBreakerEvents(ctx context.Context, in *breakerEventsInput) (*breakerEventPageOutput, error) {
	before, err := in.before(ctx, "breaker events")
	if err != nil {
		return nil, err
	}
	events, err := a.engine.BreakerEvents(ctx, in.ref(), before, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &breakerEventPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "breaker events", events, func(last jobs.BreakerEvent) string { return last.ID.String() })
	return out, nil
}

func breakerAnswer(breaker jobs.Breaker, err error) (*breakerOutput, error) {
	if err != nil {
		return nil, err
	}
	return &breakerOutput{Body: breaker}, nil
}
