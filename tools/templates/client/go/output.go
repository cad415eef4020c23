package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// errBrokenPipe is a reader that went away: exit code 1, and nothing to say about it.
var errBrokenPipe = machineFailure("broken pipe")

// printText writes to standard output, and tells when that fails.
func printText(text string) error {
	return writeTo(os.Stdout, "standard output", []byte(text))
}

// store writes the answer to a path; an empty path is nowhere.
func store(path string, answer []byte) error {
	switch path {
	case "":
		return nil
	case standardStream:
		return writeTo(os.Stdout, "standard output", answer)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil || info.Mode().IsRegular():
		return replace(path, answer)
	case info.IsDir():
		return badRequest("%s: is a directory", escape(path))
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0) // a device or pipe is written to, not replaced
	if err != nil {
		return pathFailure(path, err)
	}
	return errors.Join(writeTo(file, path, answer), file.Close())
}

// replace makes the file appear under its name when it is complete, or not at all.
func replace(path string, answer []byte) error {
	folder, name := filepath.Split(path)
	temporary := filepath.Join(folder, fmt.Sprintf(".%.200s.%d.tmp", name, os.Getpid()))
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return pathFailure(path, err)
	}
	err = writeTo(file, path, answer)
	if closed := file.Close(); err == nil && closed != nil {
		err = pathFailure(path, closed)
	}
	if err == nil {
		if err = os.Rename(temporary, path); err == nil {
			return nil
		}
		err = pathFailure(path, err)
	}
	_ = os.Remove(temporary) // nothing better to do if it cannot be removed
	return err
}

func writeTo(file *os.File, path string, content []byte) error {
	_, err := file.Write(content)
	if errors.Is(err, syscall.EPIPE) {
		return errBrokenPipe
	}
	if err != nil {
		return pathFailure(path, err)
	}
	return nil
}
