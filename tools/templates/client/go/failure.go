package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"unicode/utf8"
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

// machineFailure reports a disk, memory or pipe that failed us: exit code 1.
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

// shownCharacters is how much of an offending value a message repeats.
const shownCharacters = 40

// quoteValue puts a value in quotes, escaped and cut, so that a message stays one short line.
func quoteValue(value string) string {
	shown := value
	for offset, count := 0, 0; offset < len(value); count++ {
		if count == shownCharacters {
			shown = value[:offset]
			break
		}
		_, size := utf8.DecodeRuneInString(value[offset:])
		offset += size
	}
	cut := ""
	if len(shown) < len(value) {
		cut = "..."
	}
	return `"` + strings.ReplaceAll(escape(shown), `"`, `\"`) + cut + `"`
}

// escape makes control bytes, line separators and broken UTF-8 visible; quotes stay as they are.
func escape(text string) string {
	var out strings.Builder
	for offset := 0; offset < len(text); {
		char, size := utf8.DecodeRuneInString(text[offset:])
		switch {
		case char == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[offset])
		case char == '\\':
			out.WriteString(`\\`)
		case char == '\n':
			out.WriteString(`\n`)
		case char == '\r':
			out.WriteString(`\r`)
		case char == '\t':
			out.WriteString(`\t`)
		case char < 0x20 || char == 0x7f:
			fmt.Fprintf(&out, `\x%02x`, char)
		case char >= 0x80 && char < 0xa0 || char == 0x2028 || char == 0x2029:
			fmt.Fprintf(&out, `\u%04x`, char)
		default:
			out.WriteString(text[offset : offset+size])
		}
		offset += size
	}
	return out.String()
}
