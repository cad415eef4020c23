package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fsyncPolicy says when the log reaches the disk.
type fsyncPolicy int32

const (
	fsyncAlways   fsyncPolicy = iota // before the reply
	fsyncEverySec                    // within a second, by another goroutine
	fsyncNo                          // when the kernel likes
)

var fsyncNames = []string{"always", "everysec", "no"}

const (
	logFileMode     = 0o644
	keptBufferBytes = 1 << 20 // a larger buffer is dropped after use
	fsyncIntervalMS = 1000
	retryIntervalMS = 100
)

// appendLog is the append-only file: every command that changed something, as
// its effect. Commands are collected in a buffer and written once a turn of the
// event loop, before the replies of that turn leave; under fsyncAlways they are
// synced then too, so that all commands of a turn share one fsync.
type appendLog struct {
	path   string
	file   *os.File
	policy fsyncPolicy
	buffer []byte
	size   int64 // of the file: it ends with a whole command

	failure     string // why the file cannot be written, or empty
	syncFailure string // why the last fsync beside the event loop failed, or empty
	triedAt     int64  // Unix milliseconds of the last write that failed
	unsynced    bool
	syncedAt    int64
	synced      chan error // the outcome of a sync beside the event loop, nil while there is none

	rewrite *rewrite
	changed [][]byte // keys that the running command has changed, while a rewrite goes on
	wake    func()   // has the event loop look after the log
}

// command logs the words of a command; cmd says where its keys are, nil: the second word is the key.
func (l *appendLog) command(s *store, cmd *command, words ...[]byte) {
	l.buffer = appendCommand(l.buffer, words...)
	if l.rewrite != nil {
		l.rewrite.follow(s, keysOf(cmd, words), l.changed, words)
		l.changed = l.changed[:0]
	}
}

// noteChanged remembers a key for the rewrite.
func (l *appendLog) noteChanged(key []byte) {
	if l.rewrite != nil {
		l.changed = append(l.changed, append([]byte(nil), key...))
	}
}

// keysOf are the keys among the words of a command.
func keysOf(cmd *command, words [][]byte) (keys [][]byte) {
	if cmd == nil {
		return words[1:2]
	}
	if cmd.first == 0 {
		return nil
	}
	last := cmd.last
	if last < 0 {
		last += len(words)
	}
	for i := cmd.first; i <= last; i += cmd.step {
		keys = append(keys, words[i])
	}
	return keys
}

// refusal is the answer to a write while the log cannot be written, or empty.
func (l *appendLog) refusal() string {
	reason := l.failure
	if reason == "" {
		reason = l.syncFailure
	}
	if reason == "" {
		return ""
	}
	return "MISCONF Errors writing to the AOF file: " + reason
}

// commit brings what was logged to the file, and under fsyncAlways to the disk; false: it could not.
func (l *appendLog) commit(now int64) bool {
	if len(l.buffer) > 0 && !l.flush(now) {
		return false
	}
	if l.policy == fsyncAlways && l.unsynced {
		if err := datasync(l.file); err != nil {
			l.fail("fsync", err, now)
			return false
		}
		l.unsynced, l.syncedAt = false, now
	}
	l.failure = ""
	return true
}

// flush writes the buffer. After an error the file is cut to the last whole
// command, and the buffer is kept for another try.
func (l *appendLog) flush(now int64) bool {
	written, err := l.file.Write(l.buffer)
	if err == nil {
		l.size += int64(written)
		l.unsynced = true
		l.buffer = emptied(l.buffer)
		return true
	}
	if written > 0 {
		if cutError := l.file.Truncate(l.size); cutError != nil {
			fmt.Fprintf(os.Stderr, "%s: cannot cut to %d bytes: %v\n", escape(l.path), l.size, cause(cutError))
		}
	}
	l.fail("write", err, now)
	return false
}

func emptied(buffer []byte) []byte {
	if cap(buffer) > keptBufferBytes {
		return nil
	}
	return buffer[:0]
}

// fail remembers an error, and tells the operator when it is new.
func (l *appendLog) fail(what string, err error, now int64) {
	reason := errorText(err)
	if l.failure != reason {
		fmt.Fprintf(os.Stderr, "%s: %s failed: %s\n", escape(l.path), what, reason)
	}
	l.failure, l.triedAt = reason, now
}

// cause is the error of the system call, without path and verb.
func cause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// errorText is what strerror says: Go's texts are the same, but in small letters.
func errorText(err error) string {
	text := cause(err).Error()
	var number syscall.Errno
	if errors.As(err, &number) && text != "" && 'a' <= text[0] && text[0] <= 'z' {
		return string(text[0]-'a'+'A') + text[1:]
	}
	return text
}

// datasync is fdatasync: the length of the file is data, its times are not.
func datasync(file *os.File) error {
	connection, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := connection.Control(func(fd uintptr) { result = unix.Fdatasync(int(fd)) }); err != nil {
		return err
	}
	return result
}

// tick is called ten times a second: it tries again what failed and has the
// file synced in time.
func (l *appendLog) tick(now int64) {
	l.noteSync(now)
	if l.failure != "" && now-l.triedAt < retryIntervalMS {
		return
	}
	if (l.failure != "" || len(l.buffer) > 0) && !l.commit(now) {
		return
	}
	if l.policy == fsyncEverySec && l.unsynced && l.synced == nil && now-l.syncedAt >= fsyncIntervalMS {
		l.unsynced, l.syncedAt = false, now
		l.synced = make(chan error, 1)
		go func(file *os.File, outcome chan<- error) { outcome <- datasync(file) }(l.file, l.synced)
	}
}

// noteSync looks what became of a sync beside the event loop. While it fails
// nothing more is accepted; it is tried again after a second.
func (l *appendLog) noteSync(now int64) {
	select {
	case err := <-l.synced:
		l.synced = nil
		if err == nil || errors.Is(err, os.ErrClosed) { // closed: a rewrite has replaced the file
			l.syncFailure = ""
			return
		}
		reason := errorText(err)
		if l.syncFailure != reason {
			fmt.Fprintf(os.Stderr, "%s: fsync failed: %s\n", escape(l.path), reason)
		}
		l.syncFailure, l.unsynced = reason, true
	default:
	}
}

// close writes and syncs all that is left.
func (l *appendLog) close(now int64) error {
	if l.rewrite != nil {
		l.rewrite.abandon()
		l.rewrite = nil
	}
	if !l.commit(now) {
		return machineFailure("%s: %s", escape(l.path), l.failure)
	}
	if err := datasync(l.file); err != nil {
		return machineFailure("%s: fsync: %v", escape(l.path), cause(err))
	}
	return l.file.Close()
}
