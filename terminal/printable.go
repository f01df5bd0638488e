package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
)

// printable takes out what a terminal would obey: jobs hold text of strangers. Line breaks and tabs stay.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return -1
		}
		return r
	}, text)
}

// oneLine is a text for a cell of a table, or an error.
func oneLine(text string) string { return strings.Join(strings.Fields(printable(text)), " ") }

// shorten cuts a text after so many characters.
func shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

// relative says how far a time is from now, to a precision that people read at a glance.
func relative(now, then time.Time) string {
	distance := then.Sub(now)
	if distance.Abs() < time.Second {
		return "now"
	}
	if distance > 0 {
		return "in " + roughly(distance)
	}
	return roughly(-distance) + " ago"
}

// roughly writes a length of time in its largest unit, or its two largest where the first is small.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d/day))
	}
}

// countOf is a number of things: 1 job, 2 jobs.
func countOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// painter colours a word for a terminal, and leaves it as it is elsewhere.
type painter bool

func newPainter(w io.Writer) painter {
	return painter(os.Getenv("NO_COLOR") == "" && isTerminal(w))
}

// isTerminal says whether somebody sees what is written there, on something that moves its cursor.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// state colours a state: green is well, yellow is under way, red needs somebody.
func (p painter) state(state string) string {
	colour := ""
	switch state {
	case "completed":
		colour = "32"
	case "running", "retryable", "paused", "draining", "half_open":
		colour = "33"
	case "dead", "lost", "open":
		colour = "31"
	}
	if !p || colour == "" {
		return state
	}
	return "\x1b[" + colour + "m" + state + "\x1b[0m"
}
