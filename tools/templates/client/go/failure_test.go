package main

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestValuesStayOneShortLine(t *testing.T) {
	for value, want := range map[string]string{
		"abc":                    `"abc"`,
		`a"b\`:                   `"a\"b\\"`,
		"\n\r\t\x00\x1b\x7f":     `"\n\r\t\x00\x1b\x7f"`,
		"\xff\xc3":               `"\xff\xc3"`,
		"\u0085\u2028é日😀":        `"\u0085\u2028é日😀"`,
		strings.Repeat("x", 40):  `"` + strings.Repeat("x", 40) + `"`,
		strings.Repeat("x", 41):  `"` + strings.Repeat("x", 40) + `..."`,
		strings.Repeat("é", 999): `"` + strings.Repeat("é", 40) + `..."`,
	} {
		if got := quoteValue(value); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}

func TestAWrongPathIsTheUsersAndAFullDiskTheMachines(t *testing.T) {
	for cause, want := range map[syscall.Errno]int{syscall.ENOENT: exitBadRequest, syscall.ENOSPC: exitMachine} {
		got := pathFailure("x\ny", &fs.PathError{Op: "open", Path: "x\ny", Err: cause}).(*failure)
		if got.exitCode != want || got.text != `x\ny: `+cause.Error() {
			t.Errorf("%v: got %d, %q", cause, got.exitCode, got.text)
		}
	}
}
