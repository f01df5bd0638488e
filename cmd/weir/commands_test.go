package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/cli"
)

func hasFlag(n *kong.Node, name string) bool {
	return slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == name })
}

func leaves(t *testing.T, commands any) []*kong.Node {
	vars := kong.Vars{"default_data_dir": "", "default_concurrency": "1", "own_connections": "1"}
	parser, err := kong.New(commands, vars)
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Leaves(false)
}

func TestEveryCommandThatPrintsAnAnswerPrintsJSON(t *testing.T) {
	t.Parallel()
	without := []string{"dev", "serve", "work", "openapi"} // openapi always prints JSON
	for _, n := range leaves(t, &commands{}) {
		if hasFlag(n, "json") == slices.Contains(without, n.Name) {
			t.Errorf("%s: --json: %v", n.Path(), hasFlag(n, "json"))
		}
	}
}

func TestEveryDeletionCanBeConfirmed(t *testing.T) {
	t.Parallel()
	found := 0
	for _, n := range leaves(t, &cli.Commands{}) {
		deletes := slices.Contains([]string{"delete", "remove", "purge", "revoke"}, n.Name)
		if deletes {
			found++
		}
		if deletes != hasFlag(n, "yes") {
			t.Errorf("weir %s: deletes: %v, has --yes: %v", n.Path(), deletes, hasFlag(n, "yes"))
		}
	}
	if found < 6 {
		t.Errorf("found %d commands that delete", found)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	check := func(where, help string) {
		if help == "" || !strings.HasSuffix(help, ".") && !strings.Contains(help, ":") {
			t.Errorf("%s: the help %q is no sentence", where, help)
		}
	}
	for _, n := range leaves(t, &commands{}) {
		check("weir "+n.Path(), n.Help)
		for _, f := range n.Flags {
			check("weir "+n.Path()+" --"+f.Name, f.Help)
		}
		for _, p := range n.Positional {
			check("weir "+n.Path()+" "+p.Name, p.Help)
		}
	}
}
