// Package terminal makes text fit to be shown on a terminal: control characters are removed from text of others, and
// states get colours.
//
// It exists apart so that the client commands, the worker and the REST client share it. It imports nothing else of
// weir, and reads no environment: the caller reads NO_COLOR and TERM, and says whether to use colours.
package terminal

import (
	"os"

	"golang.org/x/term"
)

// Size is how many columns and rows a terminal has; those of an old terminal if it does not say.
func Size(stream any) (columns, rows int) {
	if file, ok := stream.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return 80, 24
}

// Is reports whether a reader or writer, such as os.Stdout, is a terminal.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
