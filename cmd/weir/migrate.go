package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/weirhq/weir/migrations"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Apply what the database has not had yet."`
	Down   migrateDown   `cmd:"" help:"Take back the newest migration, and what it holds."`
	Status migrateStatus `cmd:"" help:"List the migrations."`
}

type migrateUp struct{ databaseFlags }

// Run migrates. Any number of nodes may do so at once.
func (c *migrateUp) Run(ctx context.Context, std streams) error {
	before, err := migrations.Version(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	if err := migrations.Up(ctx, c.DatabaseURL); err != nil {
		return err
	}
	after, err := migrations.Version(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	if before == after {
		fmt.Fprintf(std.out, "The database is at version %d; there was nothing to do.\n", after)
	} else {
		fmt.Fprintf(std.out, "The database was at version %d and is at version %d now.\n", before, after)
	}
	return nil
}

type migrateDown struct {
	databaseFlags
	To *int64 `help:"The version to go back to. 0 leaves nothing of weir, and takes all jobs with it. Defaults to the one before the newest." placeholder:"VERSION"`
}

// Run takes migrations back. What they hold is lost, so it goes one step unless told how far.
func (c *migrateDown) Run(ctx context.Context, std streams) error {
	list, err := migrations.Status(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	var current, target int64 // target: the newest but one
	for _, m := range list {
		if !m.AppliedAt.IsZero() {
			current, target = m.Version, current
		}
	}
	if c.To != nil {
		target = *c.To
	}
	if target < 0 || target > current {
		return usagef("the database is at version %d, and cannot go back to %d", current, target)
	}
	if err := migrations.Down(ctx, c.DatabaseURL, target); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "The database was at version %d and is at version %d now.\n", current, target)
	return nil
}

type migrateStatus struct{ databaseFlags }

// Run lists the migrations. It changes nothing.
func (c *migrateStatus) Run(ctx context.Context, std streams) error {
	list, err := migrations.Status(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tNAME\tAPPLIED")
	pending := 0
	for _, m := range list {
		name, applied := m.Name, "not yet"
		if name == "" {
			name = "(of a newer weir)"
		}
		if m.AppliedAt.IsZero() {
			pending++
		} else {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\n", m.Version, name, applied)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if pending > 0 {
		fmt.Fprintf(std.out, "\n%d to apply: weir migrate up\n", pending)
	}
	return nil
}
