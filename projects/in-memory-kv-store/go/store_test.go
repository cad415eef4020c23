package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func newTestStore(t *testing.T) *store {
	t.Helper()
	s, err := newStore()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask does one command and returns the reply.
func ask(s *store, words ...string) string {
	c := &call{store: s, client: &client{}}
	return c.ask(words...)
}

func (c *call) ask(words ...string) string {
	args := make([][]byte, len(words))
	for i, word := range words {
		args[i] = []byte(word)
	}
	c.out.b = c.out.b[:0]
	c.execute(args)
	return string(c.out.b)
}

func expectReply(t *testing.T, s *store, want string, words ...string) {
	t.Helper()
	if got := ask(s, words...); got != want {
		t.Errorf("%s: got %q, want %q", strings.Join(words, " "), got, want)
	}
}

func TestKeysExpireWhenMetAndInTheBackground(t *testing.T) {
	s := newTestStore(t)
	for i := range 2000 {
		ask(s, "SET", fmt.Sprint("soon", i), "v", "PX", "50")
		ask(s, "SET", fmt.Sprint("later", i), "v", "EX", "1000")
	}
	ask(s, "SET", "stays", "v")
	s.setTime(time.UnixMilli(s.now + 50))
	expectReply(t, s, "$1\r\nv\r\n", "GET", "soon0")
	s.setTime(time.UnixMilli(s.now + 1))
	expectReply(t, s, "$-1\r\n", "GET", "soon0")
	for range 100 {
		s.expireSome()
	}
	if s.keys.count != 2001 || s.volatile.count != 2000 || s.stats.expired != 2000 {
		t.Errorf("%d keys, %d with an expiry, %d expired", s.keys.count, s.volatile.count, s.stats.expired)
	}
}

func TestExpiryFollowsAnEntryThatMoves(t *testing.T) {
	s := newTestStore(t)
	ask(s, "SET", "k", "v", "EX", "1000")
	ask(s, "APPEND", "k", strings.Repeat("x", 10_000))
	ask(s, "EXPIRE", "k", "2000")
	ask(s, "PERSIST", "k")
	expectReply(t, s, ":-1\r\n", "TTL", "k")
	ask(s, "EXPIRE", "k", "3000")
	ask(s, "RENAME", "k", "other")
	expectReply(t, s, ":3000\r\n", "TTL", "other")
	if s.volatile.count != 1 {
		t.Errorf("%d keys with an expiry", s.volatile.count)
	}
	ask(s, "DEL", "other")
	if s.volatile.count != 0 || s.mem.usedBytes != 0 {
		t.Errorf("%d keys with an expiry, %d bytes", s.volatile.count, s.mem.usedBytes)
	}
}

func TestEvictionByPolicy(t *testing.T) {
	for _, chosen := range []policy{allKeysLRU, volatileLRU, allKeysRandom, volatileTTL} {
		t.Run(policyNames[chosen], func(t *testing.T) {
			s := newTestStore(t)
			s.maxMemory, s.policy = 1<<20, chosen
			for i := range 10_000 {
				got := ask(s, "SET", fmt.Sprint("k", i), strings.Repeat("x", 200), "EX", fmt.Sprint(1000+i))
				if got != "+OK\r\n" {
					t.Fatalf("SET %d: %q", i, got)
				}
			}
			if s.usedMemory() > 1<<20+1000 || s.stats.evicted == 0 {
				t.Errorf("%d bytes used, %d keys evicted", s.usedMemory(), s.stats.evicted)
			}
		})
	}
}

func TestWithoutEvictionWritesAreRefused(t *testing.T) {
	s := newTestStore(t)
	s.maxMemory, s.policy = 1, volatileLRU
	expectReply(t, s, "-"+textOutOfMemory+"\r\n", "SET", "k", "v")
	expectReply(t, s, "$-1\r\n", "GET", "k")
	expectReply(t, s, ":0\r\n", "DEL", "k")
}

func TestAccountReturnsToItsStart(t *testing.T) {
	s := newTestStore(t)
	for i := range 500 {
		n := fmt.Sprint(i)
		ask(s, "SET", "s"+n, n, "EX", "100")
		ask(s, "RPUSH", "l"+n, "a", "b", n)
		ask(s, "HSET", "h"+n, "f", n, "g", strings.Repeat(n, i))
		ask(s, "SADD", "t"+n, "a", n)
		ask(s, "ZADD", "z"+n, "1", "a", n, "b")
		for _, kind := range "slhtz" {
			ask(s, "COPY", string(kind)+n, "copy"+string(kind)+n)
			ask(s, "EXPIRE", string(kind)+n, "1000")
		}
	}
	for r := range s.keys.all(s.mem) {
		if s.mem.footprint(r) < s.mem.size(r) {
			t.Fatalf("%q takes %d bytes", s.mem.key(r), s.mem.footprint(r))
		}
	}
	for i := range 500 {
		for _, kind := range "slhtz" {
			ask(s, "DEL", fmt.Sprint(string(kind), i), fmt.Sprint("copy", string(kind), i))
		}
	}
	if s.keys.count != 0 || s.volatile.count != 0 || s.mem.usedBytes != 0 {
		t.Errorf("%d keys, %d bytes", s.keys.count, s.mem.usedBytes)
	}
}

func TestTransactions(t *testing.T) {
	s := newTestStore(t)
	one := &call{store: s, client: &client{}}
	two := &call{store: s, client: &client{}}
	one.ask("WATCH", "k")
	two.ask("SET", "k", "1")
	one.ask("MULTI")
	one.ask("SET", "k", "2")
	if got := one.ask("EXEC"); got != "*-1\r\n" {
		t.Errorf("EXEC after a change of a watched key: %q", got)
	}
	one.ask("MULTI")
	one.ask("NOSUCH")
	if got := one.ask("EXEC"); !strings.HasPrefix(got, "-EXECABORT") {
		t.Errorf("EXEC with a refused command: %q", got)
	}
	one.ask("MULTI")
	one.ask("INCR", "k")
	one.ask("INCR", "k")
	if got := one.ask("EXEC"); got != "*2\r\n:2\r\n:3\r\n" {
		t.Errorf("EXEC: %q", got)
	}
	if len(s.watched) != 0 {
		t.Errorf("still watched: %v", s.watched)
	}
}

func TestCommandsAreFoundInAnyCase(t *testing.T) {
	for _, cmd := range commandTable {
		for _, name := range []string{cmd.name, strings.ToUpper(cmd.name)} {
			if found := commandIndex.find([]byte(name)); found == nil || found.name != cmd.name {
				t.Errorf("%s is not found", name)
			}
		}
	}
	for _, name := range []string{"", "ge", "gett", "g\x05t", "zrangebyscorezrangebyscore", "@et"} {
		if commandIndex.find([]byte(name)) != nil {
			t.Errorf("%q is found", name)
		}
	}
}

func TestLargeCollectionsAreFreedInParts(t *testing.T) {
	s := newTestStore(t)
	for i := range 20_000 {
		n := fmt.Sprint(i)
		ask(s, "RPUSH", "list", n)
		ask(s, "HSET", "hash", n, n)
		ask(s, "SADD", "set", n)
		ask(s, "ZADD", "zset", n, n)
	}
	before := s.mem.usedBytes
	expectReply(t, s, ":4\r\n", "DEL", "list", "hash", "set", "zset")
	if s.mem.usedBytes < before/2 || len(s.condemned) != 4 {
		t.Errorf("%d of %d bytes are in use, %d are condemned", s.mem.usedBytes, before, len(s.condemned))
	}
	for range 1000 {
		if !s.freeSome() {
			break
		}
	}
	if s.mem.usedBytes != 0 {
		t.Errorf("%d bytes are left", s.mem.usedBytes)
	}
}
