package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/node"
	"github.com/weirhq/weir/rest"
)

// The names of weir's database in its own PostgreSQL, and of the role that owns it. The node is that role, not a superuser: what a request made
// it do wrong would end at its database.
const (
	devDatabase = "weir"
	devRole     = "weir"
)

type devCommand struct {
	DataDir      string `help:"Folder for the data. weir never deletes it." env:"WEIR_DATA_DIR" default:"${default_data_dir}"`
	PostgresPort int    `help:"Port of PostgreSQL on 127.0.0.1. Defaults to a free one." env:"WEIR_POSTGRES_PORT" placeholder:"PORT"`
	PostgresBin  string `help:"Folder of PostgreSQL's programs. Defaults to the newest on this machine." env:"WEIR_POSTGRES_BIN" placeholder:"FOLDER"`
	ephemeralFlags
	nodeFlags
}

// Validate is called by kong.
func (c *devCommand) Validate() error {
	return errors.Join(c.ephemeralFlags.Validate(), c.nodeFlags.Validate())
}

// Run serves until it is asked to stop.
func (c *devCommand) Run(ctx context.Context, std streams, stop *stop) (err error) {
	if c.UntilEOF {
		stop = stop.withEndOf(std.in)
		ctx = stop.asked
	}
	if c.Ephemeral {
		remove, err := c.makeTemporaryFolder()
		if err != nil {
			return err
		}
		defer remove()
	}
	return c.serve(ctx, std, stop)
}

// serve starts PostgreSQL, migrates and serves until it is asked to stop; then it stops PostgreSQL.
func (c *devCommand) serve(ctx context.Context, std streams, stop *stop) (err error) {
	if c.DataDir == "" {
		return usagef("this user has no home folder to keep the data in: give a folder with --data-dir")
	}
	log := c.logger(std.err)
	listener, err := node.Listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	postgres, err := c.startPostgres(ctx, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	database, err := prepareDevDatabase(ctx, postgres)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	key := filepath.Join(c.DataDir, "admin.key")
	if err := keepAdminKey(ctx, database, key); err != nil {
		return errors.Join(err, listener.Close())
	}
	n, err := c.newNode(ctx, listener, log, database, database, 0)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		n.Close()
		return err
	}
	if c.JSON {
		err = std.writeJSON(devAddresses{URL: n.URL(), DatabaseURL: database, AdminKeyFile: key})
	} else {
		_, err = fmt.Fprint(std.out, c.guide(n.URL(), postgres, key, c.authenticates(listener.Addr())))
	}
	if err != nil {
		n.Close()
		return err
	}
	return n.Run(stop.asked, stop.insisted)
}

func (c *devCommand) startPostgres(ctx context.Context, log *slog.Logger) (*embedded.Server, error) {
	// In a subfolder, which leaves room for other things beside the cluster.
	return embedded.Start(ctx, embedded.Config{
		DataDir: filepath.Join(c.DataDir, "postgres"), BinDir: c.PostgresBin, Port: c.PostgresPort, Logger: log,
		Settings: c.settings(),
	})
}

// prepareDevDatabase creates the role and the database if they do not exist, migrates, and returns the database's URL for the role. The role
// gets a new password at each start, so none is kept.
func prepareDevDatabase(ctx context.Context, postgres *embedded.Server) (string, error) {
	conn, err := pgx.Connect(ctx, postgres.URL("postgres"))
	if err != nil {
		return "", fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	password := rand.Text() // letters and digits
	var isRole bool
	var owner string
	const find = `select exists (select from pg_roles where rolname = $1),
		coalesce((select pg_get_userbyid(datdba) from pg_database where datname = $2), '')`
	if err := conn.QueryRow(ctx, find, devRole, devDatabase).Scan(&isRole, &owner); err != nil {
		return "", fmt.Errorf("reading the list of databases: %w", err)
	}
	var statements []string
	if !isRole {
		statements = append(statements, "create role "+devRole, "grant pg_read_all_stats to "+devRole)
	}
	statements = append(statements, fmt.Sprintf("alter role %s login nosuperuser password '%s'", devRole, password))
	switch owner {
	case "":
		statements = append(statements, "create database "+devDatabase+" owner "+devRole)
	case devRole:
	default:
		return "", fmt.Errorf("the database %s belongs to %s, as an earlier weir made it: use another folder with --data-dir, or drop the database",
			devDatabase, owner)
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", fmt.Errorf("preparing the database: %w", err)
		}
	}
	url := postgres.URLFor(devRole, password, devDatabase)
	return url, migrations.Up(ctx, url)
}

// guide says where everything is and what to try first. Its commands can be pasted into a shell, and show no
// password.
func (c *devCommand) guide(url string, postgres *embedded.Server, key string, asksForKey bool) string {
	atURL := ""
	if url != rest.DefaultURL {
		atURL = " --url " + url
	}
	password, port := shellQuote(filepath.Join(postgres.DataDir(), "weir.password")), postgres.Port()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("")
	line("weir is ready.")
	line("")
	line("  REST       %s/v1", url)
	line("  API docs   %s/docs", url)
	line("  PostgreSQL %s on 127.0.0.1:%d, database %s, user postgres", postgres.Version(), port, devDatabase)
	line("             PGPASSWORD=\"$(cat %s)\" psql -h 127.0.0.1 -p %d -U postgres %s", password, port, devDatabase)
	fate := "kept for the next run"
	if c.Ephemeral {
		fate = "deleted when weir ends"
	}
	line("  Data       %s (%s)", c.DataDir, fate)
	header := ""
	if asksForKey {
		line("  Admin key  %s", key)
		line("")
		line("Callers need a key. The commands below take it from here:")
		line("")
		line("  export WEIR_TOKEN_FILE=%s", shellQuote(key))
		header = ` -H "Authorization: Bearer $(cat "$WEIR_TOKEN_FILE")"`
	} else {
		line("  Admin key  %s (asked for with --auth)", key)
	}
	line("")
	line("Enqueue a job with curl, or in SQL:")
	line("")
	line("  curl --json '{\"kind\": \"hello\", \"args\": {\"to\": \"you\"}}'%s %s/v1/jobs", header, url)
	line("  select weir.enqueue('hello', '{\"to\": \"you\"}');")
	line("")
	line("Work the queue with any program, here cat, which returns the job's args; then list the queues:")
	line("")
	line("  weir work%s --queue default -- cat", atURL)
	line("  weir queues%s", atURL)
	line("")
	line("Stop with Ctrl-C.")
	line("")
	return b.String()
}

// shellQuote quotes a text so that a shell reads it as one word.
func shellQuote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("/._-+:@%", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
