package db

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const growEvery = 10 * time.Second // how often pools that were refused connections try for more

// Share divides the connections that PostgreSQL grants among the pools of a node. As long as none is refused, each pool has as many as it may.
type Share struct {
	log   *slog.Logger
	short atomic.Bool // PostgreSQL has refused a connection, and the pools have fewer than they may

	mu      sync.Mutex
	members []member
	granted int
	grow    *time.Timer
}

type member struct {
	pool *Pool // nil: not ours to limit
	pgx  *pgxpool.Pool
	max  int
}

// NewShare makes a Share. The logger defaults to slog.Default().
func NewShare(log *slog.Logger) *Share {
	if log == nil {
		log = slog.Default()
	}
	return &Share{log: log}
}

func (s *Share) add(m member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = append(s.members, m)
}

func (s *Share) remove(pool *pgxpool.Pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = slices.DeleteFunc(s.members, func(m member) bool { return m.pgx == pool })
	if len(s.members) == 0 && s.grow != nil {
		s.grow.Stop()
	}
}

// reset closes the idle connections of all pools, and the others when they are released.
func (s *Share) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		m.pgx.Reset()
	}
}

// refused divides the connections that are open: PostgreSQL has just refused one more.
func (s *Share) refused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.granted = 0
	for _, m := range s.members {
		stat := m.pgx.Stat()
		s.granted += int(stat.TotalConns() - stat.ConstructingConns())
	}
	if !s.short.Swap(true) {
		s.log.Warn("PostgreSQL grants fewer connections than this node may take: its pools share what they have, and calls wait their turn", "connections", s.granted)
	}
	s.divide()
	if s.grow != nil {
		s.grow.Stop()
	}
	s.grow = time.AfterFunc(growEvery, s.more)
}

// yield leaves one of the connections to another part of the node, which PostgreSQL has just refused one.
func (s *Share) yield() {
	s.refused()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.granted--
	s.divide()
}

// more lets the pools try for another connection.
func (s *Share) more() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.members) == 0 {
		return
	}
	s.granted += max(1, s.granted/8)
	if s.divide() {
		s.short.Store(false)
		s.log.Info("PostgreSQL grants this node all the connections that it may take")
		return
	}
	s.grow = time.AfterFunc(growEvery, s.more)
}

// divide gives each pool its part, with mu held. It says whether every pool has its most.
func (s *Share) divide() (all bool) {
	left := s.granted
	var pools []*Pool
	var most []int
	for _, m := range s.members {
		if m.pool == nil {
			left -= m.max
			continue
		}
		pools, most = append(pools, m.pool), append(most, m.max)
	}
	all = true
	for i, part := range parts(left, most) {
		all = all && part == most[i]
		pools[i].gate.set(part)
		go pools[i].trim(part)
	}
	return all
}

// parts divides connections among pools: one each, and the rest in proportion to the most that each may have. Where there are at least as many
// connections as pools, the parts are no more than the connections: a pool that has none yet gets its first as others return theirs.
func parts(connections int, most []int) []int {
	spare, room := max(0, connections-len(most)), 0
	for _, m := range most {
		room += m - 1
	}
	result := make([]int, len(most))
	for i, m := range most {
		result[i] = 1
		if room > 0 {
			result[i] += min(spare*(m-1)/room, m-1)
		}
	}
	return result
}

// trim closes idle connections that are more than the pool may have.
func (p *Pool) trim(most int) {
	surplus := int(p.pgx.Stat().TotalConns()) - most
	if surplus <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for i, conn := range p.pgx.AcquireAllIdle(ctx) {
		if i < surplus {
			closeSoon(conn.Conn())
		}
		conn.Release()
	}
}

// isFull says whether PostgreSQL, or a pooler, has no more connections to give.
func isFull(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	return refused.Code == "53300" || refused.Code == "08P01" && strings.Contains(refused.Message, "no more connections")
}
