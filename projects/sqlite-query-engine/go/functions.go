package main

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

const maximumArguments = 127

// function is a scalar function. The arguments are evaluated before the call, except for the
// lazy ones, which the compiler knows.
type function struct {
	least, most int
	call        func(f *frame, a []value, c collation) value
}

var functions = map[string]function{
	"abs":       {1, 1, absolute},
	"char":      {0, maximumArguments, char},
	"coalesce":  {2, maximumArguments, nil},
	"glob":      {2, 2, globFunction},
	"hex":       {1, 1, hex},
	"ifnull":    {2, 2, nil},
	"iif":       {3, 3, nil},
	"instr":     {2, 2, instr},
	"length":    {1, 1, length},
	"like":      {2, 3, likeFunction},
	"lower":     {1, 1, lower},
	"ltrim":     {1, 2, func(f *frame, a []value, _ collation) value { return trim(f, a, true, false) }},
	"max":       {2, maximumArguments, func(_ *frame, a []value, c collation) value { return extreme(a, c, 1) }},
	"min":       {2, maximumArguments, func(_ *frame, a []value, c collation) value { return extreme(a, c, -1) }},
	"nullif":    {2, 2, nullIf},
	"replace":   {3, 3, replace},
	"round":     {1, 2, round},
	"rtrim":     {1, 2, func(f *frame, a []value, _ collation) value { return trim(f, a, false, true) }},
	"sign":      {1, 1, sign},
	"substr":    {2, 3, substr},
	"substring": {2, 3, substr},
	"trim":      {1, 2, func(f *frame, a []value, _ collation) value { return trim(f, a, true, true) }},
	"typeof":    {1, 1, typeOf},
	"unicode":   {1, 1, unicodeOf},
	"upper":     {1, 1, upper},
}

// function compiles a call. The argument array is shared by all calls of one place in the
// query: a row is finished before the next one begins.
func (c *compiler) function(e *expr) evalFunc {
	switch e.name {
	case "coalesce", "ifnull":
		return coalesce(c.compileAll(e.list))
	case "iif":
		condition, yes, no := c.test(e.list[0]), c.compile(e.list[1]), c.compile(e.list[2])
		return func(f *frame) value {
			if condition(f) == isTrue {
				return yes(f)
			}
			return no(f)
		}
	case "length", "typeof":
		if column := e.list[0]; column.op == opColumn && !c.grouped && c.field(column.column) >= 0 {
			return c.shapeOfColumn(e)
		}
	}
	call := functions[e.name].call
	arguments := c.compileAll(e.list)
	collate := c.firstCollation(e.list)
	values := make([]value, len(arguments))
	return func(f *frame) value {
		for i, argument := range arguments {
			values[i] = argument(f)
		}
		return call(f, values, collate)
	}
}

// shapeOfColumn answers length(blob column) and typeof(column) from the record header alone, so
// that no overflow page is read.
func (c *compiler) shapeOfColumn(e *expr) evalFunc {
	column := e.list[0].column
	field := c.field(column)
	general := c.compile(e.list[0])
	call := functions[e.name].call
	isType := e.name == "typeof"
	var argument [1]value
	return func(f *frame) value {
		serial, ok := f.serialOf(field)
		if ok && serial >= serialBlob && (isType || serial&1 == 0) {
			if !isType {
				return intValue(int64((serial - serialBlob) / 2))
			}
			argument[0].kind = kindBlob - kind(serial&1)
		} else {
			argument[0] = general(f)
		}
		return call(f, argument[:], collateBinary)
	}
}

// firstCollation is that of the first argument that has one.
func (c *compiler) firstCollation(list []*expr) collation {
	for _, e := range list {
		if collate, found := collationOf(c.table, e); found {
			return collate
		}
	}
	return collateBinary
}

func coalesce(arguments []evalFunc) evalFunc {
	return func(f *frame) value {
		for _, argument := range arguments {
			if v := argument(f); v.kind != kindNull {
				return v
			}
		}
		return null
	}
}

