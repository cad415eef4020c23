package main

// prefetchLines asks the processor for cache lines without waiting for them. Go has no intrinsic
// for it outside of its runtime. The instruction cannot fault, whatever the address.
//
//go:noescape
func prefetchLines(first *byte, lines int)
