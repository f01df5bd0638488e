package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed page.md
var page string

// plots are the drawings: of which scenario, and of which figure; an empty figure is the rate over time.
var plots = []struct{ scenario, figure, title string }{
	{"burndown", "lives/s", "Burn-down: lives a second"},
	{"burndown", "WAL B/job", "Burn-down: bytes of write-ahead log a job"},
	{"burndown", "Postgres CPU µs/job", "Burn-down: microseconds of PostgreSQL's processor time a job"},
	{"continuous", "jobs/s", "Continuous load: jobs a second"},
	{"continuous", "", "Continuous load: jobs a second over time"},
	{"pinned", "", "With the xmin horizon pinned: jobs a second over time"},
}

// section is a scenario under a profile, as the page shows it.
type section struct {
	Name, Profile, What string
	Table, Ratios       string
	Plots               []string
}

// Write writes the page benchmarks.md and the folder benchmarks beside it, with the plots and the results as JSON.
func (b Book) Write(folder string) error {
	if err := os.MkdirAll(filepath.Join(folder, "benchmarks"), 0o755); err != nil {
		return err
	}
	files := map[string]string{}
	sections := b.sections(files)
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	files["results.json"] = string(text) + "\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, "benchmarks", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	var out strings.Builder
	err = template.Must(template.New("page").Parse(page)).Execute(&out, map[string]any{"Book": b, "Sections": sections})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "benchmarks.md"), []byte(out.String()), 0o644)
}

// sections makes the tables, and puts the plots into files.
func (b Book) sections(files map[string]string) (out []section) {
	for _, heading := range b.Scenarios {
		for _, profile := range b.profiles() {
			rows := b.rows(heading.Name, profile)
			if len(rows) == 0 {
				continue
			}
			s := section{Name: heading.Name, Profile: profile, What: heading.What, Table: table(rows), Ratios: ratios(rows)}
			for _, p := range plots {
				if p.scenario != heading.Name {
					continue
				}
				svg := lines(p.title, rows)
				if p.figure != "" {
					svg = bars(p.title, p.figure, rows)
				}
				if svg != "" {
					name := fmt.Sprintf("%s-%s-%s.svg", p.scenario, plotName(p.figure), profile)
					files[name] = svg
					s.Plots = append(s.Plots, fmt.Sprintf("![%s](benchmarks/%s)", p.title, name))
				}
			}
			out = append(out, s)
		}
	}
	return out
}

func plotName(figure string) string {
	switch figure {
	case "":
		return "over-time"
	case "WAL B/job":
		return "wal"
	case "Postgres CPU µs/job":
		return "cpu"
	default:
		return "rate"
	}
}

func (b Book) profiles() (names []string) {
	for _, name := range []string{"stock", "tuned"} {
		for _, r := range b.Results {
			if r.Profile == name {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

// Tables is the page's tables without its words, for a terminal.
func (b Book) Tables() string {
	var out strings.Builder
	for _, s := range b.sections(map[string]string{}) {
		fmt.Fprintf(&out, "## %s, %s\n\n%s\n\n", s.Name, s.Profile, s.Table)
	}
	return out.String()
}
