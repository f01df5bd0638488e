package queue

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Ledger keeps the books of a run: which jobs were enqueued and which were completed, each by its number.
type Ledger struct {
	enqueued  atomic.Int64
	completed atomic.Int64
	timed     bool

	mu        sync.Mutex
	done      []uint64 // a bit a job
	twice     int64
	committed []int64 // Unix nanoseconds by number
	claimed   []int64
}

// NewLedger returns an empty one. A timed ledger remembers two moments of each job, 16 bytes.
func NewLedger(timed bool) *Ledger { return &Ledger{timed: timed} }

// Enqueued notes that a transaction with these jobs has committed.
func (l *Ledger) Enqueued(jobs []Job, at time.Time) {
	l.enqueued.Add(int64(len(jobs)))
	if !l.timed {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, job := range jobs {
		remember(&l.committed, job.Number, at)
	}
}

// Claimed notes that workers have these jobs in hand.
func (l *Ledger) Claimed(at time.Time, numbers ...int64) {
	if !l.timed {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range numbers {
		remember(&l.claimed, n, at)
	}
}

// Completed notes that the system has accepted the completion of these jobs.
func (l *Ledger) Completed(numbers ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range numbers {
		word, bit := n/64, uint64(1)<<(n%64)
		for int64(len(l.done)) <= word {
			l.done = append(l.done, make([]uint64, 1024)...)
		}
		if l.done[word]&bit != 0 {
			l.twice++
			continue
		}
		l.done[word] |= bit
		l.completed.Add(1)
	}
}

// CountEnqueued is how many jobs are committed.
func (l *Ledger) CountEnqueued() int64 { return l.enqueued.Load() }

// CountCompleted is how many jobs are completed.
func (l *Ledger) CountCompleted() int64 { return l.completed.Load() }

// Pickups returns the time from commit to claim of all jobs that were claimed, in no order. A claim that was quicker than
// the answer to its commit took no time.
func (l *Ledger) Pickups() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	for n := range min(len(l.committed), len(l.claimed)) {
		if l.committed[n] != 0 && l.claimed[n] != 0 {
			all = append(all, max(0, time.Duration(l.claimed[n]-l.committed[n])))
		}
	}
	return all
}

// Balance is the error of books that do not add up: what was enqueued must be completed, once, or left in the database.
func (l *Ledger) Balance(left int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	enqueued, completed := l.enqueued.Load(), l.completed.Load()
	switch {
	case l.twice > 0:
		return fmt.Errorf("the books do not balance: %d jobs were completed twice", l.twice)
	case enqueued != completed+left:
		return fmt.Errorf("the books do not balance: %d enqueued, %d completed, %d left", enqueued, completed, left)
	}
	return nil
}

func remember(moments *[]int64, n int64, at time.Time) {
	for int64(len(*moments)) <= n {
		*moments = append(*moments, make([]int64, 4096)...)
	}
	(*moments)[n] = at.UnixNano()
}
