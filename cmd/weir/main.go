// Command weir is the whole of weir: the service, its database's schema, a worker for any program, and a few commands for people.
//
// Each command is a file. This package alone reads flags and the environment, and wires the others together.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/node"
)

// commands is the command line.
type commands struct {
	Dev        devCommand        `cmd:"" help:"Run everything on this machine, with a PostgreSQL of its own."`
	Serve      serveCommand      `cmd:"" help:"Run a node against a PostgreSQL that is there already."`
	Migrate    migrateCommand    `cmd:"" help:"Bring a database to weir's schema, or back."`
	Work       workCommand       `cmd:"" help:"Work jobs by running a program for each."`
	Enqueue    enqueueCommand    `cmd:"" help:"Enqueue a job."`
	Job        jobCommand        `cmd:"" help:"Look at a job, wait for it, change its course."`
	Queue      queueCommand      `cmd:"" help:"Look at queues, pause, purge and set them."`
	Queues     listQueuesCommand `cmd:"" hidden:"" help:"List the queues."`
	Workers    workersCommand    `cmd:"" help:"List the workers, look at one, or pause, resume, drain or remove it."`
	Dead       deadCommand       `cmd:"" help:"List dead letters, look at one, run them again or purge them."`
	Breakers   breakersCommand   `cmd:"" help:"List the circuit breakers, look at one, trip, reset, pin, set or delete it."`
	Operations operationsCommand `cmd:"" help:"List the work on many jobs that goes on in the background, watch it or cancel it."`
	Workflow   workflowCommand   `cmd:"" aliases:"workflows" help:"List workflows, draw, submit, cancel, retry or fork one, or send it a signal."`
	Webhooks   webhooksCommand   `cmd:"" help:"List the webhooks, make, test or delete one, see what it was told."`
	Schedules  schedulesCommand  `cmd:"" help:"List the schedules, make, look at, preview, pause, trigger or delete one."`
	OpenAPI    openapiCommand    `cmd:"" name:"openapi" help:"Print the description of the REST API."`
	Version    versionCommand    `cmd:"" help:"Print the version of this program."`
}

// streams is where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// confirm asks a question, and says whether the answer is yes.
func (s streams) confirm(question string) bool {
	fmt.Fprintf(s.err, "%s [y/N] ", question)
	line, _ := bufio.NewReader(s.in).ReadString('\n')
	said := strings.ToLower(strings.TrimSpace(line))
	if said == "y" || said == "yes" {
		return true
	}
	fmt.Fprintln(s.err)
	return false
}

// The statuses of this program other than 0.
const (
	statusFailed = 1
	statusUsage  = 2
)

func main() {
	unsetEmptySettings()
	stop := newStop()
	os.Exit(run(stop, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

// run runs one command line and returns the status to exit with.
func run(stop *stop, std streams, args []string) int {
	exited := -1
	parser, err := kong.New(&commands{},
		kong.Name("weir"),
		kong.Description("A job queue service on PostgreSQL. Start with: weir dev"),
		kong.Writers(std.out, std.err),
		kong.Exit(func(status int) { exited = status }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.Vars{"default_data_dir": defaultDataDir(), "default_concurrency": defaultConcurrency(), "own_connections": strconv.Itoa(node.OwnConnections)},
		kong.Bind(stop, std),
		kong.BindTo(stop.asked, (*context.Context)(nil)),
	)
	if err != nil {
		panic(err) // the command line's own description is wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // the help was asked for and printed
		return exited
	}
	if err != nil {
		fmt.Fprintf(std.err, "weir: %v; weir --help lists the commands, weir COMMAND --help its flags\n", err)
		return statusUsage
	}
	err = explainConnecting(command.Run())
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "weir: %v\n", err)
		return statusUsage
	case errors.Is(err, context.Canceled) && stop.asked.Err() != nil:
		fmt.Fprintln(std.err, "weir: interrupted")
	default:
		fmt.Fprintf(std.err, "weir: %s\n", strings.TrimSpace(err.Error()))
	}
	return statusFailed
}

// usageError is a mistake in the command line that only shows when a command looks at its arguments.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// unsetEmptySettings makes an empty variable count as absent: WEIR_URL= in a file of settings means the default.
func unsetEmptySettings() {
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); value == "" && strings.HasPrefix(name, "WEIR_") {
			os.Unsetenv(name)
		}
	}
}
