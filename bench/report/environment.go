// Package report turns results into JSON, tables and plots. It measures nothing.
package report

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Environment is where and with what the results were made.
type Environment struct {
	Date       string            `json:"date"`
	System     string            `json:"system"`
	Kernel     string            `json:"kernel"`
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	MemoryGB   float64           `json:"memory_gb"`
	SyncMillis float64           `json:"fdatasync_ms"` // median of writing and syncing 8 kB
	Versions   map[string]string `json:"versions"`
	Commands   []string          `json:"commands"`
}

// DescribeEnvironment looks at this machine. The folder is where the clusters will be.
func DescribeEnvironment(folder, postgres string) Environment {
	kernel, _, _ := strings.Cut(strings.TrimSpace(read("/proc/sys/kernel/osrelease")), "-")
	e := Environment{
		Date:       time.Now().UTC().Format(time.DateOnly),
		System:     between(read("/etc/os-release"), `PRETTY_NAME="`, `"`),
		Kernel:     kernel,
		CPU:        strings.TrimSpace(between(read("/proc/cpuinfo"), "model name\t:", "\n")),
		Cores:      runtime.NumCPU(),
		SyncMillis: syncMillis(folder),
		Versions:   map[string]string{"PostgreSQL": postgres, "Go": strings.TrimPrefix(runtime.Version(), "go")},
		Commands:   []string{"go run . " + commandLine()},
	}
	if fields := strings.Fields(between(read("/proc/meminfo"), "MemTotal:", "\n")); len(fields) > 0 {
		kB, _ := strconv.ParseFloat(fields[0], 64)
		e.MemoryGB = kB / (1 << 20)
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range build.Deps {
			switch dep.Path {
			case "github.com/riverqueue/river":
				e.Versions["River"] = strings.TrimPrefix(dep.Version, "v")
			case "github.com/jackc/pgx/v5":
				e.Versions["pgx"] = strings.TrimPrefix(dep.Version, "v")
			}
		}
	}
	if commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		e.Versions["weir"] = strings.TrimSpace(string(commit))
	}
	return e
}

// syncMillis is the median time of writing a page and having it on the disk, which bounds every commit; 0 where it cannot be had.
func syncMillis(folder string) float64 {
	dir, err := os.MkdirTemp(folder, "weir-bench-sync-")
	if err != nil {
		return 0
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "page"))
	if err != nil {
		return 0
	}
	defer f.Close()
	var times []float64
	for range 200 {
		start := time.Now()
		if _, err := f.WriteAt(make([]byte, 8192), 0); err != nil {
			return 0
		}
		if err := f.Sync(); err != nil {
			return 0
		}
		times = append(times, time.Since(start).Seconds()*1000)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

func read(path string) string {
	text, _ := os.ReadFile(path) // what is not there is left empty
	return string(text)
}

func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	found, _, _ := strings.Cut(rest, after)
	return found
}

// commandLine is what this was asked to measure. It leaves out the paths of files.
func commandLine() string {
	var words []string
	flag.Visit(func(f *flag.Flag) {
		if !slices.Contains([]string{"dir", "out", "from", "weir"}, f.Name) {
			words = append(words, strings.TrimSuffix(fmt.Sprintf("-%s %s", f.Name, f.Value), " true")) // a switch has no value
		}
	})
	return strings.Join(words, " ")
}
