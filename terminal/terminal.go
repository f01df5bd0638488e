// Package terminal makes text fit to be shown on a terminal: control characters are removed from text of others, and
// states get colours.
//
// It exists apart so that the client commands, the worker and the REST client share it. It imports nothing else of
// weir, and reads no environment: the caller reads NO_COLOR and TERM, and says whether to use colours.
package terminal

import (
	"io"
	"os"
)

// Is reports whether a writer leads to a terminal.
func Is(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
