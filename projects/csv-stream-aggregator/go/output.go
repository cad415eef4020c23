package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
)

// answerBlockBytes is how much of the answer is rendered before it is passed on.
const answerBlockBytes = 64 << 10

// errBrokenPipe is a reader that went away: exit code 1, and nothing to say about it.
var errBrokenPipe = machineFailure("broken pipe")

// printText writes to standard output, and tells when that fails.
func printText(text string) error {
	return (&outputFile{file: os.Stdout, path: "standard output"}).write([]byte(text))
}

// answerWriter streams every answer into the digest and, while store is set, one of them to a file.
type answerWriter struct {
	digest *xxhash.Digest
	open   func() (*outputFile, error) // set for the answer that is stored
	store  *outputFile
}

// write opens the output only now: up to here, a bad input leaves nothing behind.
func (w *answerWriter) write(block []byte) (err error) {
	_, _ = w.digest.Write(block) // a hash never fails
	if w.open == nil {
		return nil
	}
	if w.store == nil {
		if w.store, err = w.open(); err != nil {
			return err
		}
	}
	return w.store.write(block)
}

// openOutput prepares where the answer goes; nil for nowhere.
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
	folder, name := filepath.Split(path)
	// A process killed earlier may have left its file, and in a container had our number.
	temporary := filepath.Join(folder, fmt.Sprintf(".%.40s.%d.%d.tmp", name, os.Getpid(), time.Now().UnixNano()))
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
