//go:build unix && !linux

package main

import "syscall"

// processGroup starts a command in a group of its own: it can be stopped with all that it has started, and a Ctrl-C at the terminal
// reaches weir alone.
func processGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
