package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// PresetPath is the path of one preset.
type PresetPath struct {
	Owner
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The preset's name." example:"failed_today"`
}

func (p PresetPath) ref() jobs.Ref { return jobs.Ref{Tenant: p.Tenant, Name: p.Name} }

type presetsInput struct {
	Tenant string `query:"tenant" maxLength:"200" doc:"Only presets of this tenant, without the built-in ones." example:"acme"`
	Paging
}

type presetBodyInput struct {
	PresetPath
	Payload
}

// NewPreset is a preset to save.
type NewPreset struct {
	Name string `json:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"Its name."`
	jobs.PresetDefinition
}

type presetOutput struct {
	Body jobs.Preset
}

// PresetPage is one page of the list of presets.
type PresetPage struct {
	Items      []jobs.Preset `json:"items" doc:"The presets, by tenant and name."`
	NextCursor *string       `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type presetPageOutput struct {
	Body PresetPage
}

func (a *API) registerPresets() {
	tags := []string{tagJobs}
	builtIn := jobs.Preset{Name: "failed_today", BuiltIn: true, PresetDefinition: jobs.PresetDefinition{
		Title: "Failed today", Description: "Jobs that died since the day of UTC began.", Filter: []byte(`{"state": "dead", "finished_after": "today"}`),
	}}
	own := jobs.Preset{Name: "failed_receipts", CreatedAt: &exampleTime, UpdatedAt: &exampleTime, PresetDefinition: jobs.PresetDefinition{
		Title: "Failed receipts", Filter: []byte(`{"state": "dead", "kind": "send_receipt", "finished_after": "-1d"}`),
	}}
	register(a, huma.Operation{
		OperationID: "listPresets", Method: http.MethodGet, Path: "/v1/presets", Tags: tags,
		Summary:     "List presets",
		Description: "Filters of jobs under a name, built in and saved: `GET /v1/jobs?preset=NAME`, and `preset` in other filters.",
	}, documented{answer: PresetPage{Items: []jobs.Preset{builtIn, own}}}, a.listPresets)
	registerBody(a, huma.Operation{
		OperationID: "createPreset", Method: http.MethodPost, Path: "/v1/presets", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary:     "Save a preset",
		Description: "Saves a filter of jobs under a new name. A tenant has 200 presets at most.",
	}, documented{
		body: NewPreset{Name: own.Name, PresetDefinition: own.PresetDefinition}, answer: own,
		problems: []jobs.Code{jobs.QueueNotFound, jobs.TooManyNames, jobs.PresetBuiltIn, jobs.PresetExists},
	}, a.createPreset)
	register(a, huma.Operation{
		OperationID: "getPreset", Method: http.MethodGet, Path: "/v1/presets/{name}", Tags: tags,
		Summary: "Get a preset", Description: "The preset as it was saved, with its relative times.",
	}, documented{answer: builtIn, problems: []jobs.Code{jobs.PresetNotFound}}, a.getPreset)
	registerBody(a, huma.Operation{
		OperationID: "putPreset", Method: http.MethodPut, Path: "/v1/presets/{name}", Tags: tags,
		Summary:     "Save or replace a preset",
		Description: "Saves a filter of jobs under a name, or replaces the one that has it. Built-in presets cannot be replaced.",
	}, documented{
		body: own.PresetDefinition, answer: own,
		problems: []jobs.Code{jobs.QueueNotFound, jobs.TooManyNames, jobs.PresetBuiltIn, jobs.PresetExists},
	}, a.putPreset)
	register(a, huma.Operation{
		OperationID: "deletePreset", Method: http.MethodDelete, Path: "/v1/presets/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a preset", Description: "Deletes a saved preset. Built-in presets cannot be deleted.",
	}, documented{problems: []jobs.Code{jobs.PresetNotFound, jobs.PresetBuiltIn}}, a.deletePreset)
}

func (a *API) listPresets(ctx context.Context, in *presetsInput) (*presetPageOutput, error) {
	after, err := in.position(ctx, "presets")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.Presets(ctx, in.Tenant, refOf(after), in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &presetPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "presets", found, func(last jobs.Preset) string {
		return place(jobs.Ref{Tenant: last.Tenant, Name: last.Name})
	})
	return out, nil
}

// Presets are passed on as they came, because only SQL knows the times of their filters.

func (a *API) createPreset(ctx context.Context, in *ownedBodyInput, body *NewPreset) (*presetOutput, error) {
	return presetAnswer(a.engine.SetPreset(ctx, jobs.Ref{Tenant: in.Tenant, Name: body.Name}, in.RawBody, false))
}

func (a *API) putPreset(ctx context.Context, in *presetBodyInput, _ *jobs.PresetDefinition) (*presetOutput, error) {
	return presetAnswer(a.engine.SetPreset(ctx, in.ref(), in.RawBody, true))
}

func (a *API) getPreset(ctx context.Context, in *PresetPath) (*presetOutput, error) {
	return presetAnswer(a.engine.Preset(ctx, in.ref()))
}

func (a *API) deletePreset(ctx context.Context, in *PresetPath) (*struct{}, error) {
	return nil, a.engine.DeletePreset(ctx, in.ref())
}

func presetAnswer(preset jobs.Preset, err error) (*presetOutput, error) {
	if err != nil {
		return nil, err
	}
	return &presetOutput{Body: preset}, nil
}
