package worker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/weirhq/weir/rest"
)

func newTestClaimer(slots int) *claimer {
	ctx, cancel := context.WithCancel(context.Background())
	return &claimer{slots: slots, ctx: ctx, cancel: cancel, outage: outage{log: slog.New(slog.DiscardHandler)}}
}

func TestClaimerAsksForFreeSlotsAndSomeAhead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		slots, held int
		meanRun     time.Duration
		dry         bool
		limit       int
		patient     bool
	}{
		"at the start":                     {slots: 4, limit: 4, patient: true},
		"short runs, one slot free":        {slots: 4, held: 3, meanRun: time.Millisecond, limit: 9, patient: true},
		"short runs, nothing free":         {slots: 4, held: 4, meanRun: time.Millisecond, limit: 8},
		"short runs, half of it used up":   {slots: 4, held: 8, meanRun: time.Millisecond, limit: 4},
		"short runs, less than half of it": {slots: 4, held: 9, meanRun: time.Millisecond},
		"runs of a second":                 {slots: 4, held: 4, meanRun: time.Second, limit: 2},
		"long runs, nothing free":          {slots: 4, held: 4, meanRun: time.Minute},
		"long runs, one slot free":         {slots: 4, held: 3, meanRun: time.Minute, limit: 1, patient: true},
		"nothing came the last time":       {slots: 4, held: 4, meanRun: time.Millisecond, dry: true},
		"nothing came, a slot free": {
			slots: 4, held: 3, meanRun: time.Millisecond, dry: true, limit: 9, patient: true,
		},
		"very many slots": {slots: 1000, meanRun: time.Millisecond, limit: maxClaim, patient: true},
	} {
		claims := newTestClaimer(c.slots)
		claims.meanRun, claims.dry = c.meanRun, c.dry
		if limit, patient := claims.wanted(c.held, now); limit != c.limit || patient != c.patient {
			t.Errorf("%s: claims %d, patient %v; want %d, %v", name, limit, patient, c.limit, c.patient)
		}
	}
}

func TestClaimerHasOneClaimUnderWay(t *testing.T) {
	t.Parallel()
	claims := newTestClaimer(1)
	claims.underWay = true
	if limit, _ := claims.wanted(0, time.Now()); limit != 0 {
		t.Errorf("claims %d beside another claim", limit)
	}
}

func TestClaimerBacksOffAfterAnError(t *testing.T) {
	t.Parallel()
	claims := newTestClaimer(1)
	if err := claims.take(claimAnswer{err: errors.New("connection refused")}); err != nil {
		t.Fatalf("it gives up: %v", err)
	}
	if limit, _ := claims.wanted(0, time.Now()); limit != 0 {
		t.Error("it claims again at once")
	}
	if limit, _ := claims.wanted(0, time.Now().Add(time.Minute)); limit != 1 {
		t.Error("it never claims again")
	}
}

func TestClaimerBacksOffWhenTheServiceDoesNotWait(t *testing.T) {
	t.Parallel()
	claims := newTestClaimer(1)
	if err := claims.take(claimAnswer{patient: true, took: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if limit, _ := claims.wanted(0, time.Now()); limit != 0 {
		t.Error("it claims again at once")
	}
}

func TestRefusedClaimIsFatalOnlyAtTheStart(t *testing.T) {
	t.Parallel()
	no := &rest.Problem{Status: 422, Detail: "queues[0] must be a name"}
	claims := newTestClaimer(1)
	if err := claims.take(claimAnswer{err: no}); err == nil {
		t.Error("it goes on claiming what is refused")
	}
	claims.accepted = true
	if err := claims.take(claimAnswer{err: no}); err != nil {
		t.Errorf("it gives up what it was doing: %v", err)
	}
}
