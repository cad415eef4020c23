//go:build !amd64

package main

// prefetchLines is only a hint; elsewhere it does nothing.
func prefetchLines(*byte, int) {}
