package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// runText runs a text through a file, as the program would.
func runText(t *testing.T, text string, arguments ...string) (answer, problem string) {
	t.Helper()
	folder := t.TempDir()
	input, output := filepath.Join(folder, "in"), filepath.Join(folder, "out")
	if err := os.WriteFile(input, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	request, err := parseOptions(append([]string{"--input", input}, arguments...))
	if err != nil {
		t.Fatal(err)
	}
	err = runStored(newJob(request), &answerWriter{digest: xxhash.New()}, output)
	if err != nil {
		problem = strings.ReplaceAll(err.Error(), folder+"/", "")
	}
	stored, _ := os.ReadFile(output)
	if left, _ := os.ReadDir(folder); len(left) > 2 || err != nil && len(left) > 1 {
		t.Errorf("left behind: %v", left)
	}
	return string(stored), problem
}

func TestRecordsLongerThanABlockAreFoundWhereverTheyLie(t *testing.T) {
	var text bytes.Buffer
	text.WriteString("k,v\n")
	line := 2
	for i := range 40 {
		fmt.Fprintf(&text, "\"%s\",1.5\r\nplain%d,2\n", strings.Repeat("\n", i*20_000), i)
		if i < 35 {
			line += i*20_000 + 2
		}
	}
	answer, problem := runText(t, text.String(), "--agg", "count,sum:v")
	if answer != "count,sum_v\n80,140.0\n" {
		t.Errorf("got %q, %s", answer, problem)
	}
	_, problem = runText(t, text.String(), "--agg", "count", "--max-record-bytes", "700005")
	want := fmt.Sprintf("in: line %d: record longer than 700005 bytes (--max-record-bytes)", line)
	if problem != want {
		t.Errorf("got %s, want %s", problem, want)
	}
}

func TestABadRowLeavesNoTraceWhenSkipped(t *testing.T) {
	const text = "k,a,b\nx,1,2\nnew,1,bad\nx,bad,1\nx,3,4\ny,1\n\"z\"z,1,1\n\xff,1,1\n"
	answer, problem := runText(t, text, "--group-by=k", "--agg=count,sum:a,sum:b", "--on-error=skip")
	if answer != "k,count,sum_a,sum_b\nx,2,4,6\n" {
		t.Errorf("got %q, %s", answer, problem)
	}
}

func TestErrorsNameTheLineOnWhichTheRecordStarts(t *testing.T) {
	for text, want := range map[string]string{
		"k,v\n\n\"a\nb\",1\nc\n":       "line 5: 1 fields, expected 2",
		"\xef\xbb\xbfk,v\r\na,x\r\n":   `line 2: column v: not a number: "x"`,
		"k,v\na,1e99\n":                `line 2: column v: number out of range: "1e99"`,
		"k,v\n\"a\"b,1\n":              "line 2: text after closing quote",
		"k,v\na,1\n\xc3,1\n":           "line 3: invalid UTF-8",
		"k,v\na,1\n\"b,1\nc,2\n":       "line 3: unterminated quote",
		"k,w\na,1\n":                   `line 1: unknown column: "v"`,
		"k,v,v\na,1\n":                 `line 1: duplicate column: "v"`,
		"\r\n\n":                       "empty input: no header",
		"\x1f\x8b\x08":                 "truncated gzip data",
		"\x28\xb5\x2f\xfd\x00\xff":     "zstd",
		"\x28\xb5\x2f\xfd\x04\x90\x00": "zstd",
	} {
		answer, problem := runText(t, text, "--group-by", "k", "--agg", "sum:v")
		if answer != "" || !strings.HasPrefix(problem, "in: ") || !strings.Contains(problem, want) {
			t.Errorf("%q: got %q, %s, want %s", text, answer, problem, want)
		}
	}
}

func TestTheEarliestMistakeIsReported(t *testing.T) {
	// Rows wait in a batch: what only the table can find must still come first.
	for _, last := range []string{"d,bad", "d", `d,"`, strings.Repeat("d", 2_000_000)} {
		_, problem := runText(t, "k,v\na,1\nb,1\nc,1\n"+last, "--group-by", "k", "--agg", "sum:v", "--max-groups", "2")
		if problem != "in: line 4: more than 2 groups (--max-groups)" {
			t.Errorf("%.9s: got %s", last, problem)
		}
	}
	text := "k,v\na,0.000000000000000001\n" + strings.Repeat("a,999999999999999999\n", 171) + "b,bad\n"
	_, problem := runText(t, text, "--group-by", "k", "--agg", "sum:v")
	if want := `in: line 173: column v: sum out of range in group "a"`; problem != want {
		t.Errorf("got %s, want %s", problem, want)
	}
}

func TestEncodingIsCheckedWhereverItIsWrong(t *testing.T) {
	for _, piece := range []string{"é", "日", "😀", "\xff", "\xc3", "\xe2\x82", "\x80", "\xed\xa0\x80"} {
		for at := range chunkBytes + 1 {
			text := "k\n" + strings.Repeat("a", at) + piece + "\nb\n"
			want := ""
			if !utf8.ValidString(text) {
				want = "in: line 2: invalid UTF-8"
			}
			if _, problem := runText(t, text, "--group-by=k", "--agg=count"); problem != want {
				t.Fatalf("%q at %d: got %s", piece, at, problem)
			}
		}
	}
}
