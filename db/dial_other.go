//go:build !linux

package db

func boundUnacknowledged(uintptr) {}
