package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// standardStream is the path that stands for standard input and output.
const standardStream = "-"

// errBrokenPipe is a reader that went away: exit code 1, and nothing to say about it.
var errBrokenPipe = machineFailure("broken pipe")

// printText writes to standard output, and tells when that fails.
func printText(text string) error {
	return (&outputFile{file: os.Stdout, path: "standard output"}).write([]byte(text))
}

// storeOutput writes the answers to where they are wanted; an empty path is nowhere.
func storeOutput(path string, blocks [][]byte) error {
	if path == "" {
		return nil
	}
	out, err := openOutput(path)
	if err != nil {
		return err
	}
	for _, block := range blocks {
		if err := out.write(block); err != nil {
			out.discard()
			return err
		}
	}
	return out.commit()
}

// openOutput prepares where the answers go.
func openOutput(path string) (*outputFile, error) {
	if path == standardStream {
		return &outputFile{file: os.Stdout, path: "standard output"}, nil
	}
	// A device or pipe is written to, not replaced.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return nil, badRequest("%s: is a directory", escape(path))
		}
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, pathFailure(path, err)
		}
		return &outputFile{file: file, path: path}, nil
	}
	folder, base := filepath.Split(path)
	// A process killed earlier may have left its file, and in a container had our number.
	temporary := filepath.Join(folder, fmt.Sprintf(".%.40s.%d.%d.tmp", base, os.Getpid(), time.Now().UnixNano()))
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, pathFailure(path, err)
	}
	return &outputFile{file: file, path: path, temporary: temporary}, nil
}

// outputFile appears under its name when it is complete, or not at all.
type outputFile struct {
	file      *os.File
	path      string
	temporary string // empty when written in place
}

func (o *outputFile) write(block []byte) error {
	_, err := o.file.Write(block)
	if errors.Is(err, syscall.EPIPE) {
		return errBrokenPipe
	}
	if err != nil {
		return pathFailure(o.path, err)
	}
	return nil
}

func (o *outputFile) commit() error {
	if o.temporary == "" {
		return nil
	}
	err := o.file.Close()
	if err == nil {
		err = os.Rename(o.temporary, o.path)
	}
	if err != nil {
		o.discard()
		return pathFailure(o.path, err)
	}
	return nil
}

func (o *outputFile) discard() {
	if o.temporary != "" {
		_ = o.file.Close()
		_ = os.Remove(o.temporary) // nothing better to do if it cannot be removed
	}
}
