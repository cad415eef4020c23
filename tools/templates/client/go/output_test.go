package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAnAnswerReplacesAFileAndLeavesNothingElse(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "answer")
	for _, answer := range []string{"first\n", ""} {
		if err := store(path, []byte(answer)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != answer {
			t.Errorf("got %q, want %q", got, answer)
		}
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
}

func TestAFolderIsNoOutput(t *testing.T) {
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Join(folder, "none", "answer")} {
		if err := store(path, nil); err == nil || err.(*failure).exitCode != exitBadRequest {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
