package cli

import (
	"context"
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/terminal"
)

//go:embed completion
var completionScripts embed.FS

type completionCommand struct {
	Shell string `arg:"" help:"Your shell: ${enum}." enum:"bash,zsh,fish"`
}

// Run prints the script that teaches a shell to complete command lines of weir. The script asks weir complete, so it
// stays right when weir changes.
func (c *completionCommand) Run(s *Session) error {
	script, err := completionScripts.Open("completion/weir." + c.Shell)
	if err != nil {
		return err
	}
	defer script.Close()
	_, err = io.Copy(s.Out, script)
	return err
}

// completeCommand is what the scripts call.
type completeCommand struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"What is typed after weir, up to the cursor."`
}

// choice is a word that may stand at the cursor.
type choice struct{ word, help string }

// Run prints the words that may stand at the cursor, each with a tab and what it is. A tab and "files" stand for the
// names of files. It says nothing when it fails: the user is typing.
func (c *completeCommand) Run(ctx context.Context, s *Session, k *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		words = []string{""}
	}
	line := readLine(k.Model.Node, words[:len(words)-1])
	choices, files := line.choices(ctx, s, words[len(words)-1])
	if files {
		_, err := fmt.Fprintln(s.Out, "\tfiles")
		return err
	}
	var text strings.Builder
	for _, one := range choices {
		fmt.Fprintf(&text, "%s\t%s\n", one.word, terminal.Shorten(terminal.OneLine(one.help), 80))
	}
	_, err := io.WriteString(s.Out, text.String())
	return err
}
