package main

import (
	"encoding/binary"
	"strings"
	"testing"
)

// TestLike: both the general matcher and the prepared shapes.
func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"abc", "ABC", true}, {"abc", "abcd", false}, {"a%", "Abc", true}, {"%c", "abC", true}, {"%b%", "aBc", true},
		{"%", "", true}, {"%%", "x", true}, {"_", "é", true}, {"__", "é", false}, {"a_c", "abc", true},
		{"%throttled%", "cpu Throttled on", true}, {"%throttled%", "cpu throttle", false}, {"É", "é", false},
		{"%a%b%c%", "xxaxxbxxcxx", true}, {"%a%b%c%", "xxaxxcxxbxx", false}, {"a\x00b", "a", true}, {"", "", true},
		{"%ab", "aab", true}, {"%aab", "aaab", true}, {"-%", "-x", true},
	} {
		if got := newLikeMatcher(c.pattern, noEscape).match(c.text); got != c.want {
			t.Errorf("%q LIKE %q is %v", c.text, c.pattern, got)
		}
	}
	if !newLikeMatcher("10!%", '!').match("10%") || newLikeMatcher("10!%", '!').match("10x") {
		t.Error("ESCAPE does not make % literal")
	}
	if newLikeMatcher(strings.Repeat("%a", 3000), noEscape).match(strings.Repeat("a", 2000) + "b") {
		t.Error("a pattern of many % matches too much")
	}
}

// TestGlob: sets, ranges, negation.
func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"a*c", "abbc", true}, {"A*", "abc", false}, {"[a-c]?", "bz", true}, {"[^a-c]", "b", false}, {"[]x]", "]", true},
		{"[a", "a", false}, {"*[0-9]*", "ab3c", true}, {"", "", true}, {"?", "é", true}, {"[a-]", "-", true},
	} {
		if got := glob(c.pattern, c.text); got != c.want {
			t.Errorf("%q GLOB %q is %v", c.text, c.pattern, got)
		}
	}
}

// TestExpressions evaluates constants: precedence, functions, three-valued logic.
func TestExpressions(t *testing.T) {
	for sql, want := range map[string]string{
		"1 + 2 * 3 - 4 / 2":        "5",
		"NOT 1 = 2":                "1",
		"1 OR 0 AND 0":             "1",
		"-2 || 'x'":                `"-2x"`,
		"1 < 2 = 1":                "1",
		"2 BETWEEN 1 AND 3 = 1":    "1",
		"NULL AND 0":               "0",
		"NULL OR 1":                "1",
		"NULL IN (1)":              "null",
		"1 IN (2, NULL)":           "null",
		"1 NOT IN (2, 3)":          "1",
		"NULL IS NULL":             "1",
		"1 IS NOT TRUE":            "0",
		"'a' = 'A' COLLATE NOCASE": "1",
		"CASE 3 WHEN 1 THEN 'a' WHEN 3 THEN 'b' END": `"b"`,
		"CAST('12x' AS INTEGER) + 0x10":              "28",
		"round(2.675, 2)":                            "2.68",
		"round(-0.5)":                                "-1.0",
		"round(1e17, 3)":                             "1e+17",
		"substr('hello', -3, 2)":                     `"ll"`,
		"substr('héllo', 2, 1)":                      `"é"`,
		"substr('hello', 0, 3)":                      `"he"`,
		"instr('héllo', 'l')":                        "3",
		"trim('  x ') || rtrim('axx', 'x')":          `"xa"`,
		"replace('aaa', 'a', 'bb')":                  `"bbbbbb"`,
		"coalesce(NULL, 7, 1)":                       "7",
		"nullif(1, 1.0)":                             "null",
		"typeof(1.0) || typeof(NULL) || typeof(x'')": `"realnullblob"`,
		"hex('aé')":                                  `"61C3A9"`,
		"max(1, 'a', 2.5)":                           `"a"`,
		"length('日本')":                               "2",
		"~5 & 255 | 1 << 9":                          "128512",
		"'50%' LIKE '50!%' ESCAPE '!'":               "1",
		"x'41' || 'b'":                               `"Ab"`,
		"-9223372036854775808":                       "-9223372036854775808",
		"9223372036854775807 + 1":                    "9.223372036854776e+18",
	} {
		got, _, err := ask(sampleDatabase(), "SELECT "+sql)
		if err != nil || got != "["+want+"]\n" {
			t.Errorf("%s is %s (%v), want %s", sql, got, err, want)
		}
	}
}

