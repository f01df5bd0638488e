package cli

import (
	"context"
	"net/http"
	"strconv"

	"github.com/weirhq/weir/rest"
)

type tenantCommands struct {
	List   listTenants  `cmd:"" default:"withargs" help:"List tenants with quotas, and what they use. The default."`
	Show   showTenant   `cmd:"" help:"Show the quota of a tenant, and what it uses."`
	Set    setTenant    `cmd:"" help:"Set the quota of a tenant, in place of the one that it had."`
	Delete deleteTenant `cmd:"" help:"Remove the quota of a tenant."`
}

// tenant is what is printed of a tenant.
type tenant struct {
	Tenant            string   `json:"tenant"`
	MaxWaiting        *int64   `json:"max_waiting"`
	EnqueuesPerSecond *float64 `json:"enqueues_per_second"`
	EnqueueBurst      *int64   `json:"enqueue_burst"`
	MaxBytes          *int64   `json:"max_bytes"`
	Waiting           *int64   `json:"waiting"`
	Bytes             *int64   `json:"bytes"`
	Exact             bool     `json:"exact"`
}

// used prints how much of a quota is used.
func used(n, most *int64) string {
	if n == nil || most == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10) + " of " + strconv.FormatInt(*most, 10)
}

func (t *tenant) rate() string {
	if t.EnqueuesPerSecond == nil || t.EnqueueBurst == nil {
		return ""
	}
	return strconv.FormatFloat(*t.EnqueuesPerSecond, 'g', -1, 64) + "/s (" + strconv.FormatInt(*t.EnqueueBurst, 10) + " at once)"
}

var tenantTable = layout[tenant]{
	columns: []string{"TENANT", "WAITING", "ENQUEUES", "BYTES"},
	row: func(_ *printer, t *tenant) []any {
		waiting := used(t.Waiting, t.MaxWaiting)
		if waiting != "" && !t.Exact {
			waiting += ", still counting"
		}
		return []any{t.Tenant, waiting, t.rate(), used(t.Bytes, t.MaxBytes)}
	},
}

type listTenants struct{ answerFlags }

// Run lists tenants with quotas.
func (c *listTenants) Run(ctx context.Context, s *Session) error {
	return list(ctx, s, c.answerFlags, rest.Get("/v1/tenants"), rest.All, "No tenant has a quota.", tenantTable)
}

// tenantFlags are those of the commands about one tenant.
type tenantFlags struct {
	Tenant string `arg:"" complete:"tenant" help:"The tenant."`
	answerFlags
}

func (f tenantFlags) path() string { return rest.Path("tenants", f.Tenant) }

func (f tenantFlags) show(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f.answerFlags, call, func(p *printer, t *tenant) { tenantTable.print(p, []tenant{*t}) })
}

type showTenant struct{ tenantFlags }

// Run shows a tenant.
func (c *showTenant) Run(ctx context.Context, s *Session) error {
	return c.show(ctx, s, rest.Get(c.path()))
}

type setTenant struct {
	tenantFlags
	Settings []string `arg:"" name:"quota=value" help:"max_waiting=1000, enqueues_per_second=50, enqueue_burst=100, max_bytes=1000000000. A quota that you leave out has no limit."`
}

// Run sets the quota of a tenant.
func (c *setTenant) Run(ctx context.Context, s *Session) error {
	quota, err := parseSettings(c.Settings)
	if err != nil {
		return err
	}
	return c.show(ctx, s, rest.Call{Method: http.MethodPut, Path: c.path(), Body: quota})
}

type deleteTenant struct {
	tenantFlags
	yesFlag
}

// Run asks, and removes the quota of a tenant.
func (c *deleteTenant) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: rest.Get(c.path()), delete: rest.Delete(c.path()),
		question: "Remove the quota of tenant " + c.Tenant + "?", gone: "tenant " + c.Tenant + " has no quota",
	})
}
