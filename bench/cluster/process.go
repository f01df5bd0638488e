package cluster

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the kernel's USER_HZ, which is 100 wherever Linux runs today.
const ticksPerSecond = 100

// process is one line of /proc/<pid>/stat.
type process struct {
	pid, parent   int
	cpu, childCPU float64 // seconds; childCPU is of children that have ended and were waited for
}

// table is the processes of the machine by their ids.
type table map[int]process

// readTable reads all processes.
func readTable() (table, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	found := table{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		if p, err := readProcess(pid); err == nil { // else it has ended meanwhile
			found[pid] = p
		}
	}
	return found, nil
}

// steadyTable reads until the descendants of root are the same twice, so that none is missed that ends meanwhile: its time would
// be neither its own any more nor yet its parent's.
func steadyTable(root int) (table, error) {
	before, err := readTable()
	for range 50 {
		if err != nil {
			return nil, err
		}
		time.Sleep(5 * time.Millisecond)
		after, err := readTable()
		if err != nil || slices.EqualFunc(before.tree(root), after.tree(root), func(a, b process) bool { return a.pid == b.pid }) {
			return after, err
		}
		before = after
	}
	return before, nil // they come and go all the time; close enough
}

// tree returns a process and all that descend from it, in the order of their ids.
func (t table) tree(root int) (found []process) {
	for _, p := range t {
		for pid := p.pid; pid > 1; pid = t[pid].parent {
			if pid == root {
				found = append(found, p)
				break
			}
		}
	}
	slices.SortFunc(found, func(a, b process) int { return a.pid - b.pid })
	return found
}

// cpu returns the seconds of processor time that a process and all its descendants have used, the ended ones included.
func (t table) cpu(root int) (seconds float64) {
	for _, p := range t.tree(root) {
		seconds += p.cpu + p.childCPU
	}
	return seconds
}

// memory returns the bytes that a process and its descendants hold. Memory that several of them share counts once.
func (t table) memory(root int) (sum int64) {
	for _, p := range t.tree(root) {
		sum += kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid), "Pss:")
	}
	return sum
}

// readProcess reads a line as in "4711 (postgres: a b) S 4700 …": the name may hold spaces and parentheses, what follows
// it may not. The numbers of the fields are those of proc(5).
func readProcess(pid int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	field := func(n int) float64 {
		v, _ := strconv.ParseFloat(fields[n-3], 64)
		return v
	}
	return process{
		pid:      pid,
		parent:   int(field(4)),
		cpu:      (field(14) + field(15)) / ticksPerSecond,
		childCPU: (field(16) + field(17)) / ticksPerSecond,
	}, nil
}

// machineCPU returns the seconds of processor time that the machine has spent on anything, and that its host has taken away.
func machineCPU() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n") // cpu user nice system idle iowait irq softirq steal …
	var ticks float64
	for i, field := range strings.Fields(line)[1:9] {
		const idle, iowait = 3, 4
		if v, err := strconv.ParseFloat(field, 64); err == nil && i != idle && i != iowait {
			ticks += v
		}
	}
	return ticks / ticksPerSecond, nil
}

// kilobytes reads a line such as "Pss:   1234 kB" from a file of /proc, in bytes; 0 where the process is gone.
func kilobytes(path, name string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