// TestJSONText: escapes, and one U+FFFD for every maximal invalid part.
func TestJSONText(t *testing.T) {
	for text, want := range map[string]string{
		"plain é":              `"plain é"`,
		"a\"b\\c\n\t\x01\x7f":  `"a\"b\\c\n\t\u0001` + "\x7f\"",
		"\xff":                 "\"\uFFFD\"",
		"\xe2\x82":             "\"\uFFFD\"",
		"\xe2\x82A":            "\"\uFFFDA\"",
		"\xf0\x80\x80":         "\"\uFFFD\uFFFD\uFFFD\"",
		"\xed\xa0\x80":         "\"\uFFFD\uFFFD\uFFFD\"",
		"\xf0\x9f\x98\x80\xc0": "\"😀\uFFFD\"",
	} {
		if got := string(appendJSONText(nil, text)); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func TestCSVText(t *testing.T) {
	for text, want := range map[string]string{"": `""`, "a": "a", "a,b": `"a,b"`, `"`: `""""`, "a\nb": "\"a\nb\"", " ": " "} {
		if got := string(appendCSVText(nil, text)); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// TestVarint: all lengths, and ends that come too early.
func TestVarint(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 28, 1 << 35, 1 << 42, 1 << 49, 1<<56 - 1, 1 << 56, 1<<64 - 1} {
		encoded := appendVarint(nil, v)
		got, length := varint(append(encoded, 0xff))
		if got != v || length != len(encoded) {
			t.Errorf("%d: got %d of %d bytes, want %d bytes", v, got, length, len(encoded))
		}
		padded := append(append([]byte(nil), encoded...), make([]byte, 8)...)
		if n := varintBytes(binary.LittleEndian.Uint64(padded)); n != len(encoded) {
			t.Errorf("%d: varintBytes says %d, want %d", v, n, len(encoded))
		}
		if _, length := varint(encoded[:len(encoded)-1]); length != 0 {
			t.Errorf("%d: a cut varint has length %d", v, length)
		}
	}
}

// TestLengthOfText agrees with the rule, character by character, on sound and unsound texts.
func TestLengthOfText(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "abc": 3, "naïve ключ 日本 😀": 15, "\x80\x80": 2, "a\x80": 2, "é\x80b": 2, "12345678\x80": 9,
		strings.Repeat("é", 20): 20, "1234567é\x80\x80": 8,
	} {
		if got := lengthOfText(text); got != want {
			t.Errorf("%q has length %d, want %d", text, got, want)
		}
	}
}

// TestParseTable: what CREATE TABLE says about columns and keys.
func TestParseTable(t *testing.T) {
	d, err := parseTable(`CREATE TABLE "x y"(a INTEGER PRIMARY KEY AUTOINCREMENT, b VARCHAR(10) NOT NULL DEFAULT 'q''s'
		COLLATE NOCASE UNIQUE, [c d] DOUBLE PRECISION DEFAULT (1+2) CHECK (b > 0), e, f DECIMAL(10, 2) REFERENCES o(p)
		ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED, g INT AS (a + 1) STORED, CONSTRAINT u UNIQUE (e, b), CHECK (a > 1))`, 4)
	if err != nil {
		t.Fatal(err)
	}
	want := []affinity{affinityInteger, affinityText, affinityReal, affinityBlob, affinityNumeric, affinityInteger}
	for i, c := range d.table.columns {
		if c.affinity != want[i] || c.field != i || c.virtual {
			t.Errorf("column %s: affinity %d, field %d", c.name, c.affinity, c.field)
		}
	}
	if c := d.table.columns; d.table.rowidAlias != 0 || c[1].fallback != textValue("q's") || c[2].fallback != realValue(3) {
		t.Errorf("alias %d, defaults %v and %v", d.table.rowidAlias, c[1].fallback, c[2].fallback)
	}
	if key := d.automaticKey("sqlite_autoindex_x_1"); key == nil || key.keys[0] != (indexKey{1, collateNocase, false}) {
		t.Errorf("first automatic index: %v", key)
	}
	if key := d.automaticKey("sqlite_autoindex_x_2"); key == nil || len(key.keys) != 2 {
		t.Errorf("second automatic index: %v", key)
	}
	for _, sql := range []string{"", "CREATE TABLE", "CREATE TABLE t(", "CREATE TABLE t(a", "CREATE TABLE t(a INT(", "CREATE VIRTUAL TABLE t USING x"} {
		if _, err := parseTable(sql, 4); err == nil {
			t.Errorf("%q is accepted", sql)
		}
	}
}
