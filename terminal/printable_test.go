package main

import (
	"testing"
	"time"
)

func TestTimesAreRelative(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for distance, want := range map[time.Duration]string{
		0:                        "now",
		-400 * time.Millisecond:  "now",
		-2500 * time.Millisecond: "2.5 s ago",
		-90 * time.Second:        "90 s ago",
		-5 * time.Minute:         "5 min ago",
		3 * time.Hour:            "in 3 h",
		72*time.Hour + 1:         "in 3 days",
	} {
		if got := relative(now, now.Add(distance)); got != want {
			t.Errorf("%v is %q; want %q", distance, got, want)
		}
	}
}

func TestTextOfStrangersCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	if got, want := printable("a\x1b[31mb\u009b2J\r\u202ec\td\n"), "a[31mb2Jc\td\n"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := oneLine(" a\n\tb \x00 c"), "a b c"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := shorten("grüße", 3), "gr…"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestOutsideOfATerminalThereAreNoColours(t *testing.T) {
	t.Parallel()
	if got := painter(false).state("dead"); got != "dead" {
		t.Errorf("%q", got)
	}
	if got := painter(true).state("dead"); got != "\x1b[31mdead\x1b[0m" {
		t.Errorf("%q", got)
	}
}
