package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/weirhq/weir/bench/cluster"
	"github.com/weirhq/weir/bench/queue"
	"github.com/weirhq/weir/bench/report"
	"github.com/weirhq/weir/bench/scenario"
)

// run does all rounds and reports. Interrupted, it reports what there is.
func run(ctx context.Context, p plan) error {
	if err := p.check(); err != nil {
		return err
	}
	book := report.Book{Scenarios: headingsOfScenarios(p.Options), Systems: headingsOfSystems()}
	if err := p.readEarlier(&book); err != nil {
		return err
	}
	for _, name := range strings.Split(p.profiles, ",") {
		if p.rounds == 0 {
			break
		}
		profile, err := cluster.ProfileByName(name)
		if err != nil {
			return err
		}
		if err := runProfile(ctx, p, profile, &book); err != nil {
			return err
		}
	}
	if p.out != "" {
		if err := book.Write(p.out); err != nil {
			return err
		}
	}
	fmt.Print(book.Tables())
	return failures(book)
}

func runProfile(ctx context.Context, p plan, profile cluster.Profile, book *report.Book) (err error) {
	c, err := cluster.Start(ctx, p.folder, profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	var done report.Book
	done.Environment = report.DescribeEnvironment(p.folder, c.Version())
	done.Scenarios = headingsOfScenarios(p.Options)
	defer func() { book.Add(done) }()
	for round := range p.rounds {
		for _, sc := range scenario.Scenarios(p.Options) {
			for _, system := range queue.Systems(p.program) {
				if ctx.Err() != nil || !chosen(p.scenarios, sc.Name) || !chosen(p.systems, system.Name) {
					continue
				}
				result := scenario.Run(ctx, c, system, sc, p.Options, round+1)
				if ctx.Err() == nil {
					done.Results = append(done.Results, result)
				}
				fmt.Fprintln(os.Stderr, result)
			}
		}
	}
	return nil
}

// failures is an error if any run failed.
func failures(book report.Book) error {
	failed := 0
	for _, r := range book.Results {
		if r.Error != "" {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed", failed, len(book.Results))
	}
	return nil
}

// readEarlier adds the results of earlier runs, and how each was made.
func (p plan) readEarlier(book *report.Book) error {
	for _, path := range strings.FieldsFunc(p.from, func(r rune) bool { return r == ',' }) {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var earlier report.Book
		if err := json.Unmarshal(text, &earlier); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		book.Add(earlier)
	}
	return nil
}

// check refuses names that do not exist, so that a slip does not measure nothing.
func (p plan) check() error {
	for _, list := range []struct {
		asked string
		known []report.Heading
	}{{p.scenarios, headingsOfScenarios(p.Options)}, {p.systems, headingsOfSystems()}} {
		for _, name := range strings.Split(list.asked, ",") {
			if name != "all" && !slices.ContainsFunc(list.known, func(h report.Heading) bool { return h.Name == name }) {
				return fmt.Errorf("there is no %q; bench -h lists what there is", name)
			}
		}
	}
	return nil
}

func chosen(list, name string) bool {
	return list == "all" || slices.Contains(strings.Split(list, ","), name)
}

func headingsOfScenarios(o scenario.Options) (list []report.Heading) {
	for _, sc := range scenario.Scenarios(o) {
		if sc.What != "" {
			list = append(list, report.Heading{Name: sc.Name, What: sc.What})
		}
	}
	return list
}

func headingsOfSystems() (list []report.Heading) {
	for _, system := range queue.Systems("") {
		list = append(list, report.Heading{Name: system.Name, What: system.What})
	}
	return list
}

func printHeadings(list []report.Heading) {
	for _, h := range list {
		fmt.Fprintf(flag.CommandLine.Output(), "  %-14s %s\n", h.Name, h.What)
	}
}
