//go:build unix

// Command with-postgres runs a command with a throw-away PostgreSQL that has weir's schema:
//
//	go run ./cmd/with-postgres sh -c 'psql "$DATABASE_URL"'
//	go run ./cmd/with-postgres -durable -set shared_buffers=1GB -- go test ./...
//
// The command finds its address in DATABASE_URL, WEIR_DATABASE_URL and WEIR_TEST_DATABASE_URL, the address of the
// superuser. When it ends, or with-postgres is told to end, the server is stopped and its data removed. The status is
// the command's, or 128 and the signal's number where a signal ended it.
//
// WEIR_POSTGRES_BIN names the folder of the PostgreSQL programs. Defaults to what package embedded finds.
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
		return errors.New("it must have the form name=value")
	}
	s[name] = value
	return nil
}

func main() {
	set := settings{}
	durable := flag.Bool("durable", false, "write to disk what is committed, as in production")
	flag.Var(set, "set", "a PostgreSQL setting, name=value; may be given several times")
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

// run runs the command beside a server and returns its status once the server is gone.
func run(set settings, command []string) (status int, err error) {
	// A signal ends the preparations; once the command runs, it is passed on to it.
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

// supervise runs the command to its end and passes signals on to it.
func supervise(command []string, address string, signals <-chan os.Signal) (status int, err error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"DATABASE_URL="+address, "WEIR_DATABASE_URL="+address, "WEIR_TEST_DATABASE_URL="+address)
	if err := cmd.Start(); err != nil {
		return 127, err // what a shell says of a command that it cannot find
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// A Ctrl-C has reached the command already: the terminal sends it to both.
			if s != syscall.SIGINT || !atTerminal() {
				_ = cmd.Process.Signal(s) // it may have ended just now
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

// atTerminal tells whether this program has a terminal that sends it the user's Ctrl-C.
func atTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	return tty.Close() == nil
}
