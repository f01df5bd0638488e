package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/weirhq/weir/rest"
)

type presetCommands struct {
	List   listPresets  `cmd:"" default:"withargs" help:"List presets: filters of jobs under a name. The default."`
	Show   showPreset   `cmd:"" help:"Show a preset."`
	Set    setPreset    `cmd:"" help:"Save a filter of jobs under a name, or replace it."`
	Delete deletePreset `cmd:"" help:"Delete a preset. Built-in presets stay."`
}

// presetFlags are those of the commands about one preset.
type presetFlags struct {
	Name string `arg:"" complete:"preset" help:"The preset's name."`
	ownerFlag
	answerFlags
}

func (f presetFlags) path() string { return rest.Path("presets", f.Name) }

// preset is what is printed of a preset.
type preset struct {
	Name        string          `json:"name"`
	Tenant      string          `json:"tenant"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Filter      json.RawMessage `json:"filter"`
	BuiltIn     bool            `json:"built_in"`
}

func (r *preset) origin() string {
	if r.BuiltIn {
		return "built in"
	}
	return "saved"
}

// filter is the filter in one line.
func (r *preset) filter() string {
	var line bytes.Buffer
	if json.Compact(&line, r.Filter) != nil {
		return string(r.Filter)
	}
	return line.String()
}

type listPresets struct {
	Tenant string `help:"Only presets of this tenant." placeholder:"TENANT"`
	answerFlags
}

// Run lists presets.
func (c *listPresets) Run(ctx context.Context, s *Session) error {
	return list(ctx, s, c.answerFlags, rest.Get("/v1/presets").With("tenant", c.Tenant), rest.All, "There are no presets.", layout[preset]{
		columns: []string{"PRESET", "TITLE", "FILTER", "ORIGIN"},
		row: func(_ *printer, r *preset) []any {
			return []any{ofTenant(r.Name, r.Tenant), r.Title, r.filter(), r.origin()}
		},
	})
}

type showPreset struct{ presetFlags }

// Run shows a preset.
func (c *showPreset) Run(ctx context.Context, s *Session) error {
	return c.show(ctx, s, rest.Get(c.path()))
}

func (f presetFlags) show(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f.answerFlags, f.of(call), func(p *printer, r *preset) {
		p.line("preset %s (%s): %s", ofTenant(r.Name, r.Tenant), r.origin(), r.Title)
		if r.Description != "" {
			p.line("%s", r.Description)
		}
		p.line("%s", r.filter())
	})
}

type setPreset struct {
	presetFlags
	Title       string `help:"A short title." required:"" placeholder:"TEXT"`
	Description string `help:"What it is for." placeholder:"TEXT"`
	Filter      string `help:"The filter as JSON, as in {\"state\": \"dead\", \"finished_after\": \"-1h\"}. Times may be relative: -15m, -1h, -7d, today." required:"" placeholder:"JSON"`
}

// Run saves a preset.
func (c *setPreset) Run(ctx context.Context, s *Session) error {
	if !json.Valid([]byte(c.Filter)) {
		return Usagef("--filter is not JSON: %s", c.Filter)
	}
	return c.show(ctx, s, rest.Call{Method: http.MethodPut, Path: c.path(), Body: struct {
		Title       string          `json:"title"`
		Description string          `json:"description,omitempty"`
		Filter      json.RawMessage `json:"filter"`
	}{c.Title, c.Description, json.RawMessage(c.Filter)}})
}

type deletePreset struct {
	presetFlags
	yesFlag
}

// Run asks, and deletes a preset.
func (c *deletePreset) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: c.of(rest.Get(c.path())), delete: c.of(rest.Delete(c.path())),
		question: "Delete preset " + c.Name + "?", gone: "preset " + c.Name + " is gone",
	})
}
