package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// talk is a process that is spoken with in lines, over its standard input and output.
type talk struct {
	process *exec.Cmd
	input   io.WriteCloser
	mu      sync.Mutex // guards input
	errors  bytes.Buffer
	heard   error
	gone    chan struct{} // closed when its output has ended
}

// startTalk starts a program and returns when it has said "ready". Every later line of its output is given to hear.
func startTalk(ctx context.Context, hear func(line string) error, program string, args ...string) (*talk, error) {
	t := &talk{process: exec.CommandContext(ctx, program, args...), gone: make(chan struct{})}
	t.process.Stderr = &t.errors
	t.process.WaitDelay = time.Second
	var err error
	if t.input, err = t.process.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := t.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := t.process.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go t.listen(output, ready, hear)
	select {
	case <-ready:
		return t, nil
	case <-t.gone:
	case <-time.After(time.Minute):
	}
	return nil, fmt.Errorf("%s was never ready: %w", program, errors.Join(t.process.Process.Kill(), t.end()))
}

func (t *talk) listen(output io.Reader, ready chan<- struct{}, hear func(string) error) {
	defer close(t.gone)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == "ready" {
			close(ready)
			continue
		}
		if err := hear(lines.Text()); err != nil && t.heard == nil {
			t.heard = err
		}
	}
}

func (t *talk) say(line []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.input.Write(line)
	return err
}

// end closes the process's input and waits for it to finish what it has, for a minute.
func (t *talk) end() error {
	t.mu.Lock()
	t.input.Close()
	t.mu.Unlock()
	late := time.AfterFunc(time.Minute, func() { _ = t.process.Process.Kill() })
	defer late.Stop()
	<-t.gone
	err := errors.Join(t.process.Wait(), t.heard)
	if err != nil && t.errors.Len() > 0 {
		err = fmt.Errorf("%w: %.1000s", err, t.errors.Bytes())
	}
	return err
}
