package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/weirhq/weir/terminal"
)

// Session is where a command runs: what it reads and writes, what the terminal can show, and who its user is.
type Session struct {
	In       io.Reader
	Out, Err io.Writer
	Paint    terminal.Painter // for Out
	Progress bool             // Err can show a progress bar
	Screen   bool             // In and Out are a terminal with a cursor
	User     string           // recorded with changes; empty if not known
	Version  string           // of this build
	Token    string           // the API key to call weir with, unless a file has it; empty: none

	// CreateKey makes an API key in a database, without a node.
	CreateKey func(ctx context.Context, databaseURL string, k NewKey) (json.RawMessage, error)
}

// UsageError is a mistake in the command line that shows only when a command checks its arguments.
type UsageError struct{ message string }

func (e *UsageError) Error() string { return e.message }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Confirm asks a question, unless yes was given on the command line, and returns an error if the answer is no. undone
// says what did not happen, as in "nothing was deleted".
func (s *Session) Confirm(yes bool, question, undone string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(s.Err, "%s [y/N] ", terminal.OneLine(question))
	line, _ := bufio.NewReader(s.In).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(s.Err)
	return fmt.Errorf("%s; answer y, or give --yes", undone)
}

// yesFlag is a flag of every command that deletes something: all of them ask first.
type yesFlag struct {
	Yes bool `help:"Do not ask for confirmation."`
}

// byFlag names the person who makes a change.
type byFlag struct {
	By string `help:"Who makes the change; recorded with it. Defaults to your user name." placeholder:"NAME"`
}

func (f byFlag) name(s *Session) string {
	if f.By != "" {
		return f.By
	}
	return s.User
}

// body is a request's body with that name.
func (f byFlag) body(s *Session) map[string]any {
	if name := f.name(s); name != "" {
		return map[string]any{"by": name}
	}
	return map[string]any{}
}
