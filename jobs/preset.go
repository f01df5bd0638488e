package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// PresetDefinition is a filter of jobs to save, and what it is for.
type PresetDefinition struct {
	Title       string          `json:"title" minLength:"1" maxLength:"200" doc:"A short title for people." example:"Receipts that failed today"`
	Description string          `json:"description,omitempty" minLength:"1" maxLength:"1000" doc:"What it is for."`
	Filter      json.RawMessage `json:"filter" doc:"The filter, as bulk actions take it, at most 8 KiB as text. Its times may be relative to when it is used: -90s, -15m, -1h, -7d or -2w before, or today, which is 00:00 UTC."`
}

// Preset is a filter of jobs under a name.
type Preset struct {
	Name   string `json:"name" doc:"Its name." example:"failed_today"`
	Tenant string `json:"tenant,omitempty" doc:"The tenant that it belongs to. Names are those of its tenant."`
	PresetDefinition
	BuiltIn   bool       `json:"built_in" doc:"It came with weir and cannot be changed."`
	CreatedAt *time.Time `json:"created_at,omitempty" doc:"When it was saved first; absent if it is built in."`
	UpdatedAt *time.Time `json:"updated_at,omitempty" doc:"When it was saved last; absent if it is built in."`
}

// Presets lists up to limit presets by tenant and name, starting after one: those of the caller and the built-in ones, or with a tenant only those of that.
func (e *Engine) Presets(ctx context.Context, tenant string, after Ref, limit int) ([]Preset, error) {
	return e.listPresets(ctx, db.ListPresetsParams{AfterTenant: after.Tenant, After: after.Name, Tenant: nonZero(tenant), MaxPresets: int32(limit)})
}

func (e *Engine) listPresets(ctx context.Context, params db.ListPresetsParams) (_ []Preset, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	rows, err := e.reads.ListPresets(ctx, params)
	if err != nil {
		return nil, fromDB("listing presets", err)
	}
	presets := make([]Preset, len(rows))
	for i, r := range rows {
		presets[i] = Preset{
			Name: r.Name, Tenant: r.Tenant, PresetDefinition: PresetDefinition{Title: r.Title, Description: r.Description, Filter: r.Filter},
			BuiltIn: r.BuiltIn, CreatedAt: utc(r.CreatedAt), UpdatedAt: utc(r.UpdatedAt),
		}
	}
	return presets, nil
}

// Preset returns one. Errors: PresetNotFound.
func (e *Engine) Preset(ctx context.Context, ref Ref) (Preset, error) {
	ref = ref.of(ctx)
	found, err := e.listPresets(ctx, db.ListPresetsParams{Name: &ref.Name, Tenant: &ref.Tenant, MaxPresets: 1})
	if err != nil {
		return Preset{}, err
	}
	if len(found) == 0 {
		return Preset{}, noPreset(ref.Name)
	}
	return found[0], nil
}

func noPreset(name string) *Error {
	return &Error{Code: PresetNotFound, Message: fmt.Sprintf("there is no preset %q", name), Hint: "GET /v1/presets lists those there are."}
}

// SetPreset saves a preset, or with replace gives the one of that name another filter. The preset is the JSON of a PresetDefinition; a name in it is passed
// over. Errors: InvalidArgument, QueueNotFound, TooManyNames, PresetBuiltIn, PresetExists.
func (e *Engine) SetPreset(ctx context.Context, ref Ref, preset json.RawMessage, replace bool) (Preset, error) {
	err := e.changes.SetPreset(ctx, db.SetPresetParams{Name: ref.Name, Preset: preset, Replace: replace, Tenant: nonZero(ref.Tenant)})
	if err != nil {
		return Preset{}, fromDB("saving a preset", err)
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		ref.Tenant = p.Tenant // whatever the request says
	}
	return e.Preset(ctx, ref)
}

// DeletePreset deletes one. Errors: PresetNotFound, PresetBuiltIn.
func (e *Engine) DeletePreset(ctx context.Context, ref Ref) error {
	return fromDB("deleting a preset", e.changes.DeletePreset(ctx, db.DeletePresetParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}))
}

// withPreset puts the fields of a filter's preset beside its own, which replace them. A caller without a tenant names a preset of the filter's tenant, or of none.
// Errors: PresetNotFound.
func (f Filter) withPreset(ctx context.Context, e *Engine) (Filter, error) {
	if f.Preset == "" {
		return f, nil
	}
	params := db.PresetFilterParams{Name: f.Preset, Tenants: []string{"", f.Tenant}}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		params.Tenants = []string{p.Tenant}
	}
	var err error
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return f, err
	}
	text, err := e.reads.PresetFilter(ctx, params)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, noPreset(f.Preset)
	}
	if err != nil {
		return f, fromDB("looking up a preset", err)
	}
	var both Filter
	f.Preset = ""
	own, err := json.Marshal(f)
	if err == nil {
		err = json.Unmarshal(text, &both)
	}
	if err == nil {
		err = json.Unmarshal(own, &both)
	}
	if err != nil {
		return f, fmt.Errorf("reading a preset: %w", err)
	}
	return both, nil
}
