package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each section of docs/concepts.md makes promises and names the tests that show them.
func TestConceptsNameTheirTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/concepts.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := regexp.MustCompile(`(?m)^###? `).Split(string(text), -1)[1:]
	if len(sections) < 15 {
		t.Fatalf("got %d sections, want at least 15", len(sections))
	}
	link := regexp.MustCompile(`\[(Test\w+)\]\((\.\./tests/[^)]*)\)`)
	for _, section := range sections {
		title, _, _ := strings.Cut(section, "\n")
		links := link.FindAllStringSubmatch(section, -1)
		if len(links) == 0 && title != "References" {
			t.Errorf("section %q names no test", title)
		}
		for _, l := range links {
			test, file := l[1], filepath.Join("../../docs", l[2])
			code, err := os.ReadFile(file)
			if err != nil {
				t.Errorf("section %q: %v", title, err)
			} else if !strings.Contains(string(code), "\nfunc "+test+"(t *testing.T)") {
				t.Errorf("section %q: %s has no %s", title, l[2], test)
			}
		}
	}
}
