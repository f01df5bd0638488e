package stats

import (
	"os"
	"strings"
	"testing"
)

// recipes are the queries of docs/analytics.md.
func recipes(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/analytics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```sql\n")[1:] {
		block, _, closed := strings.Cut(block, "```")
		if !closed {
			t.Fatal("a block of SQL has no end")
		}
		queries = append(queries, strings.TrimSuffix(strings.TrimSpace(block), ";"))
	}
	return queries
}
