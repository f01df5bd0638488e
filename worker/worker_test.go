package worker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// atWork is a running worker, and how to stop it.
type atWork struct {
	ask, insist context.CancelFunc
	ended       chan error
}

func (w *Worker) atWork(t *testing.T) *atWork {
	asked, ask := context.WithCancel(context.Background())
	insisted, insist := context.WithCancel(context.Background())
	a := &atWork{ask: ask, insist: insist, ended: make(chan error, 1)}
	go func() { a.ended <- w.Run(asked, insisted) }()
	t.Cleanup(func() { ask(); insist() })
	return a
}

// wait returns how the worker ended, once it has been asked to.
func (a *atWork) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-a.ended:
		return err
	case <-time.After(3 * time.Minute):
		t.Fatal("the worker does not end")
		return nil
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

func TestWorkerRunsAllJobsAndBatchesAcks(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 300)
	w := f.worker(t, 4, "cat")
	run := w.atWork(t)
	eventually(t, "300 jobs", func() bool { return f.ended() == "complete 300, fail 0" })
	run.ask()
	if err := run.wait(t); err != nil || w.tally.done != 300 {
		t.Errorf("it ended with %v and %+v", err, w.tally)
	}
	f.mu.Lock() // a claim that the worker gave up may still arrive
	defer f.mu.Unlock()
	for _, a := range f.acks {
		if a.Outcome == complete && string(a.Result) != a.ID {
			t.Errorf("the result of job %s is %s", a.ID, a.Result)
		}
	}
	if most := slices.Max(f.claims); most > 4+2*4 {
		t.Errorf("it claimed %d jobs at once", most)
	}
	if len(f.claims) > 150 {
		t.Errorf("it took %d claims", len(f.claims))
	}
}

func TestWorkerWaitsForAnUnreachableService(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 20)
	f.down = 3
	run := f.worker(t, 2, "cat").atWork(t)
	eventually(t, "some jobs", func() bool { return f.ended() != "complete 0, fail 0" })
	f.mu.Lock()
	f.down = 6
	f.mu.Unlock()
	eventually(t, "all jobs", func() bool { return f.ended() == "complete 20, fail 0" })
	run.ask()
	if err := run.wait(t); err != nil {
		t.Error(err)
	}
}

func TestAckIsSentAgainWhenItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 10)
	f.forget = 1
	w := f.worker(t, 1, "cat")
	run := w.atWork(t)
	eventually(t, "all jobs", func() bool { return f.ended() == "complete 10, fail 0" })
	run.ask()
	if err := run.wait(t); err != nil || w.tally.done+w.tally.lost != 10 || w.tally.lost == 0 {
		t.Errorf("it ended with %v and %+v", err, w.tally)
	}
}

func TestRefusedResultFailsItsJobOnly(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 50)
	f.refuse = func(a ack) bool { return string(a.Result) == "13" || string(a.Result) == "31" }
	run := f.worker(t, 4, "cat").atWork(t)
	eventually(t, "all jobs", func() bool { return f.ended() == "complete 48, fail 2" })
	run.ask()
	if err := run.wait(t); err != nil {
		t.Error(err)
	}
	for _, a := range f.acks {
		blamed := (a.ID == "13" || a.ID == "31") && strings.Contains(a.Error.message(), "a value is malformed")
		if a.Outcome == fail && !blamed {
			t.Errorf("of job %s the reason is %+v", a.ID, a.Error)
		}
	}
}

func TestCancelledJobIsStopped(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 1)
	w := f.worker(t, 1, "sleep 60")
	run := w.atWork(t)
	f.mu.Lock()
	f.cancelled["1"] = true
	f.mu.Unlock()
	eventually(t, "the release", func() bool { return f.outcomes() == "complete 0, fail 0, release 1" })
	run.ask()
	if err := run.wait(t); err != nil || w.tally.cancelled != 1 {
		t.Errorf("it ended with %v and %+v", err, w.tally)
	}
}

func TestJobWithALostLeaseIsStoppedAndNotAcked(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 2)
	f.lost["1"] = true
	w := f.worker(t, 1, `[ "$WEIR_JOB_ID" = 2 ] || sleep 60`)
	run := w.atWork(t)
	eventually(t, "the other job", func() bool { return f.ended() == "complete 1, fail 0" })
	run.ask()
	if err := run.wait(t); err != nil || w.tally.lost != 1 {
		t.Errorf("it ended with %v and %+v", err, w.tally)
	}
}

func TestStoppingWorkerFinishesWhatItCanAndReleasesTheRest(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 2)
	folder := t.TempDir()
	w := f.worker(t, 2, `echo begun > "`+folder+`/$WEIR_JOB_ID"; [ "$WEIR_JOB_ID" = 2 ] && sleep 60; sleep 0.5`)
	w.Grace = 6 * time.Second
	run := w.atWork(t)
	eventually(t, "both jobs", func() bool { return read(folder+"/1") != "" && read(folder+"/2") != "" })
	run.ask()
	if err := run.wait(t); err != nil || f.outcomes() != "complete 1, fail 0, release 1" || w.tally.released != 1 {
		t.Errorf("it ended with %v, %s and %+v", err, f.outcomes(), w.tally)
	}
}

func TestSecondStopReleasesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 3)
	w := f.worker(t, 3, "trap '' TERM; sleep 600; sleep 600")
	w.Grace = time.Hour
	run := w.atWork(t)
	eventually(t, "the claim", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.claims) > 0 })
	time.Sleep(100 * time.Millisecond)
	run.ask()
	run.insist()
	if err := run.wait(t); err != nil || f.outcomes() != "complete 0, fail 0, release 3" {
		t.Errorf("it ended with %v and %s", err, f.outcomes())
	}
}

func TestJobsThatWaitTooLongForASlotAreReleased(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 40)
	run := f.worker(t, 1, `[ "$WEIR_JOB_ID" -lt 30 ] || sleep 60`).atWork(t)
	eventually(t, "the releases", func() bool { return !strings.HasSuffix(f.outcomes(), "release 0") })
	run.ask()
	run.insist()
	if err := run.wait(t); err != nil {
		t.Error(err)
	}
}

func TestWorkerSaysWhatItCouldNotReport(t *testing.T) {
	t.Parallel()
	f := newFakeWeir(t, 1)
	gate := filepath.Join(t.TempDir(), "gate")
	run := f.worker(t, 1, `until [ -e "`+gate+`" ]; do sleep 0.05; done`).atWork(t)
	eventually(t, "the claim", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.given) > 0 })
	f.mu.Lock()
	f.down = 1 << 30
	f.mu.Unlock()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an ack that fails", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.acksDown > 0 })
	run.ask()
	run.insist()
	if err := run.wait(t); err == nil || !strings.Contains(err.Error(), "could not report 1 jobs") {
		t.Errorf("it ended with %v", err)
	}
}
