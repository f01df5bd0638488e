package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// echoFor is how long after a signal another one counts as the same: timeout(1) sends it to the process and to its
// group, and some wrappers forward what the terminal has already sent to the whole group.
const echoFor = 200 * time.Millisecond

// stop is how this program is told to stop. The first signal asks for an orderly shutdown, the second insists on one at
// once. The system handles a third: it kills the process.
type stop struct {
	asked    context.Context
	insisted context.Context
}

func newStop() *stop {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	asked, ask := context.WithCancel(context.Background())
	insisted, insist := context.WithCancel(context.Background())
	go func() {
		<-signals
		ask()
		for asked := time.Now(); time.Since(asked) < echoFor; {
			<-signals
		}
		insist()
		signal.Stop(signals)
	}()
	return &stop{asked: asked, insisted: insisted}
}

// withEndOf is this stop, or the end of a stream, which asks for an orderly shutdown as well. The program at its other end
// may have died, so that no program reads what this one writes: that alone must not end it in the middle of the shutdown.
func (s *stop) withEndOf(stream io.Reader) *stop {
	signal.Ignore(syscall.SIGPIPE)
	asked, ask := context.WithCancel(s.asked)
	go func() {
		defer ask()
		_, _ = io.Copy(io.Discard, stream)
	}()
	return &stop{asked: asked, insisted: s.insisted}
}
