package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// store keeps the answer until it is whole: in a temporary file beside its destination, which a
// rename puts in place, or in memory for stdout. Nothing is left when the job fails.
type store struct {
	path    string
	file    *os.File
	memory  bytes.Buffer
	inPlace bool // the destination is a device or a pipe: written at the end, from memory
}

func openStore(path string) (*store, error) {
	s := &store{path: path}
	if path == "" || path == "-" {
		return s, nil
	}
	if status, err := os.Stat(path); err == nil && !status.Mode().IsRegular() {
		if status.IsDir() {
			return nil, badInput("--output %s: is a directory", path)
		}
		s.inPlace = true // a rename would replace /dev/null by a file
		return s, nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".sqlite-query-engine-*")
	if err != nil {
		return nil, outputError(path, err)
	}
	s.file = file
	return s, nil
}

// outputError names the destination: the temporary name tells the user nothing.
func outputError(path string, err error) error {
	cause := err
	var pathError *fs.PathError
	var linkError *os.LinkError
	if errors.As(err, &pathError) {
		cause = pathError.Err
	} else if errors.As(err, &linkError) {
		cause = linkError.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return badInput("--output %s: %v", path, cause)
	}
	return machineFailed("--output %s: %v", path, cause)
}

func (s *store) write(b []byte) error {
	switch {
	case s.file != nil:
		if _, err := s.file.Write(b); err != nil {
			return outputError(s.path, err)
		}
	case s.path == "-" || s.inPlace:
		s.memory.Write(b)
	}
	return nil
}

// commit puts the answer in place.
func (s *store) commit() error {
	if s.inPlace {
		return s.writeInPlace()
	}
	if s.file == nil {
		return nil
	}
	err := s.file.Chmod(0o644)
	if closeError := s.file.Close(); err == nil {
		err = closeError
	}
	if err == nil {
		err = os.Rename(s.file.Name(), s.path)
	}
	if err != nil {
		return outputError(s.path, err)
	}
	s.file = nil
	return nil
}

func (s *store) writeInPlace() error {
	file, err := os.OpenFile(s.path, os.O_WRONLY, 0)
	if err != nil {
		return outputError(s.path, err)
	}
	_, err = file.Write(s.memory.Bytes())
	if closeError := file.Close(); err == nil {
		err = closeError
	}
	if err != nil {
		return outputError(s.path, err)
	}
	return nil
}

// discard removes what commit did not put in place.
func (s *store) discard() {
	if s.file != nil {
		_ = s.file.Close() // already failed or failing; the file goes away
		_ = os.Remove(s.file.Name())
	}
}
