package main

import (
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// kind is a storage class, in the order in which SQLite compares them.
type kind uint8

const (
	kindNull kind = iota
	kindInt
	kindReal
	kindText
	kindBlob
)

// value is one SQL value. The bytes of a text or blob are borrowed: they lie in the mapped file
// or in the arena of the current row, so whoever keeps a value copies them (kept does). A string
// and not a slice holds them, because the compiler keeps a struct of four words in registers and
// one of five in memory, which made every expression twice as slow.
type value struct {
	text string
	bits uint64 // the integer, or the IEEE bits of the real
	kind kind
}

// borrow views bytes as a string without a copy.
//
// It is safe because the bytes are not written while the string is in use: the mapping is
// read-only and outlives the query, an arena is only appended to until its row is done, and the
// memory of a record or of a kept value changes only when its value is replaced.
func borrow(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// kept is a value with memory of its own, which it reuses.
type kept struct {
	value
	memory []byte
}

func (k *kept) set(v value) {
	k.value = v
	if v.isStringy() {
		k.memory = append(k.memory[:0], v.text...)
		k.text = borrow(k.memory)
	}
}

var null = value{}

func intValue(i int64) value    { return value{kind: kindInt, bits: uint64(i)} }
func textValue(s string) value  { return value{kind: kindText, text: s} }
func blobValue(s string) value  { return value{kind: kindBlob, text: s} }
func (v value) int() int64      { return int64(v.bits) }
func (v value) real() float64   { return math.Float64frombits(v.bits) }
func (v value) isNumber() bool  { return v.kind == kindInt || v.kind == kindReal }
func (v value) isStringy() bool { return v.kind == kindText || v.kind == kindBlob }

// realValue makes a real; SQLite has no NaN, it becomes NULL.
func realValue(f float64) value {
	if f != f {
		return null
	}
	return value{kind: kindReal, bits: math.Float64bits(f)}
}

func boolValue(b bool) value {
	if b {
		return intValue(1)
	}
	return intValue(0)
}

// truth is a three-valued logical result.
type truth uint8

const (
	isFalse truth = iota
	isTrue
	isNull
)

func truthOf(b bool) truth {
	if b {
		return isTrue
	}
	return isFalse
}

func (t truth) value() value {
	if t == isNull {
		return null
	}
	return intValue(int64(t))
}

func (t truth) not() truth {
	switch t {
	case isFalse:
		return isTrue
	case isTrue:
		return isFalse
	}
	return isNull
}

// truth converts a value for WHERE, AND, OR, NOT and CASE WHEN.
func (v value) truth() truth {
	switch v.kind {
	case kindNull:
		return isNull
	case kindInt:
		return truthOf(v.bits != 0)
	case kindReal:
		return truthOf(v.real() != 0)
	}
	return truthOf(scanNumber(v.text).real() != 0)
}

// affinity is the type preference of a column or CAST, ordered as in SQLite: everything from
// numeric on is numeric.
type affinity uint8

const (
	affinityNone affinity = iota // an expression without affinity
	affinityBlob
	affinityText
	affinityNumeric
	affinityInteger
	affinityReal
)

// collation decides how two texts compare.
type collation uint8

const (
	collateBinary collation = iota
	collateNocase
	collateRtrim
)

func foldByte(c byte) byte {
	if c-'A' < 26 {
		return c | 0x20
	}
	return c
}

func (c collation) compare(a, b string) int {
	switch c {
	case collateNocase:
		for i := 0; i < len(a) && i < len(b); i++ {
			if d := int(foldByte(a[i])) - int(foldByte(b[i])); d != 0 {
				return d
			}
		}
		return len(a) - len(b)
	case collateRtrim:
		return strings.Compare(trimSpaces(a), trimSpaces(b))
	}
	return strings.Compare(a, b)
}

func trimSpaces(s string) string { return strings.TrimRight(s, " ") }

func compareInts(a, b int64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func compareReals(a, b float64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// compareIntReal is exact: converting the integer to a real could round it onto the other.
func compareIntReal(i int64, r float64) int {
	if r < -9223372036854775808.0 {
		return 1
	}
	if r >= 9223372036854775808.0 {
		return -1
	}
	if whole := int64(r); i != whole {
		return compareInts(i, whole)
	}
	return compareReals(float64(i), r)
}

// compareValues orders NULL < numbers < text < blob.
func compareValues(a, b value, c collation) int {
	switch {
	case a.kind == kindInt && b.kind == kindInt:
		return compareInts(a.int(), b.int())
	case a.kind == kindReal && b.kind == kindReal:
		return compareReals(a.real(), b.real())
	case a.kind == kindInt && b.kind == kindReal:
		return compareIntReal(a.int(), b.real())
	case a.kind == kindReal && b.kind == kindInt:
		return -compareIntReal(b.int(), a.real())
	case a.kind == kindText && b.kind == kindText:
		return c.compare(a.text, b.text)
	case a.kind == kindBlob && b.kind == kindBlob:
		return strings.Compare(a.text, b.text)
	}
	return int(a.kind) - int(b.kind)
}

// number is what SQLite sees in a text when it wants a number.
type number struct {
	text     string // the numeric prefix
	i        int64  // the integer prefix (digits before '.' or 'e'), clamped
	digits   int    // digits in the integer prefix
	overflow bool   // the integer prefix does not fit
	pure     bool   // nothing but the number (and spaces around it)
	decimal  bool   // the prefix has a '.' or an exponent
}

func isSpace(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }
func isDigit(c byte) bool { return c-'0' < 10 }

// scanNumber finds the numeric prefix of a text, by the rules of sqlite3AtoF and sqlite3Atoi64.
func scanNumber(b string) number {
	var n number
	p := 0
	for p < len(b) && isSpace(b[p]) {
		p++
	}
	begin := p
	negative := false
	if p < len(b) && (b[p] == '-' || b[p] == '+') {
		negative = b[p] == '-'
		p++
	}
	first := p
	p = n.scanInteger(b, p, negative)
	digits := p - first
	n.digits = digits
	end := p
	dotted := false
	if p < len(b) && b[p] == '.' {
		dotted = true
		p++
		for p < len(b) && isDigit(b[p]) {
			p++
			digits++
		}
		end = p
	}
	if digits == 0 {
		return n
	}
	n.decimal = dotted
	exponentBroken := false
	if p < len(b) && b[p]|0x20 == 'e' {
		q := p + 1
		if q < len(b) && (b[q] == '-' || b[q] == '+') {
			q++
		}
		exponentBroken = q >= len(b) || !isDigit(b[q])
		for ; q < len(b) && isDigit(b[q]); q++ {
			end = q + 1
			n.decimal = true
		}
	}
	n.text = b[begin:end]
	rest := end
	for rest < len(b) && isSpace(b[rest]) {
		rest++
	}
	n.pure = rest == len(b) && !exponentBroken
	return n
}

func (n *number) scanInteger(b string, p int, negative bool) int {
	var u uint64
	for ; p < len(b) && isDigit(b[p]); p++ {
		if u > (math.MaxUint64-9)/10 {
			n.overflow = true
			continue
		}
		u = u*10 + uint64(b[p]-'0')
	}
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	if n.overflow || u > limit {
		n.overflow = true
		u = limit
	}
	n.i = int64(u)
	if negative {
		n.i = -n.i
	}
	return p
}

func (n number) real() float64 {
	if len(n.text) == 0 {
		return 0
	}
	if !n.decimal && !n.overflow && n.i != 0 {
		return float64(n.i)
	}
	f, _ := strconv.ParseFloat(n.text, 64) // a range error still yields the infinity
	return f
}

// value is the number as arithmetic sees it: an integer if it looks like one.
func (n number) value() value {
	if n.decimal || n.overflow {
		return realValue(n.real())
	}
	return intValue(n.i)
}

// numeric converts an operand of an arithmetic operator.
func (v value) numeric() value {
	if v.isStringy() {
		return scanNumber(v.text).value()
	}
	return v
}

// toReal is sqlite3_value_double.
func (v value) toReal() float64 {
	switch v.kind {
	case kindInt:
		return float64(v.int())
	case kindReal:
		return v.real()
	case kindNull:
		return 0
	}
	return scanNumber(v.text).real()
}

// toInt is sqlite3_value_int64: truncated and clamped.
func (v value) toInt() int64 {
	switch v.kind {
	case kindInt:
		return v.int()
	case kindReal:
		return truncateReal(v.real())
	case kindNull:
		return 0
	}
	return scanNumber(v.text).i
}

func truncateReal(f float64) int64 {
	if f <= -9223372036854775808.0 {
		return math.MinInt64
	}
	if f >= 9223372036854775808.0 {
		return math.MaxInt64
	}
	return int64(f)
}

// asText converts to text as CAST(x AS TEXT) does; NULL stays the caller's business.
func (v value) asText() string {
	switch v.kind {
	case kindInt:
		return strconv.FormatInt(v.int(), 10)
	case kindReal:
		return string(appendSQLReal(make([]byte, 0, 32), v.real()))
	}
	return v.text
}

// appendSQLReal writes a real as SQLite's "%!.15g" does.
func appendSQLReal(dst []byte, f float64) []byte {
	if math.IsInf(f, 0) {
		if f < 0 {
			return append(dst, "-Inf"...)
		}
		return append(dst, "Inf"...)
	}
	if f == 0 {
		return append(dst, "0.0"...)
	}
	var scratch [32]byte
	digits := strconv.AppendFloat(scratch[:0], f, 'e', 14, 64)
	if digits[0] == '-' {
		dst = append(dst, '-')
		digits = digits[1:]
	}
	e := strings.IndexByte(borrow(digits), 'e')
	exponent, _ := strconv.Atoi(string(digits[e+1:]))
	digits[1] = digits[0] // squeeze the point out: d.ddd -> ddd
	mantissa := strings.TrimRight(borrow(digits[1:e]), "0")
	if exponent < -4 || exponent > 14 {
		dst = append(dst, mantissa[0], '.')
		if len(mantissa) == 1 {
			dst = append(dst, '0')
		}
		dst = append(dst, mantissa[1:]...)
		return append(dst, digits[e:]...)
	}
	if exponent < 0 {
		dst = append(dst, "0."...)
		dst = append(dst, "0000"[:-exponent-1]...)
		return append(dst, mantissa...)
	}
	for i := 0; i <= exponent; i++ {
		if i < len(mantissa) {
			dst = append(dst, mantissa[i])
		} else {
			dst = append(dst, '0')
		}
	}
	dst = append(dst, '.')
	if exponent+1 >= len(mantissa) {
		return append(dst, '0')
	}
	return append(dst, mantissa[exponent+1:]...)
}

// apply gives a value the affinity of a column, as storing it there would.
func (a affinity) apply(v value) value {
	switch a {
	case affinityText:
		if v.isNumber() {
			return textValue(v.asText())
		}
	case affinityNumeric, affinityInteger:
		if v.kind == kindText {
			v = numericText(v)
		}
		if v.kind == kindReal {
			return wholeReal(v)
		}
	case affinityReal:
		if v.kind == kindText {
			v = numericText(v)
		}
		if v.kind == kindInt {
			return realValue(float64(v.int()))
		}
	}
	return v
}

// numericText makes a number of a text that is one and nothing else.
func numericText(v value) value {
	if n := scanNumber(v.text); n.pure {
		return n.value()
	}
	return v
}

// wholeReal makes an integer of a real that equals one.
func wholeReal(v value) value {
	f := v.real()
	if f >= -9223372036854775808.0 && f < 9223372036854775808.0 && float64(int64(f)) == f {
		if i := int64(f); i > math.MinInt64 {
			return intValue(i)
		}
	}
	return v
}

// comparisonAffinity says what a comparison of two expressions converts to.
func comparisonAffinity(a, b affinity) affinity {
	if a > affinityNone && b > affinityNone {
		if a >= affinityNumeric || b >= affinityNumeric {
			return affinityNumeric
		}
		return affinityBlob
	}
	return max(a, b)
}

// coerce converts one operand of a comparison.
func (a affinity) coerce(v value) value {
	if a >= affinityNumeric {
		if v.kind == kindText {
			return numericText(v)
		}
		return v
	}
	if a == affinityText && v.isNumber() {
		return textValue(v.asText())
	}
	return v
}

// cast is CAST(v AS type).
func (a affinity) cast(v value) value {
	if v.kind == kindNull {
		return v
	}
	switch a {
	case affinityBlob, affinityNone:
		return blobValue(v.asText())
	case affinityText:
		return textValue(v.asText())
	case affinityInteger:
		return intValue(v.toInt())
	case affinityReal:
		return realValue(v.toReal())
	}
	if !v.isStringy() {
		return v
	}
	n := scanNumber(v.text)
	if !n.decimal && !n.overflow {
		return intValue(n.i)
	}
	return wholeReal(realValue(n.real()))
}

func add(a, b value) value {
	a, b = a.numeric(), b.numeric()
	if a.kind == kindInt && b.kind == kindInt {
		x, y := a.int(), b.int()
		if s := x + y; (s > x) == (y > 0) {
			return intValue(s)
		}
	}
	return realArithmetic(a, b, func(x, y float64) float64 { return x + y })
}

func subtract(a, b value) value {
	a, b = a.numeric(), b.numeric()
	if a.kind == kindInt && b.kind == kindInt {
		x, y := a.int(), b.int()
		if d := x - y; (d < x) == (y > 0) {
			return intValue(d)
		}
	}
	return realArithmetic(a, b, func(x, y float64) float64 { return x - y })
}

func multiply(a, b value) value {
	a, b = a.numeric(), b.numeric()
	if a.kind == kindInt && b.kind == kindInt {
		x, y := a.int(), b.int()
		if x == 0 || y == 0 {
			return intValue(0)
		}
		minTimesMinus := (x == -1 && y == math.MinInt64) || (y == -1 && x == math.MinInt64)
		if p := x * y; !minTimesMinus && p/y == x {
			return intValue(p)
		}
	}
	return realArithmetic(a, b, func(x, y float64) float64 { return x * y })
}

func divide(a, b value) value {
	a, b = a.numeric(), b.numeric()
	if a.kind == kindInt && b.kind == kindInt {
		if b.int() == 0 {
			return null
		}
		if a.int() != math.MinInt64 || b.int() != -1 {
			return intValue(a.int() / b.int())
		}
	}
	if b.isNumber() && b.toReal() == 0 {
		return null
	}
	return realArithmetic(a, b, func(x, y float64) float64 { return x / y })
}

func remainder(a, b value) value {
	if a.kind == kindNull || b.kind == kindNull {
		return null
	}
	if a.kind == kindInt && b.kind == kindInt && b.int() > 0 {
		return intValue(a.int() % b.int())
	}
	x, y := a.toInt(), b.toInt() // of the texts themselves: '1e2' is 1 here
	a, b = a.numeric(), b.numeric()
	if y == 0 {
		return null
	}
	r := int64(0)
	if y != -1 {
		r = x % y
	}
	if a.kind == kindInt && b.kind == kindInt {
		return intValue(r)
	}
	return realValue(float64(r))
}

func realArithmetic(a, b value, operate func(x, y float64) float64) value {
	if a.kind == kindNull || b.kind == kindNull {
		return null
	}
	return realValue(operate(a.toReal(), b.toReal()))
}

// shift is x << n; a negative n shifts the other way, as in SQLite.
func shift(x, n int64) int64 {
	switch {
	case n >= 64:
		return 0
	case n >= 0:
		return int64(uint64(x) << uint(n))
	case n <= -64:
		return x >> 63
	}
	return x >> uint(-n)
}
