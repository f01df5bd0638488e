package jobs

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/batch"
)

const (
	groupSize    = 1000 // jobs or acks that are committed together
	groupFlights = 2    // such commits of single ones at once, where one takes long
	manyFlights  = 4    // such commits of calls with several at once
	asideFlights = 4    // attempts at once of calls that are apart from a batch, because of a lock or of bad input
	heavyBytes   = 2048 // an item counts for one more with each of these bytes of payload

	groupLockTimeout = 250 * time.Millisecond
)

// groups is how calls of one sort are committed together: single ones, which gather and never wait behind many jobs, and those of several.
type groups[T, R any] struct{ single, several *batch.Group[T, R] }

// grouping is what differs between enqueues and acks.
type grouping[T, R any] struct {
	run   func(context.Context, []T) ([]R, error)
	bytes func(T) int // of payload
	keys  func(T) []string
	// blames tells which of the keys a lock error is about; nil: it may be any.
	blames func(err error, key string) bool
	name   string
}

func newGroups[T, R any](e *Engine, queue int, room *batch.Room, aside chan struct{}, g grouping[T, R]) groups[T, R] {
	config := batch.Config[T, R]{
		Run: g.run, Weigh: func(item T) int { return 1 + g.bytes(item)/heavyBytes }, Bytes: g.bytes, Room: room, Keys: g.keys, Locked: db.IsLocked, Blames: g.blames, Away: isAway,
		Aside: aside, Size: groupSize, Queue: queue, Log: e.log, Clock: e.clock,
	}
	single, several := config, config
	single.Flights, single.Gathers, single.Observe = groupFlights, true, e.metrics.group(g.name)
	several.Flights, several.Observe = manyFlights, e.metrics.group(g.name+"_many")
	return groups[T, R]{single: batch.New(single), several: batch.New(several)}
}

// isAway is db.IsAway without statements that took too long or were cancelled: one call may be to blame, so the batch is divided.
func isAway(err error) bool { return db.IsAway(err) && db.SQLState(err) != "57014" }

// quotaLock begins the name of the lock of a tenant's quota.
const quotaLock = "quota:"

// blamesQuota tells the lock of a tenant's quota from others: while a unique key is locked, jobs of the same tenant without that key do not wait.
func blamesQuota(err error, key string) bool {
	return strings.HasPrefix(key, quotaLock) == db.IsLockOf(err, "tenant_usage")
}

// enqueueLocks names the locks that the enqueue of a job may wait for: its keys, or else something of its queue's, and the quota of its tenant.
func enqueueLocks(c enqueue) (keys []string) {
	var j struct {
		Queue  string `json:"queue"`
		Unique struct {
			Key string `json:"key"`
		} `json:"unique"`
		IdempotencyKey string `json:"idempotency_key"`
		Tenant         string `json:"tenant"`
	}
	_ = json.Unmarshal(c.job, &j) // what cannot be read has no keys
	if j.Unique.Key != "" {
		keys = append(keys, "unique:"+j.Unique.Key)
	}
	if j.IdempotencyKey != "" {
		keys = append(keys, "idempotency:"+j.IdempotencyKey)
	}
	if keys == nil {
		keys = []string{"queue:" + j.Queue}
	}
	if j.Tenant != "" {
		keys = append(keys, quotaLock+j.Tenant)
	}
	return keys
}

// ackLocks names the lock that an ack may wait for: its job's.
func ackLocks(a Ack) []string { return []string{a.ID.String()} }
