package queue

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// weirUpkeep is what a node of weir does for its database in the background, as far as it costs anything here.
type weirUpkeep struct {
	conn *pgx.Conn
	end  context.CancelFunc
	loop sync.WaitGroup
	rest map[string]rest
	err  error
}

type rest struct {
	until  time.Time
	length time.Duration
}

// deadBound is how many dead entries a hot table may gather before it is vacuumed, besides a twentieth of the live ones.
const deadBound = 20_000

func startUpkeep(ctx context.Context, url string) (*weirUpkeep, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	u := &weirUpkeep{conn: conn, end: end, rest: map[string]rest{}}
	u.loop.Go(func() { u.err = u.run(ctx) })
	return u, nil
}

// stop lets the statement under way finish.
func (u *weirUpkeep) stop() error {
	u.end()
	u.loop.Wait()
	_ = u.conn.Close(context.Background())
	return u.err
}

func (u *weirUpkeep) run(ctx context.Context) error {
	statements := context.WithoutCancel(ctx)
	for n := 0; ; n++ {
		if pause(ctx, 200*time.Millisecond) != nil {
			return nil
		}
		if _, err := u.conn.Exec(statements, "select weir.advance_frontier()"); err != nil {
			return err
		}
		if n%5 == 0 {
			if err := u.vacuum(statements); err != nil {
				return err
			}
		}
		if n%300 == 0 {
			if _, err := u.conn.Exec(statements, "select weir.keep_partitions()"); err != nil {
				return err
			}
		}
	}
}

// vacuum cleans the hot tables that have gathered dead entries. Where that removed little, an old transaction pins
// them, and the table is left alone for a while.
func (u *weirUpkeep) vacuum(ctx context.Context) error {
	for _, table := range []string{"weir.job_ready", "weir.job_lease", "weir.job_scheduled"} {
		dead, live, err := u.tuples(ctx, table)
		if err != nil {
			return err
		}
		if dead < deadBound+live/20 || time.Now().Before(u.rest[table].until) {
			continue
		}
		if _, err := u.conn.Exec(ctx, "vacuum (truncate false) "+table); err != nil {
			return err
		}
		after, _, err := u.tuples(ctx, table)
		if err != nil {
			return err
		}
		if after < dead/2 {
			delete(u.rest, table)
			continue
		}
		length := min(max(2*u.rest[table].length, 2*time.Second), time.Minute)
		u.rest[table] = rest{until: time.Now().Add(length), length: length}
	}
	return nil
}

func (u *weirUpkeep) tuples(ctx context.Context, table string) (dead, live int64, err error) {
	err = u.conn.QueryRow(ctx, "select pg_stat_get_dead_tuples($1::regclass), pg_stat_get_live_tuples($1::regclass)", table).Scan(&dead, &live)
	return dead, live, err
}
