package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	rewriteStep       = time.Millisecond // of a turn of the event loop
	rewriteBlockBytes = 256 << 10
	wordsPerCommand   = 64 // of a collection
)

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

// step writes some keys.
func (w *rewrite) step(s *store) error {
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
	return w.flush()
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
	more, err := l.rewriteTurn(s)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: rewrite failed: %v\n", escape(l.path), cause(err))
		w.abandon()
		l.rewrite = nil
		return false
	}
	return more
}

func (l *appendLog) rewriteTurn(s *store) (more bool, err error) {
	w := l.rewrite
	if !w.whole {
		return true, w.step(s)
	}
	if w.synced == nil {
		w.synced = make(chan error, 1)
		go func() {
			w.synced <- datasync(w.file)
			l.wake()
		}()
		return false, nil
	}
	select {
	case err := <-w.synced:
		if err == nil {
			err = l.replace(s.now)
		}
		return false, err
	default:
	}
	if len(w.buffer) > rewriteBlockBytes {
		return false, w.flush()
	}
	return false, nil
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
	l.rewrite = nil
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

func cmdRewriteLog(c *call) {
	switch {
	case c.log == nil:
		// Redis writes a file also when nothing is logged; here there is no path to write to.
		c.out.fail("ERR there is no append-only file (see --appendonly)")
	case c.log.rewrite != nil:
		c.out.fail("ERR Background append only file rewriting already in progress")
	default:
		if err := c.log.startRewrite(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: rewrite failed: %v\n", escape(c.log.path), cause(err))
			c.out.fail("ERR Can't execute an AOF background rewriting. Please check the server logs for more information.")
			return
		}
		c.log.wake()
		c.out.simple("Background append only file rewriting started")
	}
}