func absolute(f *frame, a []value, _ collation) value {
	switch v := a[0]; v.kind {
	case kindNull:
		return null
	case kindInt:
		if v.int() == math.MinInt64 {
			return f.failSQL("integer overflow")
		}
		return intValue(max(v.int(), -v.int()))
	default:
		return realValue(math.Abs(v.toReal()))
	}
}

func sign(_ *frame, a []value, _ collation) value {
	v := a[0]
	if v.kind == kindText {
		v = numericText(v)
	}
	if !v.isNumber() {
		return null
	}
	return intValue(int64(compareReals(v.toReal(), 0)))
}

func char(f *frame, a []value, _ collation) value {
	text := make([]byte, 0, 4*len(a))
	for _, v := range a {
		r := v.toInt()
		if r < 0 || r > 0x10ffff {
			r = utf8.RuneError
		}
		if r >= 0xd800 && r < 0xe000 { // SQLite encodes surrogates as they are
			text = append(text, 0xe0|byte(r>>12), 0x80|byte(r>>6&0x3f), 0x80|byte(r&0x3f))
		} else {
			text = utf8.AppendRune(text, rune(r))
		}
	}
	return textValue(borrow(text))
}

func globFunction(f *frame, a []value, _ collation) value {
	if a[0].kind == kindBlob || a[1].kind == kindBlob {
		return intValue(0)
	}
	if a[0].kind == kindNull || a[1].kind == kindNull {
		return null
	}
	if len(a[0].text) > maximumPatternBytes {
		return f.failSQL("LIKE or GLOB pattern too complex")
	}
	return boolValue(glob(untilNul(a[0].asText()), untilNul(a[1].asText())))
}

func likeFunction(f *frame, a []value, _ collation) value {
	var escape evalFunc
	if len(a) == 3 {
		escape = func(*frame) value { return a[2] }
	}
	m, result := prepareLike(f, a[0], escape)
	return matchLike(m, result, a[1]).value()
}

func hex(f *frame, a []value, _ collation) value {
	const digits = "0123456789ABCDEF"
	source := a[0].asText()
	text := make([]byte, 0, 2*len(source))
	for _, c := range []byte(source) {
		text = append(text, digits[c>>4], digits[c&15])
	}
	return textValue(borrow(text))
}

// instr counts characters, or bytes when both are blobs.
func instr(_ *frame, a []value, _ collation) value {
	if a[0].kind == kindNull || a[1].kind == kindNull {
		return null
	}
	haystack, needle := a[0].asText(), a[1].asText()
	at := strings.Index(haystack, needle)
	if at < 0 {
		return intValue(0)
	}
	if a[0].kind == kindBlob && a[1].kind == kindBlob {
		return intValue(int64(at) + 1)
	}
	return intValue(countCharacters(haystack[:at]) + 1)
}

// countCharacters counts as SQLite does: every byte but the continuation bytes begins one.
func countCharacters(text string) int64 {
	count := int64(0)
	for i := range len(text) {
		if text[i]&0xc0 != 0x80 {
			count++
		}
	}
	return count
}

func length(_ *frame, a []value, _ collation) value {
	switch v := a[0]; v.kind {
	case kindNull:
		return null
	case kindBlob:
		return intValue(int64(len(v.text)))
	case kindText:
		return intValue(lengthOfText(untilNul(v.text)))
	default:
		return intValue(int64(len(v.asText())))
	}
}

