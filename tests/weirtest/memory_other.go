//go:build unix && !linux

package weirtest

func inMemory() string { return "" }
