package terminal

import (
	"strings"
	"unicode"
)

// Printable removes what a terminal would obey: jobs hold text of strangers. Line breaks and tabs stay.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return -1
		}
		return r
	}, text)
}

// OneLine is printable text with each run of white space as one space, for a cell of a table or an error.
func OneLine(text string) string { return strings.Join(strings.Fields(Printable(text)), " ") }

// Shorten cuts a text to a number of characters.
func Shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}