// lengthOfText counts characters. A lead byte takes the continuation bytes after it; stray
// continuation bytes, which only invalid texts have, count for themselves. Eight bytes are looked
// at in one go, until there is a stray one.
func lengthOfText(text string) int64 {
	const highBits = 0x8080808080808080
	source := unsafe.Slice(unsafe.StringData(text), len(text)) // only read
	count := int64(0)
	previousIsASCII := uint64(0x80) // as the high bit of its byte; a text begins like after ASCII
	p := 0
	for ; p+8 <= len(source); p += 8 {
		word := binary.LittleEndian.Uint64(source[p:])
		isASCII := ^word & highBits
		continuation := word & ^(word << 1) & highBits
		if continuation&(isASCII<<8|previousIsASCII) != 0 {
			break
		}
		previousIsASCII = isASCII >> 56
		count += int64(8 - bits.OnesCount64(continuation))
	}
	// The last word may have ended inside a character.
	if previousIsASCII == 0 {
		for p < len(source) && source[p]&0xc0 == 0x80 {
			p++
		}
	}
	for ; p < len(source); count++ {
		p = skipCharacter(text, p)
	}
	return count
}

func skipCharacter(text string, p int) int {
	lead := text[p]
	p++
	if lead >= 0xc0 {
		for p < len(text) && text[p]&0xc0 == 0x80 {
			p++
		}
	}
	return p
}

func lower(f *frame, a []value, _ collation) value {
	return mapBytes(f, a[0], func(c byte) byte { return fold[c] })
}

func upper(f *frame, a []value, _ collation) value {
	return mapBytes(f, a[0], func(c byte) byte {
		if c-'a' < 26 {
			return c - 0x20
		}
		return c
	})
}

func mapBytes(f *frame, v value, change func(byte) byte) value {
	if v.kind == kindNull {
		return null
	}
	text := f.join(v.asText())
	for i, c := range text {
		text[i] = change(c)
	}
	return textValue(borrow(text))
}

func extreme(a []value, c collation, direction int) value {
	best := a[0]
	for _, v := range a {
		if v.kind == kindNull {
			return null
		}
		d := compareValues(v, best, c) * direction
		if d > 0 || (d == 0 && direction < 0) { // of equals, MIN takes the last and MAX the first
			best = v
		}
	}
	return best
}

func nullIf(_ *frame, a []value, c collation) value {
	if compareValues(a[0], a[1], c) == 0 {
		return null
	}
	return a[0]
}

func replace(f *frame, a []value, _ collation) value {
	if a[0].kind == kindNull || a[1].kind == kindNull || a[2].kind == kindNull {
		return null
	}
	text, old := a[0].asText(), a[1].asText()
	if len(untilNul(old)) == 0 {
		return a[0]
	}
	with := a[2].asText()
	if extra := len(with) - len(old); extra > 0 {
		if count := strings.Count(text, old); count > (maximumPayload-len(text))/extra {
			return f.failSQL("string or blob too big")
		}
	}
	return textValue(strings.ReplaceAll(text, old, with))
}

func typeOf(_ *frame, a []value, _ collation) value {
	return textValue(typeNames[a[0].kind])
}

var typeNames = [...]string{"null", "integer", "real", "text", "blob"}

func unicodeOf(_ *frame, a []value, _ collation) value {
	text := a[0].asText()
	if len(text) == 0 || text[0] == 0 {
		return null
	}
	r, _ := utf8.DecodeRuneInString(text)
	return intValue(int64(r))
}

// substr is a port of SQLite's rules: positions count from 1, negative ones from the end, and a
// negative length takes the characters before the position.
func substr(_ *frame, a []value, _ collation) value {
	for _, v := range a {
		if v.kind == kindNull {
			return null
		}
	}
	isBlob := a[0].kind == kindBlob
	source := a[0].asText()
	if isBlob && len(source) == 0 { // SQLite takes the missing pointer for NULL
		return null
	}
	total := int64(len(source))
	begin := int64(int32(a[1].toInt())) // SQLite takes both as 32-bit integers
	if !isBlob && begin < 0 {
		source = untilNul(source)
		total = lengthOfText(source)
	}
	count := int64(maximumPayload)
	before := false
	if len(a) == 3 {
		if count = int64(int32(a[2].toInt())); count < 0 {
			before = true
			count = -count
		}
	}
	if begin < 0 {
		if begin += total; begin < 0 {
			count = max(count+begin, 0)
			begin = 0
		}
	} else if begin > 0 {
		begin--
	} else if count > 0 {
		count--
	}
	if before {
		if begin -= count; begin < 0 {
			count += begin
			begin = 0
		}
	}
	if isBlob {
		begin = min(begin, total)
		return blobValue(source[begin : begin+max(min(count, total-begin), 0)])
	}
	from := skipCharacters(source, 0, begin)
	return textValue(source[from:skipCharacters(source, from, count)])
}

