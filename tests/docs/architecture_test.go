package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A path in back-quotes, such as `jobs/claim.go` or `tests/lease`. Those with a placeholder name no file.
var path = regexp.MustCompile("`((?:cmd|cli|worker|rest|terminal|node|api|jobs|webhook|db|sql|migrations|embedded|tests|bench|tools|scripts|docs)(?:/[a-z0-9_./]+)?)`")

func TestArchitectureNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := path.FindAllStringSubmatch(string(text), -1)
	if len(named) < 50 {
		t.Fatalf("found only %d paths", len(named))
	}
	for _, match := range named {
		if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
			t.Errorf("docs/architecture.md names %s: %v", match[1], err)
		}
	}
}

// A function in back-quotes, such as `weir.claim_batch`.
var function = regexp.MustCompile("`weir\\.([a-z_]+)`")

func TestArchitectureNamesThingsOfTheSchema(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	schema := ""
	for _, pattern := range []string{"../../sql/functions/*.sql", "../../sql/views/*.sql", "../../migrations/*.sql"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			sql, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			schema += string(sql)
		}
	}
	for _, match := range function.FindAllStringSubmatch(string(text), -1) {
		made := regexp.MustCompile(`create (or replace )?(function|view|table) weir\.` + match[1] + `\b`)
		if !made.MatchString(schema) {
			t.Errorf("docs/architecture.md names weir.%s, which the schema does not have", match[1])
		}
	}
}
