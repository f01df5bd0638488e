//go:build unix

package embedded_test

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// The server ends with the thread that started it, so that thread must not end before the program.
func TestServerOutlivesOtherThreads(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for range 5 {
		s := start(t, dir)
		endThreads(200)
		time.Sleep(100 * time.Millisecond)
		if got := query[int](t, s, "select 1"); got != 1 {
			t.Error("the server does not answer")
		}
		stop(t, s)
	}
}

// endThreads ends n threads of this program, including the idle ones: a thread that a goroutine has locked ends with the
// goroutine.
func endThreads(n int) {
	var started, ended sync.WaitGroup
	all := make(chan struct{})
	for range n {
		started.Add(1)
		ended.Go(func() {
			runtime.LockOSThread()
			started.Done()
			<-all
		})
	}
	started.Wait()
	close(all)
	ended.Wait()
}
