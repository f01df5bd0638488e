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

// divide gives each pool a part in proportion to its most, and at least one, with mu held. It says whether every pool has its most.
func (s *Share) divide() (all bool) {
	left, wanted := s.granted, 0
	for _, m := range s.members {
		if m.pool == nil {
			left -= m.max
		} else {
			wanted += m.max
		}
	}
	all = true
	for _, m := range s.members {
		if m.pool == nil {
			continue
		}
		part := min(max(1, left*m.max/wanted), m.max)
		all = all && part == m.max
		m.pool.gate.set(part)
		go m.pool.trim(part)
	}
	return all
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
