package claim

import (
	"slices"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	hintFor    = 500 * time.Millisecond
	hintMargin = 128 // places behind the last one claimed to read again: others may have drawn earlier and committed later
	noTick     = -1  // no tick of the frontier
)

// hint is how far this claimer has claimed, in each queue and priority. It holds for one tick of the frontier, and not for long: a claim that
// rolls back makes no tick, and leaves jobs behind.
type hint struct {
	tick      int64
	since     time.Time
	positions []int64
}

func newHint(queues int) hint { return hint{tick: noTick, positions: make([]int64, 10*queues)} }

// learn notes how far a claim came. A new tick discards all that came before.
func (h *hint) learn(queues []string, row db.ClaimBatchRow, now time.Time) {
	if row.Tick != h.tick {
		h.forget(row.Tick, now)
	}
	i := slices.Index(queues, row.Queue)*10 + int(row.Priority) - 1
	h.positions[i] = max(h.positions[i], place(row)-hintMargin)
}

// place is where in its queue a job was claimed. A token is that with an epoch instead of the shard (weir.lease_token), and the
// shard is that of the job's id, or a later one.
func place(row db.ClaimBatchRow) int64 {
	const withinShard = 1<<48 - 1
	return row.JobID&^withinShard | row.Token&withinShard
}

func (h *hint) forget(tick int64, now time.Time) {
	h.tick, h.since = tick, now
	clear(h.positions)
}
