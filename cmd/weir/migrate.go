package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/migrations"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Bring the database to this weir's schema."`
	Down   migrateDown   `cmd:"" help:"Remove weir's schema and every job with it; asks first."`
	Status migrateStatus `cmd:"" help:"List the migrations and what is out of date."`
}

type migrateUp struct {
	databaseFlags
	jsonFlag
}

// Run migrates. Any number of nodes may do so at once.
func (c *migrateUp) Run(ctx context.Context, std streams) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	before, err := migrations.Read(ctx, url)
	if err != nil {
		return err
	}
	if err := migrations.Up(ctx, url); err != nil {
		return err
	}
	after, err := migrations.Read(ctx, url)
	if err != nil {
		return err
	}
	if c.JSON {
		return std.writeJSON(map[string]any{
			"from_version": before.Version(), "version": after.Version(), "updated_files": len(before.Stale),
		})
	}
	switch {
	case before.Version() != after.Version():
		fmt.Fprintf(std.out, "Migrated the database from version %d to %d.\n", before.Version(), after.Version())
	case len(before.Stale) > 0:
		fmt.Fprintf(std.out, "The database is at version %d. Updated its functions and views (%d files).\n",
			after.Version(), len(before.Stale))
	default:
		fmt.Fprintf(std.out, "The database is at version %d; nothing to do.\n", after.Version())
	}
	return nil
}

type migrateDown struct {
	databaseFlags
	jsonFlag
	Yes bool `help:"Do not ask for confirmation."`
}

// Run removes the schema. It goes all the way or not at all: a database between two versions serves no weir.
func (c *migrateDown) Run(ctx context.Context, std streams) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Remove weir's schema and every job from the database %q?", config.Database)
	if err := std.session().Confirm(c.Yes, question, "nothing was removed"); err != nil {
		return err
	}
	if err := migrations.Down(ctx, url); err != nil {
		return err
	}
	if c.JSON {
		return std.writeJSON(map[string]any{"version": 0})
	}
	fmt.Fprintln(std.out, "Removed weir's schema.")
	return nil
}

type migrateStatus struct {
	databaseFlags
	jsonFlag
}

// Run lists the migrations. It changes nothing.
func (c *migrateStatus) Run(ctx context.Context, std streams) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	state, err := migrations.Read(ctx, url)
	if err != nil {
		return err
	}
	if c.JSON {
		return std.writeJSON(statusAnswer(state))
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tNAME\tAPPLIED")
	for _, m := range state.Migrations {
		name, applied := m.Name, "not yet"
		if name == "" {
			name = "(of a newer weir)"
		}
		if !m.AppliedAt.IsZero() {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", m.Version, name, applied)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !state.Current() {
		fmt.Fprintf(std.out, "\nOut of date: %d migrations, %d files of functions and views. To update: weir migrate up\n",
			state.Missing(), len(state.Stale))
	}
	return nil
}

// statusAnswer is the state of a database's schema as JSON has it.
func statusAnswer(state migrations.State) map[string]any {
	type migration struct {
		Version   int64     `json:"version"`
		Name      string    `json:"name"`
		AppliedAt time.Time `json:"applied_at,omitzero"`
	}
	list := make([]migration, len(state.Migrations))
	for i, m := range state.Migrations {
		list[i] = migration{m.Version, m.Name, m.AppliedAt}
	}
	return map[string]any{
		"version": state.Version(), "current": state.Current(), "migrations": list, "stale_files": append([]string{}, state.Stale...),
	}
}
