package main

import (
	"os"
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
	without := []string{"serve", "work", "openapi", "completion", "complete", "top"} // openapi always prints JSON
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

// TestPageNamesCommandsThatExist parses the command lines of docs/cli.md.
func TestPageNamesCommandsThatExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	found, inside := 0, false
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "```") {
			inside = strings.HasPrefix(line, "```sh")
			continue
		}
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, " | ")
		words := strings.Fields(strings.NewReplacer("'", "", `"`, "").Replace(line))
		if !inside || len(words) == 0 || words[0] != "weir" {
			continue
		}
		found++
		vars := kong.Vars{"default_data_dir": "", "default_concurrency": "1", "own_connections": "1"}
		parser, err := kong.New(&commands{}, vars)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(words[1:]); err != nil {
			t.Errorf("%s: %v", strings.Join(words, " "), err)
		}
	}
	if found == 0 {
		t.Error("the page has no command lines")
	}
}

// TestEveryNameCompletes: an argument that names something that exists says what, for the completion of shells.
func TestEveryNameCompletes(t *testing.T) {
	t.Parallel()
	isNew := []string{"keys create", "schedules create", "webhooks add", "workflow signal"} // or of no list
	for _, n := range leaves(t, &cli.Commands{}) {
		for _, p := range n.Positional {
			names := slices.Contains([]string{"name", "id", "a", "b", "tenant", "kind"}, p.Name)
			path := strings.ReplaceAll(n.Path(), " (workflows)", "")
			if names && p.Tag.Get("complete") == "" && p.Enum == "" && !slices.Contains(isNew, path) {
				t.Errorf("weir %s %s: has no tag complete", path, p.Name)
			}
		}
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
