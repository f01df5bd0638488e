package worker

import "syscall"

// processGroup starts a program in its own process group: it can be stopped with everything that it started, and a
// Ctrl-C at the terminal reaches weir alone. If weir is killed, the kernel kills the program, since its job is about to
// run elsewhere. (The kernel watches the thread that started the program, which therefore must not end; see
// Worker.slot.)
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
