package embedded

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// endWithParent makes the kernel ask the postmaster for a fast shutdown when the thread that started it ends. That
// happens at the latest when this program ends; see startProcess.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// children returns the child processes of a process.
func children(parent int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended in the meantime
		}
		// The line reads "4711 (postgres: a b) S 4700 …". Only the name can hold spaces and parentheses.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
