//go:build unix

package weirtest

import (
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// Terminal is a program in a terminal of its own: what it draws is read from an emulator's screen.
type Terminal struct {
	*Process
	file *os.File

	mu     sync.Mutex
	screen *vt.Emulator
}

// StartTerminal starts a program in a terminal of some columns and rows, with settings added to its environment.
func StartTerminal(t *testing.T, columns, rows int, settings []string, path string, args ...string) *Terminal {
	t.Helper()
	settings = append([]string{"TERM=xterm-256color", "NO_COLOR=", "COLORTERM="}, settings...)
	x := &Terminal{Process: newProcess(t, settings, path, args...), screen: vt.NewEmulator(columns, rows)}
	x.start(func() (err error) {
		x.file, err = pty.StartWithSize(x.Cmd, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)})
		return err
	})
	t.Cleanup(func() {
		x.file.Close()
		if input, ok := x.screen.InputPipe().(io.Closer); ok {
			input.Close()
		}
	})
	go func() { _, _ = io.Copy(x, x.file) }()
	go func() { _, _ = io.Copy(x.file, x.screen) }() // what a terminal answers to questions
	return x
}

// Write is what the program draws.
func (x *Terminal) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, _ = x.Output.Write(b)
	return x.screen.Write(b)
}

// Screen is the text on the screen now.
func (x *Terminal) Screen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.String()
}

// Styled is the screen with the codes of its colours.
func (x *Terminal) Styled() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.screen.Render()
}

// Type types keys.
func (x *Terminal) Type(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.file, keys); err != nil {
		x.t.Fatal(err)
	}
}

// Resize changes the size of the terminal.
func (x *Terminal) Resize(columns, rows int) {
	x.t.Helper()
	x.mu.Lock()
	x.screen.Resize(columns, rows)
	x.mu.Unlock()
	if err := pty.Setsize(x.file, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		x.t.Fatal(err)
	}
}

// Shows waits until the screen has all of these words.
func (x *Terminal) Shows(words ...string) {
	x.t.Helper()
	x.until("shows", words, func(screen string) bool {
		for _, word := range words {
			if !strings.Contains(screen, word) {
				return false
			}
		}
		return true
	})
}

// Hides waits until the screen has none of these words.
func (x *Terminal) Hides(words ...string) {
	x.t.Helper()
	x.until("hides", words, func(screen string) bool {
		for _, word := range words {
			if strings.Contains(screen, word) {
				return false
			}
		}
		return true
	})
}

func (x *Terminal) until(does string, words []string, ok func(screen string) bool) {
	x.t.Helper()
	defer func() {
		if x.t.Failed() {
			x.t.Logf("the screen:\n%s", x.Screen())
		}
	}()
	Eventually(x.t, "the screen "+does+" "+strings.Join(words, ", "), func() bool { return ok(x.Screen()) })
}
