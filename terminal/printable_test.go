package terminal

import "testing"

func TestPrintableRemovesWhatATerminalWouldObey(t *testing.T) {
	t.Parallel()
	if got, want := Printable("a\x1b[31mb\u009b2J\r\u202ec\td\n"), "a[31mb2Jc\td\n"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := OneLine(" a\n\tb \x00 c"), "a b c"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestShortenCutsCharactersAndNotBytes(t *testing.T) {
	t.Parallel()
	if got, want := Shorten("grüße", 3), "gr…"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got := Shorten("grüße", 5); got != "grüße" {
		t.Errorf("%q is shortened without need", got)
	}
}

func TestPainterColoursStatesOnATerminalOnly(t *testing.T) {
	t.Parallel()
	if got := Painter(false).State("dead"); got != "dead" {
		t.Errorf("%q", got)
	}
	if got := Painter(true).State("dead"); got != "\x1b[31mdead\x1b[0m" {
		t.Errorf("%q", got)
	}
}
