package main

import (
	"fmt"
	"os"
	"strconv"
)

// Exit codes of the lane contract.
const (
	exitDone       = 0
	exitMachine    = 1
	exitBadRequest = 2
)

// failure is an error that knows the exit code it stands for.
type failure struct {
	exitCode int
	text     string
}

func (f *failure) Error() string { return f.text }

// badRequest reports bad usage or bad input: exit code 2.
func badRequest(format string, arguments ...any) error {
	return &failure{exitBadRequest, fmt.Sprintf(format, arguments...)}
}

// machineFailure reports what the machine could not give: exit code 1.
func machineFailure(format string, arguments ...any) error {
	return &failure{exitMachine, fmt.Sprintf(format, arguments...)}
}

// shownBytes is how much of an offending value a message repeats.
const shownBytes = 80

// quoteValue puts a value in quotes, escaped and cut, so that a message stays one short line.
func quoteValue(value string) string {
	if len(value) <= shownBytes {
		return strconv.QuoteToASCII(value)
	}
	return strconv.QuoteToASCII(value[:shownBytes]) + "..."
}

// logLine tells the operator something. Nothing is logged per request.
func logLine(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
}
