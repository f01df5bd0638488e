package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryGoal is what a node stays below by collecting garbage more often, as long as what it needs leaves room for that.
	memoryGoal = 256 << 20
	memoryLook = 2 * time.Second
)

// boundMemory tunes the garbage collector until ctx ends: it comes seldom while little is in use, which spares processor time, and often when
// memory nears memoryGoal. Who has set GOGC or GOMEMLIMIT has the last word.
func boundMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(200)
	ticks := time.NewTicker(memoryLook)
	defer ticks.Stop()
	for {
		debug.SetMemoryLimit(memoryLimit(memoryNeeded()))
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// memoryLimit lets a node that needs about memoryGoal (ten thousand waiting calls do) have little on top of it, and one that needs much more have
// twice of what it needs: collecting would take all its time otherwise.
func memoryLimit(needed int64) int64 {
	if needed > memoryGoal*3/2 {
		return 2 * needed
	}
	return max(memoryGoal, needed+needed/16)
}

// memoryNeeded is what the last collection left, and everything that is not heap.
func memoryNeeded() int64 {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(s)
	needed := s[0].Value.Uint64() + s[1].Value.Uint64()
	for _, heap := range s[2:] {
		needed -= heap.Value.Uint64()
	}
	return int64(needed)
}
