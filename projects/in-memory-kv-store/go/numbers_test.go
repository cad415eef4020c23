package main

import (
	"math"
	"testing"
)

func TestIntegersHaveOneForm(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if got, ok := parseInteger([]byte(text)); !ok || got != want {
			t.Errorf("%s: %d, %t", text, got, ok)
		}
	}
	for _, text := range []string{
		"", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "1x", "9223372036854775808", "-9223372036854775809",
		"99999999999999999999", "--1",
	} {
		if got, ok := parseInteger([]byte(text)); ok {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func TestDoublesAsC(t *testing.T) {
	for text, want := range map[string]string{
		"1": "1", "0.1": "0.10000000000000001", "1e20": "1e+20", "100000000000000000000": "1e+20", "-0": "-0",
		".5": "0.5", "5.": "5", "+3": "3", "0x10": "16", "0x.8p1": "1", "inf": "inf", "-Infinity": "-inf",
		"5e-324": "4.9406564584124654e-324", "12345678901234567": "12345678901234568", "1e16": "10000000000000000",
		"123456789.125": "123456789.125", "1e-7": "9.9999999999999995e-08",
	} {
		value, ok := parseDouble([]byte(text))
		if got := string(appendDouble(nil, value)); !ok || got != want {
			t.Errorf("%s: %s, %t; want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "nan", " 1", "1 ", "1e", "e1", ".", "1_0", "0x", "0x1_0", "--1", "1e400", "1e-400", "0b1"} {
		if value, ok := parseDouble([]byte(text)); ok {
			t.Errorf("%q is read as %v", text, value)
		}
	}
}

func TestSumsOfLongDoubles(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"0.1", "0.2", "0.3"}, {"10.5", "0.1", "10.6"}, {"5.0e3", "200", "5200"}, {"1", "-1", "0"}, {"-0", "-0", "0"},
		{"3.0e3", "-2999.5", "0.5"}, {"9007199254740993", "1", "9007199254740994"}, {"0.00001", "0", "0.00001"},
		{"18446744073709551615", "1", "18446744073709551616"},
	} {
		a, okA := parseLongDouble([]byte(test.a))
		b, okB := parseLongDouble([]byte(test.b))
		if !okA || !okB {
			t.Errorf("%s or %s is refused", test.a, test.b)
			continue
		}
		sum, ok := addLongDouble(a, b)
		if got := string(appendLongDouble(nil, sum)); !ok || got != test.want {
			t.Errorf("%s + %s: %s, want %s", test.a, test.b, got, test.want)
		}
	}
	for _, text := range []string{"", "nan", "1e5000", "1e999999999999", "1e-5000", " 1", "1,5"} {
		if _, ok := parseLongDouble([]byte(text)); ok {
			t.Errorf("%q is a number", text)
		}
	}
	infinite, _ := parseLongDouble([]byte("inf"))
	if _, ok := addLongDouble(infinite, infinite); ok {
		t.Error("infinity is a finite sum")
	}
}

func TestMemoryUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "100": 100, "1k": 1000, "1kb": 1024, "2MB": 2 << 20, "1g": 1_000_000_000, "1gb": 1 << 30, "5b": 5,
	} {
		if got, ok := parseMemory(text); !ok || got != want {
			t.Errorf("%s: %d, %t", text, got, ok)
		}
	}
	for _, text := range []string{"lots", "-5", "10xb", "1.5gb", "gbb", "99999999999gb", "+1"} {
		if got, ok := parseMemory(text); ok {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}
