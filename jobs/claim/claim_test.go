package claim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirhq/weir/db"
)

// store is a database without jobs, of which a test replaces what it needs.
type store struct {
	claim   func(context.Context, db.ClaimBatchParams) ([]db.ClaimBatchRow, error)
	claims  atomic.Int64
	parkErr error

	mu    sync.Mutex
	until map[string]time.Time // when the last parking of each set of queues expires
	gaps  int                  // parkings that expired before they were renewed
}

func (s *store) ClaimBatch(ctx context.Context, p db.ClaimBatchParams) ([]db.ClaimBatchRow, error) {
	s.claims.Add(1)
	if s.claim == nil {
		return nil, nil
	}
	return s.claim(ctx, p)
}

func (s *store) Admit(context.Context, db.AdmitParams) (db.AdmitRow, error) {
	return db.AdmitRow{}, nil
}

func (s *store) Park(_ context.Context, p db.ParkParams) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	if until, known := s.until[p.Node]; known && time.Now().After(until) {
		s.gaps++
	}
	s.until[p.Node] = time.Now().Add(time.Duration(p.Seconds) * time.Second)
	return s.parkErr
}

func (s *store) Unpark(context.Context, db.UnparkParams) error { return nil }

type noObserver struct{}

func (noObserver) Claimed(int)          {}
func (noObserver) Parked()              {}
func (noObserver) Woken()               {}
func (noObserver) Admitted(db.AdmitRow) {}

// withClaimers runs a test with a clock that stands still while any goroutine works.
func withClaimers(t *testing.T, s *store, test func(cs *Claimers, givenBack *atomic.Int64)) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		var givenBack atomic.Int64
		cs := New(Config{
			Store: s, Node: "node", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Observe: noObserver{},
			Notified: func() bool { return true }, Tick: func(context.Context) error { return nil },
			GiveBack: func(rows []db.ClaimBatchRow) { givenBack.Add(int64(len(rows))) },
		})
		test(cs, &givenBack)
		cs.Drain()
		time.Sleep(time.Minute) // statements end
	})
}

// oneJob is a job for the first waiter of a statement.
func oneJob(p db.ClaimBatchParams) []db.ClaimBatchRow {
	return []db.ClaimBatchRow{{JobID: 1, Token: 1, Slot: 1, Queue: p.Queues[0], Priority: 5}}
}

func TestACallerThatGoesDoesNotWaitForItsStatement(t *testing.T) {
	s := &store{claim: func(_ context.Context, p db.ClaimBatchParams) ([]db.ClaimBatchRow, error) {
		time.Sleep(20 * time.Second)
		return oneJob(p), nil
	}}
	withClaimers(t, s, func(cs *Claimers, givenBack *atomic.Int64) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := cs.Claim(ctx, Request{Worker: "w", Queues: []string{"q"}, Limit: 1, Wait: time.Minute})
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("%v after %s", err, took)
		}
		time.Sleep(30 * time.Second)
		if n := givenBack.Load(); n != 1 {
			t.Errorf("%d jobs were given back, want 1", n)
		}
	})
}

func TestAClaimWhoseStatementHangsEndsSoonAfterItsTime(t *testing.T) {
	s := &store{claim: func(_ context.Context, p db.ClaimBatchParams) ([]db.ClaimBatchRow, error) {
		time.Sleep(29 * time.Second)
		return oneJob(p), nil
	}}
	withClaimers(t, s, func(cs *Claimers, givenBack *atomic.Int64) {
		for _, wait := range []time.Duration{0, 2 * time.Second} {
			began := time.Now()
			_, err := cs.Claim(context.Background(), Request{Worker: "w", Queues: []string{fmt.Sprint("q", wait)}, Limit: 1, Wait: wait})
			if took := time.Since(began); !errors.Is(err, ErrSlow) || took > slowIn+graceFor {
				t.Errorf("with a wait of %s: %v after %s", wait, err, took)
			}
		}
		time.Sleep(time.Minute)
		if n := givenBack.Load(); n != 2 {
			t.Errorf("%d jobs were given back, want 2", n)
		}
	})
}

