package main

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// TestScanNumber follows sqlite3AtoF: what the prefix is, and whether it is all of the text.
func TestScanNumber(t *testing.T) {
	for _, c := range []struct {
		text string
		want value
		pure bool
	}{
		{"", intValue(0), false}, {"12", intValue(12), true}, {" -12 ", intValue(-12), true},
		{"12abc", intValue(12), false}, {"abc", intValue(0), false}, {"1.5", realValue(1.5), true},
		{".5", realValue(0.5), true}, {"5.", realValue(5), true}, {".", intValue(0), false},
		{"1e3", realValue(1000), true}, {"1e", intValue(1), false}, {"1e+", intValue(1), false},
		{"1.e2x", realValue(100), false}, {"0x10", intValue(0), false}, {"+7", intValue(7), true},
		{"9223372036854775807", intValue(math.MaxInt64), true},
		{"-9223372036854775808", intValue(math.MinInt64), true},
		{"9223372036854775808", realValue(9223372036854775808), true},
		{"1e999", realValue(math.Inf(1)), true}, {"\t8\n", intValue(8), true}, {"8 x", intValue(8), false},
	} {
		n := scanNumber(c.text)
		if got := n.value(); got != c.want || n.pure != c.pure {
			t.Errorf("%q: got %v pure %v, want %v pure %v", c.text, got, n.pure, c.want, c.pure)
		}
	}
}

// TestReals: the canonical form is Python's repr, the SQL form is "%!.15g".
func TestReals(t *testing.T) {
	for _, c := range []struct {
		f              float64
		canonical, sql string
	}{
		{0, "0.0", "0.0"}, {math.Copysign(0, -1), "-0.0", "0.0"}, {1, "1.0", "1.0"}, {-2.5, "-2.5", "-2.5"},
		{0.1, "0.1", "0.1"}, {0.0001, "0.0001", "0.0001"}, {0.00001, "1e-05", "1.0e-05"},
		{1e15, "1000000000000000.0", "1.0e+15"}, {1e16, "1e+16", "1.0e+16"}, {1.5e300, "1.5e+300", "1.5e+300"},
		{123456789.125, "123456789.125", "123456789.125"}, {0.30000000000000004, "0.30000000000000004", "0.3"},
		{9007199254740993, "9007199254740992.0", "9.00719925474099e+15"},
		{math.Inf(1), "9e999", "Inf"}, {math.Inf(-1), "-9e999", "-Inf"}, {5e-324, "5e-324", "4.94065645841247e-324"},
	} {
		if got := string(appendReal(nil, c.f)); got != c.canonical {
			t.Errorf("canonical form of %v is %s, want %s", c.f, got, c.canonical)
		}
		if got := string(appendSQLReal(nil, c.f)); got != c.sql {
			t.Errorf("SQL form of %v is %s, want %s", c.f, got, c.sql)
		}
	}
}

// TestArithmetic: what leaves the integers becomes real, and division by zero is NULL.
func TestArithmetic(t *testing.T) {
	least, most := intValue(math.MinInt64), intValue(math.MaxInt64)
	for i, c := range []struct{ got, want value }{
		{add(most, intValue(1)), realValue(9223372036854775808)},
		{add(most, least), intValue(-1)},
		{subtract(least, intValue(1)), realValue(-9223372036854775809)},
		{subtract(intValue(0), least), realValue(9223372036854775808)},
		{multiply(least, intValue(-1)), realValue(9223372036854775808)},
		{multiply(intValue(1<<32), intValue(1<<31)), realValue(1 << 63)},
		{multiply(intValue(-3), intValue(4)), intValue(-12)},
		{divide(intValue(-7), intValue(2)), intValue(-3)},
		{divide(intValue(1), intValue(0)), null}, {divide(realValue(1), realValue(0)), null},
		{divide(least, intValue(-1)), realValue(9223372036854775808)},
		{remainder(intValue(-7), intValue(3)), intValue(-1)}, {remainder(least, intValue(-1)), intValue(0)},
		{remainder(realValue(5.5), intValue(2)), realValue(1)}, {remainder(intValue(5), textValue("1e2")), realValue(0)},
		{add(textValue("3x"), intValue(1)), intValue(4)}, {add(null, intValue(1)), null},
		{intValue(shift(1, 64)), intValue(0)}, {intValue(shift(-1, -70)), intValue(-1)}, {intValue(shift(8, -2)), intValue(2)},
	} {
		if c.got != c.want {
			t.Errorf("case %d: got %v, want %v", i, c.got, c.want)
		}
	}
}

