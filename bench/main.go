// Command bench measures weir beside other job queues on PostgreSQL. See docs/benchmarks.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/weirhq/weir/bench/scenario"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// plan is what the command line asks for.
type plan struct {
	scenario.Options
	scenarios, systems, profiles string
	rounds                       int
	folder                       string // for the clusters
	program                      string
	out                          string
	from                         string
}

func parseFlags() plan {
	var p plan
	flag.StringVar(&p.scenarios, "scenarios", "burndown", "scenarios, with commas between, or all")
	flag.StringVar(&p.systems, "systems", "all", "systems to do them to, with commas between, or all")
	flag.StringVar(&p.profiles, "profiles", "stock", "settings of PostgreSQL: stock, tuned, or both with a comma between")
	flag.IntVar(&p.rounds, "rounds", 3, "how often each is done; all systems take turns in each round")
	flag.IntVar(&p.Jobs, "n", 200_000, "jobs of a burn-down")
	flag.IntVar(&p.Batch, "batch", 1000, "jobs of a transaction that enqueues, of a claim and of a completion")
	flag.IntVar(&p.Connections, "c", 4, "connections that enqueue, and connections that work")
	flag.IntVar(&p.ArgsSize, "args", 250, "size of a job's args, in bytes")
	flag.DurationVar(&p.Duration, "duration", 10*time.Minute, "length of continuous and pinned")
	flag.DurationVar(&p.Offer, "offer", time.Minute, "length of the scenarios with a fixed rate")
	flag.IntVar(&p.Backlog, "backlog", 1_000_000, "jobs that wait in backlog")
	flag.DurationVar(&p.Limit, "limit", time.Hour, "a run that takes longer is ended, and counts as failed")
	flag.BoolVar(&p.WAL, "wal", false, "count the log of each run by type of record, with pg_waldump")
	flag.StringVar(&p.folder, "dir", "", "folder for the clusters (default: the system's temporary folder)")
	flag.StringVar(&p.program, "weir", "", "the weir program (default: built from the checkout)")
	flag.StringVar(&p.out, "out", "", "docs folder to write benchmarks.md and benchmarks/ into")
	flag.StringVar(&p.from, "from", "", "results.json files of earlier runs, with commas between, to report on together with this one's; with -rounds 0 nothing is run")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "bench measures weir beside other job queues on PostgreSQL. It prints tables; -out writes the page.\n\nScenarios:\n")
		printHeadings(headingsOfScenarios(p.Options))
		fmt.Fprint(flag.CommandLine.Output(), "\nSystems:\n")
		printHeadings(headingsOfSystems())
		fmt.Fprint(flag.CommandLine.Output(), "\nFlags:\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	return p
}