func TestAPanicOfAClaimIsAnErrorForItsCallers(t *testing.T) {
	s := &store{claim: func(_ context.Context, p db.ClaimBatchParams) ([]db.ClaimBatchRow, error) {
		return []db.ClaimBatchRow{{JobID: 1, Slot: 1, Queue: "another", Priority: 5}}, nil
	}}
	withClaimers(t, s, func(cs *Claimers, _ *atomic.Int64) {
		r := Request{Worker: "w", Queues: []string{"q"}, Limit: 1}
		if _, err := cs.Claim(context.Background(), r); err == nil {
			t.Error("a claim that panicked succeeded")
		}
		s.claim = func(_ context.Context, p db.ClaimBatchParams) ([]db.ClaimBatchRow, error) { return oneJob(p), nil }
		if rows, err := cs.Claim(context.Background(), r); err != nil || len(rows) != 1 {
			t.Errorf("the next claim: %d jobs, %v", len(rows), err)
		}
	})
}

func TestPollsAndSetsOfQueuesAreBounded(t *testing.T) {
	s := &store{}
	withClaimers(t, s, func(cs *Claimers, _ *atomic.Int64) {
		var callers sync.WaitGroup
		for i := range maxSets {
			callers.Go(func() {
				_, err := cs.Claim(context.Background(), Request{Worker: "w", Queues: []string{fmt.Sprint("q", i)}, Limit: 1, Wait: time.Minute})
				if err != nil {
					t.Error(err)
				}
			})
		}
		// Each has claimed, parked, and polled at least once since all of them are there; none polls at this very moment.
		time.Sleep(26*time.Second + pollGap/2)
		for _, wait := range []time.Duration{0, time.Second} {
			_, err := cs.Claim(context.Background(), Request{Worker: "w", Queues: []string{"one", "more"}, Limit: 1, Wait: wait})
			if !errors.Is(err, ErrFull) {
				t.Errorf("one set more than the bound: %v", err)
			}
		}
		before := s.claims.Load()
		const interval = maxSets * pollGap // in which each set polls once at most, whenever its first poll was
		time.Sleep(interval)
		if polls := s.claims.Load() - before; polls > maxSets {
			t.Errorf("%d polls of %d sets in %s", polls, maxSets, interval)
		}
		s.mu.Lock()
		if s.gaps > 0 || len(s.until) != maxSets {
			t.Errorf("%d sets parked, and %d parkings expired while claims waited: nothing would have notified them", len(s.until), s.gaps)
		}
		s.mu.Unlock()
		callers.Wait()
		time.Sleep(pollGap * maxSets)
		if _, err := cs.Claim(context.Background(), Request{Worker: "w", Queues: []string{"one", "more"}, Limit: 1}); err != nil {
			t.Errorf("after the others have gone: %v", err)
		}
	})
}

func TestADatabaseThatTakesNoWritesIsNotAskedAgainAndAgain(t *testing.T) {
	s := &store{parkErr: context.DeadlineExceeded}
	withClaimers(t, s, func(cs *Claimers, _ *atomic.Int64) {
		_, err := cs.Claim(context.Background(), Request{Worker: "w", Queues: []string{"q"}, Limit: 1, Wait: 10 * time.Second})
		if !db.IsAway(err) {
			t.Errorf("the claim ended with %v", err)
		}
		if n := s.claims.Load(); n > 12 {
			t.Errorf("%d claims in 10 s", n)
		}
	})
}

// A claim that waits is looked after at once, whatever claims came before: it claims, and parks, or nothing would tell it of a job before the next
// poll.
func TestAClaimThatWaitsParksAtOnce(t *testing.T) {
	found := false
	s := &store{claim: func(_ context.Context, p db.ClaimBatchParams) ([]db.ClaimBatchRow, error) {
		if found {
			return oneJob(p), nil
		}
		return nil, nil
	}}
	withClaimers(t, s, func(cs *Claimers, _ *atomic.Int64) {
		r := Request{Worker: "w", Queues: []string{"q"}, Limit: 2}
		for _, before := range []string{"found nothing", "found fewer than it wanted"} {
			if _, err := cs.Claim(context.Background(), r); err != nil {
				t.Error(err)
			}
			found = false
			waits := r
			waits.Wait = 100 * time.Millisecond
			if _, err := cs.Claim(context.Background(), waits); err != nil {
				t.Error(err)
			}
			s.mu.Lock()
			if len(s.until) != 1 {
				t.Errorf("after a claim that %s, one that waits does not park", before)
			}
			s.until = nil
			s.mu.Unlock()
			time.Sleep(time.Minute) // the parking is over
			found = true
		}
	})
}
