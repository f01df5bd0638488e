package worker

import (
	"strings"
	"testing"
)

func TestResultIsJSONOrText(t *testing.T) {
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

func TestOutputThatCannotBeAResultIsRefused(t *testing.T) {
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

func TestOutcomeDecidesTheAck(t *testing.T) {
	t.Parallel()
	job := &claimedJob{ID: "1", Token: "2", TimeoutSeconds: 7}
	for name, c := range map[string]struct {
		outcome outcome
		want    string // the ack's outcome; "": none is sent
		kind    string
		retried bool
	}{
		"well":          {outcome{started: true, stdout: []byte("1")}, complete, "", true},
		"too much":      {outcome{started: true, stdout: []byte("1"), cut: true}, fail, "output", false},
		"no text":       {outcome{started: true, stdout: []byte{0xff}}, fail, "output", false},
		"cancelled":     {outcome{started: true, stopped: jobCancelled}, release, "", true},
		"shutting down": {outcome{started: true, stopped: shuttingDown, stdout: []byte("half")}, release, "", true},
		"cut short":     {outcome{started: true, stopped: cutShort}, release, "", true},
		"timed out":     {outcome{started: true, stopped: timedOut}, fail, "timeout", true},
		"lease lost":    {outcome{started: true, stopped: leaseLost}, "", "", true},
	} {
		c.outcome.told = &reports{}
		a, ok := c.outcome.ack(job, Exits{})
		if ok != (c.want != "") || a.Outcome != c.want {
			t.Errorf("%s: reported as %q, %v; want %q", name, a.Outcome, ok, c.want)
		}
		if a.Error == nil != (c.kind == "") || a.Error != nil && a.Error.Type != c.kind {
			t.Errorf("%s: the error is %+v; want the type %q", name, a.Error, c.kind)
		}
		if retried := a.Retry == nil || *a.Retry; retried != c.retried {
			t.Errorf("%s: retried is %v", name, retried)
		}
	}
}
