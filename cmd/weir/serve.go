package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/weirhq/weir/cli"
	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/node"
)

type serveCommand struct {
	databaseFlags
	ListenDatabaseURL     string  `help:"URL of the same database that bypasses a pooler in transaction mode, for LISTEN, migrations and chores. Defaults to --database-url." env:"WEIR_LISTEN_DATABASE_URL" placeholder:"URL"`
	ListenDatabaseURLFile string  `help:"File with that URL, in place of --listen-database-url." env:"WEIR_LISTEN_DATABASE_URL_FILE" placeholder:"FILE"`
	Migrate               bool    `help:"Migrate the database first. Several nodes may do so at once." env:"WEIR_MIGRATE"`
	DrainSeconds          float64 `help:"On shutdown, how long /readyz answers not ready while the node still takes calls." env:"WEIR_DRAIN_SECONDS" default:"1"`
	nodeFlags
}

// Validate is called by kong.
func (c *serveCommand) Validate() error {
	if c.DrainSeconds < 0 {
		return errors.New("--drain-seconds must not be negative")
	}
	return errors.Join(c.databaseFlags.Validate(), c.nodeFlags.Validate())
}

// Run serves until it is asked to stop.
func (c *serveCommand) Run(ctx context.Context, std streams, stop *stop) error {
	log := c.logger(std.err)
	url, direct, err := c.urls()
	if err != nil {
		return err
	}
	listener, err := node.Listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	if err := c.checkSchema(ctx, log, direct); err != nil {
		return errors.Join(err, listener.Close())
	}
	n, err := c.newNode(ctx, listener, log, url, direct, cli.Seconds(c.DrainSeconds))
	if err != nil {
		return err
	}
	log.Info("serving", "url", n.URL(), "auth", c.authenticates(listener.Addr()), "version", readBuild().version)
	if err := n.Run(stop.asked, stop.insisted); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// urls are those of the database: for calls, and directly.
func (c *serveCommand) urls() (url, direct string, err error) {
	if url, err = c.url(); err != nil || c.ListenDatabaseURL+c.ListenDatabaseURLFile == "" {
		return url, url, err
	}
	direct, err = databaseURL(c.ListenDatabaseURL, c.ListenDatabaseURLFile)
	return url, direct, err
}

// checkSchema returns an error unless the database has all the migrations that this program knows.
func (c *serveCommand) checkSchema(ctx context.Context, log *slog.Logger, directURL string) error {
	if c.Migrate {
		if err := migrations.Up(ctx, directURL); err != nil {
			return err
		}
	}
	state, err := migrations.Read(ctx, directURL)
	if err != nil {
		return err
	}
	for _, version := range state.Newer() {
		log.Warn("the database has a migration of a newer weir", "version", version)
	}
	switch {
	case state.Current():
		return nil
	case state.Version() == 0:
		return errors.New("the database does not have weir's schema: run weir migrate up, or start with weir serve --migrate")
	default:
		return fmt.Errorf("the database's schema is out of date (version %d; %d migrations and %d files of functions and views to apply): "+
			"run weir migrate up, or start with weir serve --migrate", state.Version(), state.Missing(), len(state.Stale))
	}
}
