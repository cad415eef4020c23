package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// logScan reads a log from its start, command by command, stricter than a client is read.
type logScan struct {
	file   io.Reader
	data   []byte
	used   int   // bytes of data that were commands
	offset int64 // of data in the file
	ended  bool

	words    [][]byte
	start    int64 // of the last command
	commands int64
	multi    int64 // where the open MULTI starts, or -1
	before   int64 // commands in front of it
}

const firstReadBytes = 1 << 20

func newLogScan(file io.Reader) *logScan {
	return &logScan{file: file, data: make([]byte, 0, firstReadBytes), multi: -1}
}

// next is true when words has a command; the error is damage or the machine's.
func (x *logScan) next() (bool, error) {
	for {
		rest := x.data[x.used:]
		length, err := x.parse(rest)
		if err != nil {
			return false, err
		}
		if length > 0 {
			x.start = x.offset + int64(x.used)
			x.used += length
			if len(x.words) == 0 {
				continue // an annotation
			}
			x.count()
			return true, nil
		}
		if x.ended {
			return false, nil
		}
		if err := x.fill(); err != nil {
			return false, err
		}
	}
}

// count keeps account of transactions: one without EXEC counts as unfinished.
func (x *logScan) count() {
	switch {
	case equalFold(x.words[0], "MULTI"):
		x.multi, x.before = x.start, x.commands
	case equalFold(x.words[0], "EXEC"):
		x.multi = -1
	}
	x.commands++
}

// tail is where the whole commands end and how many they are.
func (x *logScan) tail() (end, commands int64) {
	if x.multi >= 0 {
		return x.multi, x.before
	}
	return x.offset + int64(x.used), x.commands
}

// length is that of the file, once all was read.
func (x *logScan) length() int64 { return x.offset + int64(len(x.data)) }

func (x *logScan) fill() error {
	if x.used > 0 {
		x.offset += int64(x.used)
		x.data = x.data[:copy(x.data, x.data[x.used:])]
		x.used = 0
	}
	if len(x.data) == cap(x.data) {
		x.data = append(make([]byte, 0, 2*cap(x.data)), x.data...)
	}
	n, err := x.file.Read(x.data[len(x.data):cap(x.data)])
	x.data = x.data[:len(x.data)+n]
	if err == io.EOF {
		x.ended = true
		return nil
	}
	return err
}

// damage is what is wrong at a byte of the log.
type damage struct {
	at   int64
	what string
}

func (d *damage) Error() string { return fmt.Sprintf("byte %d: %s", d.at, d.what) }

// parse is the length of the command at the start of data, 0 if it is not whole.
func (x *logScan) parse(data []byte) (int, error) {
	x.words = x.words[:0]
	if len(data) > 0 && data[0] == '#' {
		for i, char := range data {
			if char == '\n' {
				return i + 1, nil
			}
		}
		return 0, nil
	}
	count, at, err := x.header(data, 0, '*', 1, 1<<20)
	if at == 0 || err != nil {
		return 0, err
	}
	for ; count > 0; count-- {
		length, start, err := x.header(data, at, '$', 0, maxBulkBytes)
		if start == 0 || err != nil {
			return 0, err
		}
		end := start + length
		for i, want := range []byte("\r\n") {
			if end+i < len(data) && data[end+i] != want {
				return 0, x.damaged(end+i, "expected the end of a line, found %s", quoteValue(string(data[end+i:end+i+1])))
			}
		}
		if end+2 > len(data) {
			return 0, nil
		}
		x.words = append(x.words, data[start:end])
		at = end + 2
	}
	return at, nil
}

func (x *logScan) damaged(at int, format string, values ...any) error {
	return &damage{x.offset + int64(x.used+at), fmt.Sprintf(format, values...)}
}

