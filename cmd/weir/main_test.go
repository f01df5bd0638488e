package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestTheDataFolderIsWhereTheSystemKeepsSuch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		system         string
		uid            int
		dataHome, home string
		want           string
	}{
		{"linux", 1000, "", "/home/ann", "/home/ann/.local/share/weir"},
		{"linux", 1000, "/data", "/home/ann", "/data/weir"},
		{"linux", 1000, "relative", "/home/ann", "/home/ann/.local/share/weir"},
		{"linux", 0, "", "/root", "/var/lib/weir"},
		{"linux", 0, "/data", "/root", "/data/weir"},
		{"linux", 1000, "", "", ""},
		{"darwin", 501, "", "/Users/ann", "/Users/ann/Library/Application Support/weir"},
	} {
		if got := dataDirFor(c.system, c.uid, c.dataHome, c.home); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestWhatIsPrintedForTheShellIsOneWord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/var/lib/weir": "/var/lib/weir",
		"/a b":          "'/a b'",
		"it's $HOME":    `'it'\''s $HOME'`,
		"":              "''",
	} {
		if got := shellQuote(text); got != want {
			t.Errorf("%q becomes %s; want %s", text, got, want)
		}
	}
}

func TestTheCommandLineIsWellFormed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var stdout, stderr bytes.Buffer
	std := streams{in: strings.NewReader(""), out: &stdout, err: &stderr}
	status := run(&stop{asked: ctx, insisted: ctx}, std, []string{"work", "--help"})
	if status != 0 || !strings.Contains(stdout.String(), "WEIR_JOB_ID") {
		t.Errorf("it ended with %d:\n%s%s", status, &stdout, &stderr)
	}
}