// TestKeys: the bytes of keys order as the values do, also in descending order.
func TestKeys(t *testing.T) {
	values := []value{
		null, intValue(math.MinInt64), intValue(math.MinInt64 + 1), realValue(-1e300), realValue(-2.5), intValue(-1),
		realValue(math.Copysign(0, -1)), intValue(0), realValue(0.5), intValue(1), realValue(1), intValue(1 << 53),
		intValue(1<<53 + 1), realValue(1 << 53), intValue(math.MaxInt64 - 1), intValue(math.MaxInt64),
		realValue(9223372036854775808), realValue(math.Inf(1)), textValue(""), textValue("\x00"), textValue("a"),
		textValue("A"), textValue("a\x00b"), textValue("a "), textValue("ab"), blobValue(""), blobValue("\x00\x01"), blobValue("a"),
	}
	for _, c := range []collation{collateBinary, collateNocase, collateRtrim} {
		for _, a := range values {
			for _, b := range values {
				want := sign3(compareValues(a, b, c))
				got := bytes.Compare(appendKey(nil, a, c), appendKey(nil, b, c))
				if got != want {
					t.Errorf("collation %d: keys of %v and %v compare %d, values %d", c, a, b, got, want)
				}
				x, y := descendingKey(a, c), descendingKey(b, c)
				if got := bytes.Compare(x, y); a.kind != kindNull && b.kind != kindNull && got != -want {
					t.Errorf("collation %d: descending keys of %v and %v compare %d", c, a, b, got)
				}
			}
		}
	}
}

func sign3(d int) int { return min(1, max(-1, d)) }

func descendingKey(v value, c collation) []byte {
	s := sortKey{eval: func(*frame) value { return v }, collation: c, descending: true, nullsLast: true}
	return s.append(nil, &frame{})
}

// TestSorter: a heap keeps what a full sort would put first, ties in the order they came.
func TestSorter(t *testing.T) {
	for _, limit := range []int{-1, 0, 1, 5, 100} {
		s := &sorter{limit: limit}
		for i := range 50 {
			s.add([]byte{byte(i * 7 % 10)}, uint64(i))
		}
		var refs, want []uint64
		for _, e := range s.finish() {
			refs = append(refs, e.ref)
		}
		for k := range 10 {
			for i := range uint64(50) {
				if int(i*7%10) == k {
					want = append(want, i)
				}
			}
		}
		if limit >= 0 {
			want = want[:min(limit, len(want))]
		}
		if !slices.Equal(refs, want) {
			t.Errorf("limit %d: got %v, want %v", limit, refs, want)
		}
	}
}

// TestConversions: affinity and CAST.
func TestConversions(t *testing.T) {
	for i, c := range []struct{ got, want value }{
		{affinityInteger.apply(textValue("5.0")), intValue(5)}, {affinityInteger.apply(textValue("5x")), textValue("5x")},
		{affinityReal.apply(intValue(3)), realValue(3)}, {affinityText.apply(realValue(2)), textValue("2.0")},
		{affinityNumeric.apply(realValue(1e19)), realValue(1e19)}, {affinityBlob.apply(textValue("1")), textValue("1")},
		{affinityInteger.cast(textValue("9.9e1")), intValue(9)}, {affinityInteger.cast(realValue(1e300)), intValue(math.MaxInt64)},
		{affinityNumeric.cast(textValue("1e2x")), intValue(100)}, {affinityText.cast(blobValue("ab")), textValue("ab")},
		{affinityBlob.cast(intValue(12)), blobValue("12")}, {affinityReal.cast(textValue("abc")), realValue(0)},
	} {
		if c.got != c.want {
			t.Errorf("case %d: got %v, want %v", i, c.got, c.want)
		}
	}
}
