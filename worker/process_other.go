//go:build unix && !linux

package worker

import "syscall"

// processGroup starts a program in its own process group: it can be stopped with everything that it started, and a
// Ctrl-C at the terminal reaches weir alone.
func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
