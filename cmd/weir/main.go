// Command weir is all of weir in one program: a node, the migrations of its database, a worker for any program, and the
// client commands.
//
// This package wires the others together. It alone reads the environment, and the flags of the commands that do not
// only call a node.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/cli"
	"github.com/weirhq/weir/node"
	"github.com/weirhq/weir/terminal"
)

// commands is the command line.
type commands struct {
	Dev           devCommand            `cmd:"" help:"Run everything on this machine, with a private PostgreSQL."`
	Serve         serveCommand          `cmd:"" help:"Run a node on an existing PostgreSQL."`
	Migrate       migrateCommand        `cmd:"" help:"Bring a database to weir's schema, or back."`
	Work          workCommand           `cmd:"" help:"Work jobs by running a program for each."`
	EncryptionKey encryptionKeyCommands `cmd:"" help:"Make and rotate the keys that nodes encrypt with."`
	cli.Commands
	OpenAPI openapiCommand `cmd:"" name:"openapi" help:"Print the OpenAPI document of the REST API."`
	Version versionCommand `cmd:"" help:"Print the version of this program."`
}

// streams is where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// jsonFlag is a flag of every command that prints an answer.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print the answer as JSON."`
}

func (s streams) writeJSON(answer any) error { return json.NewEncoder(s.out).Encode(answer) }

// session is these streams for a client command.
func (s streams) session() *cli.Session {
	cursor := os.Getenv("TERM") != "dumb"
	session := &cli.Session{
		In: s.in, Out: s.out, Err: s.err, Version: readBuild().version, CreateKey: createKeyInDatabase,
		Token:    os.Getenv("WEIR_TOKEN"),
		Paint:    terminal.Painter(cursor && os.Getenv("NO_COLOR") == "" && terminal.Is(s.out)),
		Progress: cursor && terminal.Is(s.err),
		Screen:   cursor && terminal.Is(s.out) && terminal.Is(s.in),
	}
	if u, err := user.Current(); err == nil {
		session.User = u.Username
	}
	return session
}

// The exit statuses of this program other than 0.
const (
	statusFailed = 1
	statusUsage  = 2
)

func main() {
	unsetEmptySettings()
	stop := newStop()
	os.Exit(run(stop, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

// run runs one command line and returns the exit status.
func run(stop *stop, std streams, args []string) int {
	exited := -1
	parser, err := kong.New(&commands{},
		kong.Name("weir"),
		kong.Description("A job queue service on PostgreSQL. Start with: weir dev"),
		kong.Writers(std.out, std.err),
		kong.Exit(func(status int) { exited = status }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.Vars{
			"default_data_dir": defaultDataDir(), "default_concurrency": strconv.Itoa(runtime.NumCPU()),
			"own_connections": strconv.Itoa(node.OwnConnections),
		},
		kong.Bind(stop, std, std.session()),
		kong.BindTo(stop.asked, (*context.Context)(nil)),
	)
	if err != nil {
		panic(err) // the struct tags are wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintf(std.err, "weir: %s; see weir --help and weir COMMAND --help\n", terminal.OneLine(err.Error()))
		return statusUsage
	}
	err = explainConnecting(command.Run())
	var usage *cli.UsageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && stop.asked.Err() != nil:
		fmt.Fprintln(std.err, "weir: interrupted")
		return statusFailed
	}
	fmt.Fprintf(std.err, "weir: %s\n", strings.TrimSpace(err.Error()))
	if errors.As(err, &usage) {
		return statusUsage
	}
	return statusFailed
}

func usagef(format string, args ...any) error { return cli.Usagef(format, args...) }

// unsetEmptySettings makes an empty variable count as absent: WEIR_URL= in a file of settings means the default.
func unsetEmptySettings() {
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); value == "" && strings.HasPrefix(name, "WEIR_") {
			os.Unsetenv(name)
		}
	}
}
