package main

import (
	"strings"
	"testing"
)

func TestTheResultIsJSONOrText(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]string{
		"":                        "",
		" \n\t":                   "",
		"{\"a\": [1, 2]}\n":       `{"a": [1, 2]}`,
		"null\n":                  "null",
		"12":                      "12",
		"a <b> & \"c\"\n":         `"a <b> & \"c\""`,
		"  two\nlines\r\n":        `"  two\nlines"`,
		"{\"a\": 1} {\"b\": 2}\n": `"{\"a\": 1} {\"b\": 2}"`,
		"grüße":                   `"grüße"`,
	} {
		got, err := resultFrom([]byte(output))
		if err != nil || string(got) != want {
			t.Errorf("%q becomes %s, %v; want %s", output, got, err, want)
		}
	}
}

func TestWhatCannotBeAResultIsRefused(t *testing.T) {
	t.Parallel()
	for name, output := range map[string]string{
		"not UTF-8":            "\xff\xfe",
		"not UTF-8, in JSON":   "\"\xff\"",
		"a NUL":                "a\x00b",
		"too long when quoted": strings.Repeat("\x01", maxResult/5),
	} {
		if got, err := resultFrom([]byte(output)); err == nil {
			t.Errorf("%s becomes a result of %d bytes", name, len(got))
		}
	}
}

func TestEndingsAndWhatTheyMean(t *testing.T) {
	t.Parallel()
	job := &claimedJob{ID: "1", Token: "2", TimeoutSeconds: 7}
	for name, c := range map[string]struct {
		ending  ending
		outcome string // "": nothing is reported
		kind    string
		retried bool
	}{
		"well":          {ending{started: true, stdout: []byte("1")}, complete, "", true},
		"too much":      {ending{started: true, stdout: []byte("1"), tooMuch: true}, fail, "output", false},
		"no text":       {ending{started: true, stdout: []byte{0xff}}, fail, "output", false},
		"cancelled":     {ending{started: true, stopped: jobCancelled}, release, "", true},
		"shutting down": {ending{started: true, stopped: shuttingDown, stdout: []byte("half")}, release, "", true},
		"cut short":     {ending{started: true, stopped: cutShort}, release, "", true},
		"timed out":     {ending{started: true, stopped: timedOut}, fail, "timeout", true},
		"lease lost":    {ending{started: true, stopped: leaseLost}, "", "", true},
	} {
		a, ok := c.ending.ack(job)
		if ok != (c.outcome != "") || a.Outcome != c.outcome {
			t.Errorf("%s: reported as %q, %v; want %q", name, a.Outcome, ok, c.outcome)
		}
		if a.Error == nil != (c.kind == "") || a.Error != nil && a.Error.Type != c.kind {
			t.Errorf("%s: the error is %+v; want the type %q", name, a.Error, c.kind)
		}
		if retried := a.Retry == nil || *a.Retry; retried != c.retried {
			t.Errorf("%s: retried is %v", name, retried)
		}
	}
}
