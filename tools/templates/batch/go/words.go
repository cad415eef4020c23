package main

import (
	"errors"
	"io"
	"os"
)

const (
	blockBytes   = 256 << 10
	maxWordBytes = 64 << 10
)

// lowered gives every byte of a word in lower case, and zero for a separator.
var lowered = func() (table [256]byte) {
	for value := range table {
		letter := byte(value)
		switch {
		case 'A' <= letter && letter <= 'Z':
			table[value] = letter + 'a' - 'A'
		case 'a' <= letter && letter <= 'z', '0' <= letter && letter <= '9', letter >= 0x80:
			table[value] = letter
		}
	}
	return table
}()

// counter is the measured work, with the memory that one repeat leaves to the next.
type counter struct {
	words table
	// An unfinished word of the block before, a block, and room for the prefix of its last word.
	buffer []byte
}

func newCounter() *counter {
	return &counter{words: newTable(), buffer: make([]byte, maxWordBytes+blockBytes+prefixBytes)}
}

// count reads the file in blocks and counts its words; it gives the number of them.
func (c *counter) count(path string) (total uint64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, pathFailure(path, err)
	}
	defer file.Close()
	c.words.reset()
	kept, offset := 0, 0 // offset is the place of the buffer's first byte in the file
	for last := false; !last; {
		size, err := io.ReadFull(file, c.buffer[kept:kept+blockBytes])
		last = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return 0, pathFailure(path, err)
		}
		end := kept + size
		words, start, err := c.scan(end, last)
		if err != nil {
			return 0, badRequest("%s: %v", escape(path), err)
		}
		total += words
		kept = copy(c.buffer, c.buffer[start:end])
		offset += start
		if kept > maxWordBytes {
			return 0, badRequest("%s: byte %d: word longer than %d bytes", escape(path), offset, maxWordBytes)
		}
	}
	return total, nil
}

// scan counts the words that end within the first end bytes of the buffer; it
// tells where the word starts that does not. At the end of the file, all do.
func (c *counter) scan(end int, last bool) (total uint64, start int, err error) {
	buffer := c.buffer[:end+prefixBytes]
	for at := 0; ; {
		for at < end && lowered[buffer[at]] == 0 {
			at++
		}
		start = at
		for at < end && lowered[buffer[at]] != 0 {
			buffer[at] = lowered[buffer[at]]
			at++
		}
		length := at - start
		if length == 0 || at == end && !last || length > maxWordBytes {
			return total, start, nil
		}
		if err := c.words.add(buffer[start:], length); err != nil {
			return total, start, err
		}
		total++
	}
}
