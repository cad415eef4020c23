package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openTestLog(t *testing.T, path string) *store {
	t.Helper()
	s := newTestStore(t)
	log, err := openLog(s, path, fsyncEverySec)
	if err != nil {
		t.Fatal(err)
	}
	log.wake = func() {}
	s.log = log
	return s
}

func closeTestLog(t *testing.T, s *store) {
	t.Helper()
	if err := s.log.close(s.now); err != nil {
		t.Fatal(err)
	}
}

func TestEffectsAreLogged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := openTestLog(t, path)
	ask(s, "SET", "k", "v", "PXAT", "4102444800000", "NX")
	ask(s, "SET", "k", "w", "NX")
	ask(s, "GETSET", "k", "x")
	ask(s, "INCRBYFLOAT", "f", "1.5")
	ask(s, "SADD", "s", "a")
	ask(s, "SPOP", "s")
	ask(s, "GETDEL", "k")
	ask(s, "EXPIREAT", "f", "4102444800", "NX")
	closeTestLog(t, s)
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, line := range []string{
		"SET k v PXAT 4102444800000 NX", "SET k x", "SET f 1.5 KEEPTTL", "SADD s a", "SREM s a", "DEL k", "PEXPIREAT f 4102444800000 NX",
	} {
		var words [][]byte
		for word := range strings.FieldsSeq(line) {
			words = append(words, []byte(word))
		}
		want = appendCommand(want, words...)
	}
	if string(got) != string(want) {
		t.Errorf("logged %q,\nwant   %q", got, want)
	}
}

// dump is all of a store as the commands that make it, in the order of the keys.
func dump(s *store) map[string]string {
	found := map[string]string{}
	for r := range s.keys.all(s.mem) {
		found[string(s.mem.key(r))] = string(s.appendEntry(nil, r))
	}
	return found
}

func TestALogRewrittenUnderWritesGivesTheSameStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := openTestLog(t, path)
	for i := range 20_000 {
		ask(s, "SET", fmt.Sprint("k", i), strings.Repeat("x", 200))
		ask(s, "RPUSH", fmt.Sprint("l", i%50), fmt.Sprint(i))
	}
	if err := s.log.startRewrite(); err != nil {
		t.Fatal(err)
	}
	turns := 0
	for s.log.rewrite != nil {
		s.log.advance(s)
		for i := range 20 {
			n := fmt.Sprint((turns*20 + i) % 20_000)
			ask(s, "APPEND", "k"+n, "y")
			ask(s, "RENAME", "k"+n, "renamed"+n)
			ask(s, "LMOVE", fmt.Sprint("l", i), fmt.Sprint("l", (turns+i)%50), "LEFT", "RIGHT")
			ask(s, "MSET", "a"+n, "1", "b"+n, "2", "c"+n, "3")
			ask(s, "INCR", "a"+n)
			ask(s, "DEL", "b"+n)
			ask(s, "COPY", "c"+n, "d"+n)
		}
		if !s.log.commit(s.now) {
			t.Fatal(s.log.failure)
		}
		if turns++; turns > 100_000 {
			t.Fatal("the rewrite does not end")
		}
		if s.log.rewrite != nil && s.log.rewrite.synced != nil {
			time.Sleep(time.Millisecond)
		}
	}
	ask(s, "SET", "after", "1")
	want := dump(s)
	closeTestLog(t, s)
	again := openTestLog(t, path)
	got := dump(again)
	for key, commands := range want {
		if got[key] != commands {
			t.Errorf("key %s: got %q, want %q", key, got[key], commands)
			break
		}
	}
	if len(got) != len(want) || turns < 3 {
		t.Errorf("%d keys, want %d; %d turns", len(got), len(want), turns)
	}
	closeTestLog(t, again)
}

func TestTornAndDamagedLogs(t *testing.T) {
	whole := string(appendCommand(nil, []byte("SET"), []byte("key"), []byte("value")))
	for _, test := range []struct{ content, want string }{
		{"", "ok, 0 commands\n"},
		{whole + whole, "ok, 2 commands\n"},
		{"#TS:1628217470\r\n" + whole, "ok, 1 commands\n"},
		{whole + "*", "ok, 1 commands, 1 bytes of an unfinished command at byte 33\n"},
		{whole + whole[:32], "ok, 1 commands, 32 bytes of an unfinished command at byte 33\n"},
		{whole + "*1\r\n$5\r\nMULTI\r\n" + whole, "ok, 1 commands, 48 bytes of an unfinished command at byte 33\n"},
		{whole + "x" + whole, "byte 33: expected '*', found \"x\""},
		{whole + "*0\r\n", "byte 34: not a length: \"0\\r\""},
		{whole + "*3\r\n$3\r\nSETxx", "byte 44: expected the end of a line, found \"x\""},
		{whole + "*1\n", "byte 35: expected the end of a line, found \"\\n\""},
		{whole + "*1\r\n$600000000\r\n", "byte 38: not a length: \"600000000\\r\""},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := checkLog(path)
		if err != nil {
			got = strings.TrimPrefix(err.Error(), path+": ")
		}
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.content, got, test.want)
		}
	}
}
