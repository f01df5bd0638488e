package scenario

import (
	"crypto/sha256"
	"runtime"
	"slices"
	"syscall"
)

// yardstick is a fixed piece of work, half of it arithmetic and half of it reads all over 32 MiB. A shared machine is faster in one minute than in the next;
// what it makes of this work separates that from the speed of a system.
type yardstick struct {
	text  []byte
	cells []uint32
	sum   uint32
}

func newYardstick() *yardstick {
	y := &yardstick{text: make([]byte, 1<<20), cells: make([]uint32, 8<<20)}
	for i := range y.cells {
		y.cells[i] = uint32(i) * 2654435761
	}
	return y
}

// speed does the work, some milliseconds of processor time, and returns how often a second it could be done. Time that the thread waits for a processor does not count.
func (y *yardstick) speed() float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadSeconds()
	for range 2 {
		y.sum += uint32(sha256.Sum256(y.text)[0])
	}
	at := y.sum
	for range 40_000 {
		at = y.cells[at&(1<<23-1)] + at>>7
	}
	y.sum = at
	return 1 / (threadSeconds() - before)
}

// threadSeconds is how long this thread has run on a processor.
func threadSeconds() float64 {
	const thread = 1 // RUSAGE_THREAD
	var used syscall.Rusage
	_ = syscall.Getrusage(thread, &used)
	return float64(used.Utime.Sec+used.Stime.Sec) + float64(used.Utime.Usec+used.Stime.Usec)/1e6
}

// evened is a series as it would have been had the machine always been as fast as it was in the median second.
func evened(series, speeds []float64) []float64 {
	sorted := slices.Sorted(slices.Values(speeds))
	usual := sorted[len(sorted)/2]
	even := make([]float64, len(series))
	for i, v := range series {
		even[i] = v * usual / speeds[i]
	}
	return even
}
