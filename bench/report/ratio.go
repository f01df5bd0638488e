package report

import (
	"fmt"
	"slices"
	"strings"
)

// against is the system whose rate is set against those of the others.
const against = "weir-sql"

// ratios says how often the rate of weir-sql is that of each other system in the same rows, case by case; empty where there is nothing to compare.
func ratios(rows []row) string {
	var lines []string
	for _, r := range rows {
		if r.system != against {
			continue
		}
		figure := slices.IndexFunc([]string{"lives/s", "jobs/s"}, func(name string) bool { return r.figures[name].Mid > 0 })
		if figure < 0 {
			continue
		}
		name := []string{"lives/s", "jobs/s"}[figure]
		var parts []string
		for _, other := range rows {
			if rate := other.figures[name].Mid; other.system != against && other.variant == r.variant && rate > 0 {
				parts = append(parts, fmt.Sprintf("%.2g × %s", r.figures[name].Mid/rate, other.system))
			}
		}
		if len(parts) > 0 {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("Medians of %s, %s is %s.", strings.TrimSpace(name+" "+r.variant), against, strings.Join(parts, ", "))))
		}
	}
	return strings.Join(lines, "\n")
}
