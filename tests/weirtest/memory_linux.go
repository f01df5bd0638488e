package weirtest

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
)

// inMemory is a folder whose files live in memory, or "" if the machine has none with room for a run, or TMPDIR names
// another place. A test's database has more than a thousand files: on a disk, making and dropping them costs a third of
// the server's time.
func inMemory() string {
	if os.Getenv("TMPDIR") != "" {
		return ""
	}
	const folder, tmpfs, room = "/dev/shm", 0x01021994, 4 << 30 // bytes; a run needs less than a quarter of it
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil || fs.Type != tmpfs || fs.Bavail*uint64(fs.Bsize) < room || memoryAvailable() < room {
		return ""
	}
	return folder
}

// memoryAvailable is how many bytes programs can use without swapping, or 0 if the system does not tell.
func memoryAvailable() (bytes int64) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &bytes); n == 1 {
			return bytes << 10
		}
	}
	return 0
}
