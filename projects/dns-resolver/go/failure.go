package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
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

// pathFailure tells a path the user got wrong from a machine that failed.
func pathFailure(path string, err error) error {
	cause := err
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		cause = pathError.Err
	}
	for _, wrongPath := range []error{
		fs.ErrNotExist, fs.ErrPermission, syscall.EISDIR, syscall.ENOTDIR,
		syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.ENXIO,
	} {
		if errors.Is(err, wrongPath) {
			return badRequest("%s: %v", escape(path), cause)
		}
	}
	return machineFailure("%s: %v", escape(path), cause)
}

// shownBytes is how much of an offending value a message repeats.
const shownBytes = 60

// quoteValue puts a value in quotes, escaped and cut, so that a message stays one short line.
func quoteValue(value string) string {
	shown := escape(value[:min(len(value), shownBytes)])
	quoted := `"` + strings.ReplaceAll(shown, `"`, `\"`) + `"`
	if len(value) > shownBytes {
		quoted += "..."
	}
	return quoted
}

// escape makes what is not printable visible. Bytes above ASCII are escaped too: a cut may fall
// inside a character, and some characters are line ends.
func escape(text string) string {
	escaped := make([]byte, 0, len(text))
	for _, c := range []byte(text) {
		switch {
		case c == '\n':
			escaped = append(escaped, `\n`...)
		case c == '\r':
			escaped = append(escaped, `\r`...)
		case c == '\t':
			escaped = append(escaped, `\t`...)
		case c == '\\':
			escaped = append(escaped, `\\`...)
		case c < ' ' || c > '~':
			escaped = fmt.Appendf(escaped, `\x%02x`, c)
		default:
			escaped = append(escaped, c)
		}
	}
	return string(escaped)
}

// logLine tells the operator something, in one line. Nothing is logged per query.
func logLine(format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	fmt.Fprintln(os.Stderr, strings.ReplaceAll(text, "\n", " "))
}
