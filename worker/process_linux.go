package main

import "syscall"

// processGroup starts a command in a group of its own: it can be stopped with all that it has started, and a Ctrl-C at the terminal
// reaches weir alone. If weir itself is killed, the kernel kills the command: its job is about to run elsewhere. (The kernel goes by
// the thread that started the command, which therefore has to stay; see worker.slot.)
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
