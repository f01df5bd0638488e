//go:build unix

package embedded

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is the postmaster, as a child of this program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// startProcess starts the command and calls atEnd when it has ended.
//
// The kernel's notion of a dying parent (see endWithParent) is the death of the thread that started the child, and the
// Go runtime ends threads when it likes. So a goroutine takes a thread for itself and sits on it, waiting for the child,
// as long as the child lives.
func startProcess(cmd *exec.Cmd, atEnd func()) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
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

// ended tells whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// state tells how the process ended, once done is closed.
func (p *process) state() string { return p.cmd.ProcessState.String() }

// signal sends a signal; to a process that has ended it does nothing.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// end sends a signal and waits for the process to end. It returns false if patience ran out first.
func (p *process) end(sig syscall.Signal, patience time.Duration) bool {
	p.signal(sig)
	select {
	case <-p.done:
		return true
	case <-time.After(patience):
		return false
	}
}
