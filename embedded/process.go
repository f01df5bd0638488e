//go:build unix

package embedded

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is the postmaster, a child of this program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// startProcess starts the command and calls atEnd when it has ended.
//
// To the kernel, a child's parent dies when the thread that started the child ends (see endWithParent), and the Go runtime
// may end any idle thread. So a goroutine locks its thread and keeps it until the child has ended.
func startProcess(cmd *exec.Cmd, atEnd func()) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // the outcome is in cmd.ProcessState
		atEnd()
		close(p.done)
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// state describes how the process ended. Valid once done is closed.
func (p *process) state() string { return p.cmd.ProcessState.String() }

// signal sends a signal. It does nothing if the process has ended.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// end sends a signal and waits up to patience for the process to end. It reports whether the process has ended.
func (p *process) end(sig syscall.Signal, patience time.Duration) bool {
	p.signal(sig)
	select {
	case <-p.done:
		return true
	case <-time.After(patience):
		return false
	}
}
