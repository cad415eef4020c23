package main

import (
	"encoding/binary"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestQueries asks the sample database; the items say which access path was taken.
func TestQueries(t *testing.T) {
	file := sampleDatabase()
	for _, c := range []struct {
		sql, want string
		items     int64
	}{
		{"SELECT COUNT(*) FROM t", "[60]\n", 60},
		{"SELECT id, n, r, a, later FROM t WHERE id = 3", "[3,3,0.75,\"text 3\",42]\n", 1},
		{"SELECT later FROM t WHERE id = 6", "[6]\n", 1},
		{"SELECT id FROM t WHERE id = 99", "", 0},
		{"SELECT id FROM t WHERE id IN (9, 2, 9, NULL, 2.0, 'x')", "[2]\n[9]\n", 2},
		{"SELECT id FROM t WHERE id > 57.5", "[58]\n[59]\n[60]\n", 3},
		{"SELECT id FROM t WHERE id > 9e18", "", 0},
		{"SELECT COUNT(*) FROM t WHERE r > 10", "[20]\n", 60},
		{"SELECT COUNT(*) FROM t WHERE r > 10 AND a LIKE '%5%'", "[11]\n", 60},
		{"SELECT id FROM t WHERE a = 'TEXT 7'", "[7]\n", 60},
		{"SELECT length(a), substr(a, 1, 6) FROM t WHERE id = 20", "[1500,\"long l\"]\n", 1},
		{"SELECT id FROM t WHERE n = 6 AND id > 40 ORDER BY id", "[41]\n[48]\n[55]\n", 8},
		{"SELECT id, a FROM t WHERE n = 6 LIMIT 2", "[6,\"text 6\"]\n[13,\"text 13\"]\n", 2},
		{"SELECT n, COUNT(*), MAX(id), a FROM t WHERE id < 10 GROUP BY n ORDER BY 2 DESC, 1 LIMIT 2",
			"[1,2,8,\"text 8\"]\n[2,2,9,\"text 9\"]\n", 9},
		{"SELECT SUM(n), AVG(r), TOTAL(later) FROM t WHERE id <= 4", "[10,0.625,168.0]\n", 4},
		{"SELECT id FROM t ORDER BY n DESC, id DESC LIMIT 3", "[55]\n[48]\n[41]\n", 3},
		{"SELECT r FROM t ORDER BY id DESC LIMIT 1 OFFSET 1", "[14.75]\n", 2},
		{"SELECT DISTINCT n FROM t WHERE n > 4", "[5]\n[6]\n", 16},
		{"SELECT k, l, v FROM w WHERE k = 'k03' AND l >= 2", "[\"k03\",2,14.0]\n[\"k03\",3,15.0]\n", 2},
		{"SELECT COUNT(*) FROM w WHERE k BETWEEN 'k02' AND 'k04'", "[12]\n", 12},
		{"SELECT v FROM w ORDER BY k DESC, l DESC LIMIT 2", "[39.0]\n[38.0]\n", 2},
		{"SELECT name FROM sqlite_schema WHERE type = 'table'", "[\"t\"]\n[\"w\"]\n", 3},
		{"SELECT 1 + 1, 'x' WHERE 1", "[2,\"x\"]\n", 0},
		{"SELECT id FROM t LIMIT 0", "", 0},
		{"EXPLAIN QUERY PLAN SELECT * FROM t AS u WHERE n = 3 ORDER BY a",
			"[\"SEARCH u USING INDEX t_n (n=?)\"]\n[\"USE TEMP B-TREE FOR ORDER BY\"]\n", 0},
		{"EXPLAIN QUERY PLAN SELECT n FROM t", "[\"SCAN t USING COVERING INDEX t_n\"]\n", 0},
		{"EXPLAIN QUERY PLAN SELECT v FROM w WHERE k = 1 AND l < 2",
			"[\"SEARCH w USING PRIMARY KEY (k=? AND l<?)\"]\n", 0},
	} {
		got, items, err := ask(file, c.sql)
		if err != nil || got != c.want || items != c.items {
			t.Errorf("%s\n got %q (%d items, %v)\nwant %q (%d items)", c.sql, got, items, err, c.want, c.items)
		}
	}
}

// TestRefusals: what is wrong or not supported is named.
func TestRefusals(t *testing.T) {
	file := sampleDatabase()
	for sql, want := range map[string]string{
		"":                                    "incomplete input",
		"SELECT":                              "incomplete input",
		"SELECT FROM t":                       `near "FROM": syntax error`,
		"SELECT 'abc":                         `unrecognized token: "'abc"`,
		"SELECT 12ab":                         `unrecognized token: "12ab"`,
		"SELECT x FROM t":                     "no such column: x",
		"SELECT u.id FROM t":                  "no such column: u.id",
		"SELECT * FROM nope":                  "no such table: nope",
		"SELECT nope(1)":                      "no such function: nope",
		"SELECT abs(1, 2)":                    "wrong number of arguments to function abs()",
		"SELECT * FROM t JOIN w":              "JOIN is not supported",
		"SELECT * FROM t, w":                  "JOIN is not supported",
		"SELECT (SELECT 1)":                   "subqueries are not supported",
		"SELECT 1 UNION SELECT 2":             "UNION is not supported",
		"DELETE FROM t":                       "DELETE is not supported",
		"SELECT id FROM t WHERE COUNT(*) > 1": "misuse of aggregate: COUNT()",
		"SELECT id FROM t ORDER BY 2":         "1st ORDER BY term out of range",
		"SELECT 1 LIMIT 'x'":                  "datatype mismatch",
		"SELECT abs(-9223372036854775808)":    "integer overflow",
		"SELECT SUM(id + 9223372036854775000) FROM t":  "integer overflow",
		"SELECT " + strings.Repeat("(", 2000):          "maximum depth",
		"SELECT 1" + strings.Repeat("+1", 2000):        "maximum depth",
		"SELECT " + strings.Repeat("NOT ", 5000) + "1": "maximum depth",
	} {
		if _, _, err := ask(file, sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %s", sql, err, want)
		}
	}
}

// TestMutatedFiles: whatever a few bytes of the file are changed to, there is an answer or an
// error, and no query takes long.
func TestMutatedFiles(t *testing.T) {
	queries := []string{
		"SELECT * FROM t", "SELECT COUNT(*) FROM t WHERE r > 3", "SELECT a FROM t WHERE n = 3 ORDER BY a",
		"SELECT n, COUNT(*), MIN(a) FROM t GROUP BY n", "SELECT * FROM t WHERE id IN (5, 20, 44)",
		"SELECT id FROM t WHERE a LIKE '%long%' ORDER BY r DESC LIMIT 3", "SELECT n FROM t ORDER BY n DESC",
		"SELECT * FROM w WHERE k > 'k03' ORDER BY k DESC", "SELECT typeof(a), length(a) FROM t WHERE a IS NOT NULL",
	}
	sound := sampleDatabase()
	dice := rand.New(rand.NewSource(1))
	spice := []byte{0, 1, 2, 5, 10, 13, 0x7f, 0x80, 0x81, 0xfe, 0xff}
	mutants := 3000
	if wanted, err := strconv.Atoi(os.Getenv("DEADHEAT_MUTANTS")); err == nil {
		mutants = wanted
	}
	for range mutants {
		file := append([]byte(nil), sound...)
		for range 1 + dice.Intn(6) {
			at := dice.Intn(len(file))
			if dice.Intn(2) == 0 { // page heads are what a reader trusts most
				at = dice.Intn(len(file)/512)*512 + dice.Intn(40)
			}
			file[at] = spice[dice.Intn(len(spice))]
			if dice.Intn(3) == 0 {
				file[at] = byte(dice.Intn(256))
			}
		}
		if dice.Intn(10) == 0 {
			file = file[:dice.Intn(len(file))]
		}
		for _, sql := range queries {
			begin := time.Now()
			_, _, err := ask(file, sql)
			if took := time.Since(begin); took > 5*time.Second {
				t.Fatalf("%s took %v", sql, took)
			}
			if err != nil && strings.ContainsAny(oneLine(err.Error()), "\n\r") {
				t.Fatalf("%s: %q is not one line", sql, err)
			}
		}
	}
}

// TestRandomSQL: no text makes the parser panic or hang.
func TestRandomSQL(t *testing.T) {
	words := strings.Fields(`SELECT DISTINCT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET t w id n r a * ( ) , . ; + - / % || =
		< > <= != IS NOT NULL IN BETWEEN AND OR LIKE ESCAPE GLOB CASE WHEN THEN ELSE END CAST AS TEXT INTEGER COLLATE NOCASE 1 2.5
		'x' "id" x'00' COUNT SUM MIN max abs length substr ~ << & | -9223372036854775808 1e999 TRUE ASC DESC NULLS LAST`)
	file := sampleDatabase()
	dice := rand.New(rand.NewSource(2))
	for range 20000 {
		sql := "SELECT"
		for range dice.Intn(14) {
			sql += " " + words[dice.Intn(len(words))]
		}
		if dice.Intn(2) == 0 {
			sql += " FROM t"
		}
		_, _, _ = ask(file, sql) // only the absence of a panic counts
	}
}

// TestSharedBytes: cells or chains that share their bytes cannot blow an answer up.
func TestSharedBytes(t *testing.T) {
	for name, length := range map[string]int{"cells": 3000, "chains": 60000} {
		f := newFixture(4096)
		root := f.table(1, [][]byte{encodeRecord(strings.Repeat("x", length))})
		f.declare("table", "t", "t", root, "CREATE TABLE t(a)")
		leaf := f.pages[len(f.pages)-1] // the overflow pages came first
		const cells = 40
		binary.BigEndian.PutUint16(leaf[3:], cells)
		for i := range cells {
			copy(leaf[8+2*i:], leaf[8:10])
		}
		_, _, err := ask(f.bytes(), "SELECT a FROM t")
		if err == nil || !(strings.Contains(err.Error(), "overlaps") || strings.Contains(err.Error(), "more pages")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
