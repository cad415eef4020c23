package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRun: the statistics block, the digest of N equal answers, the output file.
func TestRun(t *testing.T) {
	db := fileOf(t, sampleDatabase())
	output := filepath.Join(t.TempDir(), "answer")
	text, err := run([]string{"--db", db, "--query=SELECT id FROM t WHERE id < 3", "--repeats", "2", "--output", output})
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`^--- Statistics ---\nTotal processed: 4\nProcessing time: \d+\.\d{6}s\n` +
		`Average latency: \d+\.\d{6}ms\nThroughput: \d+\.\d\d items/sec\nDigest: [0-9a-f]{16}\n$`)
	if !block.MatchString(text) {
		t.Errorf("statistics: %s", text)
	}
	if answer, err := os.ReadFile(output); err != nil || string(answer) != "[1]\n[2]\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	text, err = run([]string{"--db", db, "--query", "SELECT id AS x FROM t WHERE id < 3", "--format", "csv", "--output", "-"})
	if err != nil || text != "x\n1\n2\n" {
		t.Errorf("to stdout: %q, %v", text, err)
	}
}

// TestRunFails: the exit code, the thing that is named, and nothing left behind.
func TestRunFails(t *testing.T) {
	db := fileOf(t, sampleDatabase())
	folder := t.TempDir()
	output := filepath.Join(folder, "answer")
	for _, c := range []struct {
		arguments, want string
		code            int
	}{
		{"", "--db is required", exitInput},
		{"--db DB", "--query is required", exitInput},
		{"--db", "--db needs a value", exitInput},
		{"--what", "unknown option --what", exitInput},
		{"--db DB --db DB", "given twice", exitInput},
		{"--help=1", "takes no value", exitInput},
		{"--db DB --query x --repeats 0", "--repeats 0", exitInput},
		{"--db DB --query x --repeats +1", "--repeats +1", exitInput},
		{"--db DB --query x --format xml", "--format xml", exitInput},
		{"--db DB --query nonsense --output OUT", `near "nonsense"`, exitInput},
		{"--db FOLDER --query x --output OUT", "not a regular file", exitInput},
		{"--db FOLDER/none --query x --output OUT", "no such file", exitInput},
		{"--db DB --query x --output FOLDER", "is a directory", exitInput},
		{"--db DB --query x --output FOLDER/no/such", "no such file", exitInput},
	} {
		arguments := strings.NewReplacer("DB", db, "FOLDER", folder, "OUT", output).Replace(c.arguments)
		text, err := run(strings.Fields(arguments))
		var f *failure
		if !errors.As(err, &f) || f.code != c.code || !strings.Contains(err.Error(), c.want) || text != "" {
			t.Errorf("%s: got %q, %v", c.arguments, text, err)
		}
	}
	if left, _ := os.ReadDir(folder); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSidecars: a log or a hot journal beside the database is refused, an empty one is not.
func TestSidecars(t *testing.T) {
	out := &renderer{write: func([]byte) error { return nil }}
	for _, c := range []struct {
		suffix, content, want string
	}{
		{"-wal", "", ""},
		{"-wal", strings.Repeat("w", 100), "write-ahead log"},
		{"-journal", "", ""},
		{"-journal", "\x00\x00\x00\x00\x00\x00\x00\x00 finished", ""},
		{"-journal", "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 hot", "hot rollback journal"},
	} {
		db := fileOf(t, sampleDatabase())
		if err := os.WriteFile(db+c.suffix, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := runQuery(db, "SELECT * FROM t", out)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %q: %v", c.suffix, c.content, err)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\nb\x1b\u2028é"); got != `a\nb\x1b\u2028é` {
		t.Errorf("got %q", got)
	}
}
