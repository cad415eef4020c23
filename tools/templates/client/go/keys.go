package main

import (
	"bytes"
	"io"
	"os"
)

const (
	maxKeyBytes     = 255
	maxKeyFileBytes = 64 << 20
)

// readKeys reads a file of keys, one a line; they are slices of one piece of memory.
func readKeys(path string) ([][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, pathFailure(path, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxKeyFileBytes+1))
	if err != nil {
		return nil, pathFailure(path, err)
	}
	if len(content) > maxKeyFileBytes {
		return nil, badRequest("%s: more than %d bytes", escape(path), maxKeyFileBytes)
	}
	keys, bad := splitKeys(content)
	if bad > 0 {
		return nil, badRequest("%s: line %d: not a key: %s", escape(path), bad, quoteValue(string(keys[bad-1])))
	}
	return keys, nil
}

// splitKeys returns the lines, and the number of the first that is no key, which is then the last.
func splitKeys(content []byte) (keys [][]byte, bad int) {
	keys = make([][]byte, 0, bytes.Count(content, []byte{'\n'})+1)
	for len(content) > 0 {
		line, rest, _ := bytes.Cut(content, []byte{'\n'})
		keys = append(keys, line)
		if !isKey(line) {
			return keys, len(keys)
		}
		content = rest
	}
	return keys, 0
}

func isKey(line []byte) bool {
	for _, b := range line {
		isSound := b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '.' || b == '-' || b == '_'
		if !isSound {
			return false
		}
	}
	return len(line) > 0 && len(line) <= maxKeyBytes
}
