package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryGoal is the size that a node stays below by collecting garbage more often, as long as what is live leaves
	// room for that.
	memoryGoal = 256 << 20

	// memoryInterval is how often the limit is recomputed.
	memoryInterval = 2 * time.Second
)

// tuneMemory sets the garbage collector's limit until ctx ends. Collections are rare while little memory is in use,
// which saves processor time, and frequent near memoryGoal.
func tuneMemory(ctx context.Context) {
	debug.SetGCPercent(200)
	ticks := time.NewTicker(memoryInterval)
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

// memoryLimit gives a node that needs about memoryGoal (ten thousand waiting calls do) little on top of it. A node that
// needs much more gets twice what it needs: otherwise it would spend all its time collecting.
func memoryLimit(needed int64) int64 {
	if needed > memoryGoal*3/2 {
		return 2 * needed
	}
	return max(memoryGoal, needed+needed/16)
}

// memoryNeeded is what the last collection left alive, plus everything that is not heap, in bytes.
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