// header reads a line of one character and a number; next is 0 if it is not whole.
func (x *logScan) header(data []byte, at int, kind byte, least, most int) (value, next int, err error) {
	if at >= len(data) {
		return 0, 0, nil
	}
	if data[at] != kind {
		return 0, 0, x.damaged(at, "expected '%c', found %s", kind, quoteValue(string(data[at:at+1])))
	}
	start := at + 1
	for at = start; at < len(data) && data[at]-'0' <= 9 && at-start < 10; at++ {
		value = value*10 + int(data[at]-'0')
	}
	if at == len(data) {
		return 0, 0, nil
	}
	if at == start || value < least || value > most {
		return 0, 0, x.damaged(start, "not a length: %s", quoteValue(string(data[start:min(at+1, len(data))])))
	}
	for i, want := range []byte("\r\n") {
		if at+i == len(data) {
			return 0, 0, nil
		}
		if data[at+i] != want {
			return 0, 0, x.damaged(at+i, "expected the end of a line, found %s", quoteValue(string(data[at+i:at+i+1])))
		}
	}
	return value, at + 2, nil
}

// logFailure names the file in an error of reading it.
func logFailure(path string, err error) error {
	var broken *damage
	if errors.As(err, &broken) {
		return badRequest("%s: %v", escape(path), broken)
	}
	return pathFailure(path, err)
}

// openLog opens the file, makes it if it is not there, and replays it.
func openLog(s *store, path string, policy fsyncPolicy) (*appendLog, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, logFileMode)
	if err != nil {
		return nil, pathFailure(path, err)
	}
	if err := regular(path, file); err != nil {
		return nil, err
	}
	size, err := replay(s, path, file)
	if err != nil {
		return nil, err
	}
	l := &appendLog{path: path, file: file, policy: policy, size: size, syncedAt: s.now}
	if size == 0 {
		syncFolder(path)
	}
	return l, nil
}

func regular(path string, file *os.File) error {
	about, err := file.Stat()
	if err != nil {
		return pathFailure(path, err)
	}
	if !about.Mode().IsRegular() {
		return badRequest("%s: not a regular file", escape(path))
	}
	return nil
}

// replay does all commands of the log and cuts an unfinished one at its end.
func replay(s *store, path string, file *os.File) (size int64, err error) {
	scan := newLogScan(file)
	s.loading = true
	defer func() { s.loading = false }()
	c := &call{store: s, client: &client{}}
	for {
		found, err := scan.next()
		if err != nil {
			return 0, logFailure(path, err)
		}
		if !found {
			break
		}
		if err := c.redo(scan); err != nil {
			return 0, logFailure(path, err)
		}
	}
	end, _ := scan.tail()
	if torn := scan.length() - end; torn > 0 {
		if err := file.Truncate(end); err != nil {
			return 0, machineFailure("%s: cannot cut to %d bytes: %v", escape(path), end, cause(err))
		}
		fmt.Fprintf(os.Stderr, "%s: cut %d bytes of an unfinished command at byte %d\n", escape(path), torn, end)
	}
	s.stats = statistics{}
	return end, nil
}

// redo does one command of the log. Commands that change nothing are passed over.
func (c *call) redo(scan *logScan) error {
	cmd, refusal := lookup(scan.words)
	if refusal != "" {
		return &damage{scan.start, escape(refusal[len("ERR "):])}
	}
	switch {
	case c.client.inMulti && cmd.flags&flagNotQueued == 0:
		c.client.enqueue(cmd, scan.words)
	case cmd.flags&flagWrite != 0 || cmd.name == "multi" || cmd.name == "exec" || cmd.name == "discard":
		c.args = scan.words
		c.run(cmd)
	}
	c.out.b = emptied(c.out.b)
	return nil
}

// checkLog is --check-aof: it tells what it finds and changes nothing.
func checkLog(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", pathFailure(path, err)
	}
	defer file.Close()
	if err := regular(path, file); err != nil {
		return "", err
	}
	scan := newLogScan(file)
	for {
		found, err := scan.next()
		if err != nil {
			return "", logFailure(path, err)
		}
		if !found {
			break
		}
	}
	end, commands := scan.tail()
	if torn := scan.length() - end; torn > 0 {
		return fmt.Sprintf("ok, %d commands, %d bytes of an unfinished command at byte %d\n", commands, torn, end), nil
	}
	return fmt.Sprintf("ok, %d commands\n", commands), nil
}