// skipCharacters stops at a NUL, as SQLite does.
func skipCharacters(text string, p int, count int64) int {
	for ; count > 0 && p < len(text) && text[p] != 0; count-- {
		p = skipCharacter(text, p)
	}
	return p
}

// trim removes characters of a set (a space by default) from the ends.
func trim(_ *frame, a []value, left, right bool) value {
	if a[0].kind == kindNull || (len(a) == 2 && a[1].kind == kindNull) {
		return null
	}
	text, set := a[0].asText(), " "
	if len(a) == 2 {
		set = a[1].asText()
	}
	var characters []string
	for p := 0; p < len(set); {
		next := skipCharacter(set, p)
		characters = append(characters, set[p:next])
		p = next
	}
	for left && trimOne(&text, characters, strings.CutPrefix) {
	}
	for right && trimOne(&text, characters, strings.CutSuffix) {
	}
	return textValue(text)
}

func trimOne(text *string, characters []string, cut func(text, part string) (string, bool)) bool {
	for _, c := range characters {
		if rest, found := cut(*text, c); found && len(*text) > 0 {
			*text = rest
			return true
		}
	}
	return false
}

var powersOfTen = func() (powers [31]float64) {
	for i := range powers {
		powers[i], _ = strconv.ParseFloat("1e"+strconv.Itoa(i), 64)
	}
	return powers
}()

// round gives what SQLite 3.40 gives: it prints with a rounder that is a little more than half
// of the last digit, so that 2.675 becomes 2.68. Where the digits leave no doubt, the nearest
// multiple is the same; the rest is computed with SQLite's 64-bit mantissa.
func round(_ *frame, a []value, _ collation) value {
	digits := int64(0)
	if len(a) == 2 {
		if a[1].kind == kindNull {
			return null
		}
		digits = max(0, min(a[1].toInt(), 30))
	}
	if a[0].kind == kindNull {
		return null
	}
	r := a[0].toReal()
	if math.Abs(r) > 1<<52 || r != r {
		return realValue(r)
	}
	magnitude := math.Abs(r)
	if digits == 0 {
		return realValue(math.Copysign(float64(int64(magnitude+0.5)), r) + 0)
	}
	scaled := magnitude * powersOfTen[digits]
	if whole := math.Floor(scaled); scaled < 1e9 && digits <= 22 && math.Abs(scaled-whole-0.5) > 1e-6 {
		magnitude = math.Floor(scaled+0.5) / powersOfTen[digits]
	} else {
		magnitude = roundSlowly(magnitude, int(digits))
	}
	return realValue(math.Copysign(magnitude, r))
}

// roundSlowly follows sqlite3_mprintf("%!.*f") of SQLite 3.40 with an 80-bit long double.
func roundSlowly(magnitude float64, digits int) float64 {
	if magnitude == 0 {
		return 0
	}
	const mantissaBits = 64
	rounder := 0.5 / powersOfTen[digits]
	exponent := int(math.Float64bits(magnitude)>>52) - 1023
	if digits+exponent/3 < 15 {
		rounder += magnitude * 3e-16
	}
	sum := new(big.Float).SetPrec(mantissaBits).SetFloat64(magnitude)
	sum.Add(sum, new(big.Float).SetFloat64(rounder))
	sum.SetPrec(256).Mul(sum, new(big.Float).SetPrec(256).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)))
	whole, _ := sum.Int(nil)
	text := whole.String() + "e-" + strconv.Itoa(digits)
	f, _ := strconv.ParseFloat(text, 64) // cannot fail: digits and an exponent
	return f
}
