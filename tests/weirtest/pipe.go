//go:build unix

package weirtest

import (
	"io"
	"os"
	"testing"
)

// StartPiped is StartProgram for a program that the test talks to: the writer leads to its input, the reader comes from its output. What it writes to
// standard error is in its Output.
func StartPiped(t *testing.T, settings []string, path string, args ...string) (*Process, io.Writer, io.Reader) {
	t.Helper()
	c := newProcess(t, settings, path, args...)
	input, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, output, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Cmd.Stdin, c.Cmd.Stdout, c.Cmd.Stderr = input, output, c.Output
	t.Cleanup(func() { to.Close(); from.Close() })
	c.start(c.Cmd.Start)
	input.Close()
	output.Close()
	return c, to, from
}
