package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

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
	logFileMode       = 0o644
	keptBufferBytes   = 1 << 20 // a larger buffer is dropped after use
	fsyncIntervalMS   = 1000
	retryIntervalMS   = 100
	rewriteStep       = time.Millisecond
	rewriteBlockBytes = 256 << 10
	wordsPerCommand   = 64 // of a collection in a rewritten log
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

// --- rewriting

// rewrite makes a new log from memory, a bounded part at each turn of the event
// loop, while commands go on. Keys are written in the order of their hashes, and
// place says how far that is: a command on keys before it is appended, one on
// keys behind it is left out, because their state is still to be written. Where
// a command has keys on both sides, the keys before are written anew. So the
// file is a sequence that gives the present state at any time.
type rewrite struct {
	path   string
	file   *os.File
	buffer []byte
	size   int64
	place  uint64
	whole  bool // all keys are written
	synced chan error
}

func (l *appendLog) startRewrite() error {
	path := l.path + ".rewrite"
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, logFileMode)
	if err != nil {
		return err
	}
	l.rewrite = &rewrite{path: path, file: file}
	return nil
}

// has tells if the state of a key is in the new file.
func (w *rewrite) has(s *store, key []byte) bool {
	return w.whole || placeOf(s.mem.hash(key)) < w.place
}

func (w *rewrite) follow(s *store, keys, changed, words [][]byte) {
	present := 0
	for _, key := range keys {
		if w.has(s, key) {
			present++
		}
	}
	if present == len(keys) {
		w.buffer = appendCommand(w.buffer, words...)
		return
	}
	for _, key := range changed {
		if w.has(s, key) {
			w.buffer = appendCommand(w.buffer, []byte("DEL"), key)
			if r := s.keys.get(s.mem, key); r != 0 {
				w.buffer = s.appendEntry(w.buffer, r)
			}
		}
	}
}

// step writes some keys and returns true while it has to be called again soon.
func (w *rewrite) step(s *store) (bool, error) {
	var room [4 * bucketSlots]ref
	for started := time.Now(); !w.whole && len(w.buffer) < rewriteBlockBytes && time.Since(started) < rewriteStep; {
		found, next := s.keys.scanBucket(s.mem, w.place, room[:0])
		for _, r := range found {
			// A bucket may be larger than it was: what is before the place is written already.
			if !s.isExpired(r) && placeOf(s.mem.hash(s.mem.key(r))) >= w.place {
				w.buffer = s.appendEntry(w.buffer, r)
			}
		}
		w.place, w.whole = next, next == 0
	}
	if err := w.flush(); err != nil {
		return false, err
	}
	return !w.whole, nil
}

func (w *rewrite) flush() error {
	written, err := w.file.Write(w.buffer)
	w.size += int64(written)
	w.buffer = emptied(w.buffer)
	return err
}

func (w *rewrite) abandon() {
	w.file.Close()
	os.Remove(w.path)
}

// advance does the next part of a rewrite; true: call it again at the next turn.
func (l *appendLog) advance(s *store) bool {
	w := l.rewrite
	var err error
	more := false
	switch {
	case !w.whole:
		more, err = w.step(s)
	case w.synced == nil:
		w.synced = make(chan error, 1)
		go func() {
			w.synced <- datasync(w.file)
			l.wake()
		}()
	default:
		select {
		case err = <-w.synced:
			if err == nil {
				err = l.replace(s.now)
			}
			if err == nil {
				l.rewrite = nil
			}
		default:
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: rewrite failed: %v\n", escape(l.path), cause(err))
		w.abandon()
		l.rewrite = nil
		return false
	}
	return more || w.whole && w.synced == nil
}

// replace puts the new file in place of the old one. Most of it was synced
// beside the event loop; what came since then is synced here.
func (l *appendLog) replace(now int64) error {
	w := l.rewrite
	if err := w.flush(); err != nil {
		return err
	}
	if err := datasync(w.file); err != nil {
		return err
	}
	if err := os.Rename(w.path, l.path); err != nil {
		return err
	}
	syncFolder(l.path)
	l.file.Close()
	l.file, l.size = w.file, w.size
	l.buffer = l.buffer[:0] // all of it is in the new file
	l.unsynced, l.syncedAt, l.failure, l.syncFailure = false, now, "", ""
	return nil
}

// syncFolder makes a rename or a new file last; without it the old file would be there after a crash.
func syncFolder(path string) {
	if folder, err := os.Open(filepath.Dir(path)); err == nil {
		folder.Sync()
		folder.Close()
	}
}

// appendEntry writes the commands that make a key.
func (s *store) appendEntry(out []byte, r ref) []byte {
	m := s.mem
	key := m.key(r)
	switch m.kind(r) {
	case kindString:
		out = appendCommand(out, []byte("SET"), key, m.value(r))
	case kindList:
		out = s.appendElements(out, "RPUSH", r, m.list(r).count, func(yield func([]byte) bool) {
			m.list(r).from(m, 0)(yield)
		})
	case kindSet:
		out = s.appendElements(out, "SADD", r, m.table(r).count, func(yield func([]byte) bool) {
			m.table(r).all(m)(func(member ref) bool { return yield(m.key(member)) })
		})
	case kindHash:
		out = s.appendElements(out, "HSET", r, 2*m.table(r).count, func(yield func([]byte) bool) {
			m.table(r).all(m)(func(field ref) bool { return yield(m.key(field)) && yield(m.value(field)) })
		})
	case kindZset:
		out = s.appendElements(out, "ZADD", r, 2*m.zset(r).members.count, func(yield func([]byte) bool) {
			m.zset(r).from(m, 0)(func(node ref) bool {
				return yield(appendDouble(nil, m.score(node))) && yield(m.memberOf(node))
			})
		})
	}
	if at := m.expireAt(r); at != 0 {
		out = appendCommand(out, []byte("PEXPIREAT"), key, strconv.AppendInt(nil, at, 10))
	}
	return out
}

// appendElements writes so many words of a collection, some of them a command.
func (s *store) appendElements(out []byte, name string, r ref, count int64, words func(func([]byte) bool)) []byte {
	open := int64(0)
	for word := range words {
		if open == 0 {
			open = min(count, wordsPerCommand)
			count -= open
			out = append(out, '*')
			out = strconv.AppendInt(out, open+2, 10)
			out = append(out, '\r', '\n')
			out = appendBulk(out, []byte(name))
			out = appendBulk(out, s.mem.key(r))
		}
		out = appendBulk(out, word)
		open--
	}
	return out
}

// --- reading

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

func cmdRewriteLog(c *call) {
	switch {
	case c.log == nil:
		// Redis writes a file also when nothing is logged; here there is no path to write to.
		c.out.fail("ERR the append-only file is off (--appendonly)")
	case c.log.rewrite != nil:
		c.out.fail("ERR Background append only file rewriting already in progress")
	default:
		if err := c.log.startRewrite(); err != nil {
			c.out.fail("ERR Can't execute an AOF background rewriting: " + errorText(err))
			return
		}
		c.log.wake()
		c.out.simple("Background append only file rewriting started")
	}
}
