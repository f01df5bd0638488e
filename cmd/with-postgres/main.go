//go:build unix

// Command with-postgres runs a command with a throw-away PostgreSQL that has weir's schema:
//
//	go run ./cmd/with-postgres sh -c 'psql "$DATABASE_URL"'
//	go run ./cmd/with-postgres -durable -set shared_buffers=1GB -- go test ./...
//
// The command gets the superuser's address of the database in DATABASE_URL, WEIR_DATABASE_URL and WEIR_TEST_DATABASE_URL.
// When the command ends, or a signal ends with-postgres, it stops the server and removes its data. Its status is the
// command's, or 128 plus the signal's number if a signal ended the command.
//
// WEIR_POSTGRES_BIN names the folder of the PostgreSQL programs. Defaults to the one that package embedded finds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/embedded"
	"github.com/weirhq/weir/migrations"
)

// database is the name of the migrated database.
const database = "weir"

// settings collects -set name=value.
type settings map[string]string

func (s settings) String() string { return "" }

func (s settings) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return errors.New("want the form name=value")
	}
	s[name] = value
	return nil
}

func main() {
	set := settings{}
	durable := flag.Bool("durable", false, "write commits to disk, as in production")
	flag.Var(set, "set", "a PostgreSQL setting, name=value; can be given several times")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: with-postgres [-durable] [-set name=value]... [--] command [argument]...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if !*durable {
		for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
			if _, given := set[name]; !given {
				set[name] = "off"
			}
		}
	}
	status, err := run(set, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "with-postgres:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// run starts a server, runs the command, stops the server, and returns the command's status.
func run(set settings, command []string) (status int, err error) {
	// Until the command runs, a signal cancels the preparations. After that it is passed on to the command.
	stopSignals := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, stopSignals...)
	ctx, cancel := signal.NotifyContext(context.Background(), stopSignals...)
	defer cancel()

	dir, err := os.MkdirTemp("", "with-postgres-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := embedded.Start(ctx, embedded.Config{
		DataDir:  dir,
		BinDir:   os.Getenv("WEIR_POSTGRES_BIN"),
		Settings: set,
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if err := errors.Join(prepare(ctx, server), ctx.Err()); err != nil {
		return 1, err
	}
	return supervise(command, server.URL(database), signals)
}

func prepare(ctx context.Context, server *embedded.Server) error {
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "create database "+database); err != nil {
		return err
	}
	return migrations.Up(ctx, server.URL(database))
}

// supervise runs the command until it ends and passes signals on to it.
func supervise(command []string, address string, signals <-chan os.Signal) (status int, err error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"DATABASE_URL="+address, "WEIR_DATABASE_URL="+address, "WEIR_TEST_DATABASE_URL="+address)
	if err := cmd.Start(); err != nil {
		return 127, err // a shell's status for a command that it cannot find
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// The terminal sends a Ctrl-C to both.
			if s != syscall.SIGINT || !atTerminal() {
				_ = cmd.Process.Signal(s) // the command may have just ended
			}
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				return 0, err
			}
			if wait := exit.Sys().(syscall.WaitStatus); wait.Signaled() {
				return 128 + int(wait.Signal()), nil
			}
			return exit.ExitCode(), nil
		}
	}
}

// atTerminal reports whether this program has a terminal, which sends it the user's Ctrl-C.
func atTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	return tty.Close() == nil
}
