package report

import (
	"slices"

	"github.com/weirhq/weir/bench/scenario"
)

// Book is all that was measured, as it is written to a file.
type Book struct {
	Environment Environment       `json:"environment"`
	Scenarios   []Heading         `json:"scenarios"`
	Systems     []Heading         `json:"systems"`
	Results     []scenario.Result `json:"results"`
}

// Add takes over what another book has. A scenario's words are those of the last book that has results of it, because they name sizes.
func (b *Book) Add(other Book) {
	commands := append(b.Environment.Commands, other.Environment.Commands...)
	b.Environment = other.Environment
	b.Environment.Commands = slices.Compact(commands)
	b.Results = append(b.Results, other.Results...)
	for _, heading := range other.Scenarios {
		i := slices.IndexFunc(b.Scenarios, func(h Heading) bool { return h.Name == heading.Name })
		if i >= 0 && slices.ContainsFunc(other.Results, func(r scenario.Result) bool { return r.Scenario == heading.Name }) {
			b.Scenarios[i] = heading
		}
	}
}

// Heading names a scenario or a system, and says what it is.
type Heading struct {
	Name string `json:"name"`
	What string `json:"what"`
}

// Median is the middle of what the rounds gave, and their range.
type Median struct {
	Mid, Low, High float64
}

func medianOf(values []float64) Median {
	slices.Sort(values)
	n := len(values)
	return Median{Mid: (values[(n-1)/2] + values[n/2]) / 2, Low: values[0], High: values[n-1]}
}

// row is one system in one case of a scenario: all its rounds.
type row struct {
	system, variant string
	figures         map[string]Median
	series          []float64 // of the round whose jobs/s is the median
	absent          string
	errors          []string
}

// rows summarises the results of a scenario under a profile, in the order of the systems, case by case.
func (b Book) rows(name, profile string) []row {
	var variants []string
	for _, r := range b.Results {
		if r.Scenario == name && r.Profile == profile && !slices.Contains(variants, r.Case) {
			variants = append(variants, r.Case)
		}
	}
	var rows []row
	for _, variant := range variants {
		for _, system := range b.Systems {
			var rounds []scenario.Result
			for _, r := range b.Results {
				if r.Scenario == name && r.Profile == profile && r.Case == variant && r.System == system.Name {
					rounds = append(rounds, r)
				}
			}
			if len(rounds) > 0 {
				rows = append(rows, b.summarise(rounds))
			}
		}
	}
	return rows
}

func (b Book) summarise(rounds []scenario.Result) row {
	out := row{system: rounds[0].System, variant: rounds[0].Case, figures: map[string]Median{}}
	values := map[string][]float64{}
	var good []scenario.Result
	for _, r := range rounds {
		switch {
		case r.Error != "":
			out.errors = append(out.errors, r.Error)
		case r.Absent != "":
			out.absent = r.Absent
		default:
			good = append(good, r)
			for name, value := range figuresOf(r, b.Environment.Cores) {
				values[name] = append(values[name], value)
			}
		}
	}
	for name, list := range values {
		out.figures[name] = medianOf(list)
	}
	slices.SortFunc(good, func(a, b scenario.Result) int { return int(a.Figures["jobs/s"] - b.Figures["jobs/s"]) })
	if len(good) > 0 {
		out.series = good[(len(good)-1)/2].Series
	}
	return out
}

// figuresOf flattens a result into the columns of the tables.
func figuresOf(r scenario.Result, cores int) map[string]float64 {
	f := map[string]float64{}
	for name, value := range r.Figures {
		f[name] = value
	}
	for name, spread := range r.Latency {
		f[name+" p50 ms"], f[name+" p95 ms"], f[name+" p99 ms"] = spread.P50, spread.P95, spread.P99
	}
	const mb = 1 << 20
	jobs := float64(max(1, r.Jobs))
	f["WAL B/job"] = float64(r.Cost.WAL) / jobs
	f["Postgres CPU µs/job"] = r.Cost.PostgresCPU / jobs * 1e6
	f["service CPU µs/job"] = r.Cost.ServiceCPU / jobs * 1e6
	f["dead tuples"] = float64(r.Cost.DeadTuples)
	f["tables MB"] = float64(r.Cost.Tables) / mb
	f["indexes MB"] = float64(r.Cost.Indexes) / mb
	f["Postgres MB"] = float64(r.Cost.PostgresMemory) / mb
	f["service MB"] = float64(r.Cost.ServiceMemory) / mb
	if _, offered := r.Latency["pickup"]; !offered && r.Cost.PostgresCPU > 0 {
		f["CPU bound/s"] = float64(cores) * jobs / (r.Cost.PostgresCPU + r.Cost.ServiceCPU)
	}
	f["other CPU %"] = 100 * r.Cost.OtherCPU / max(r.Cost.Seconds, 1e-3)
	return f
}
