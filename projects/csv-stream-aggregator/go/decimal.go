package main

import (
	"encoding/binary"
	"math/bits"
)

// A decimal is mantissa x 10^-scale, with at most 18 digits and 0 <= scale <= 18.
type decimal struct {
	mantissa int64
	scale    uint8
}

const (
	maxDigits = 18
	maxScale  = 18
)

// numberStatus says what a field is: a number, nothing, or one of two ways to be wrong.
type numberStatus uint8

const (
	numberOK numberStatus = iota
	numberEmpty
	numberMalformed
	numberOutOfRange
)

// pow10 holds 10^0 .. 10^18; the last still fits an int64.
var pow10 = func() (table [maxScale + 1]uint64) {
	table[0] = 1
	for i := 1; i < len(table); i++ {
		table[i] = table[i-1] * 10
	}
	return table
}()

// bytesOf repeats one byte in all eight lanes of a word.
const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
	zeros    = '0' * lowBits
	dots     = '.' * lowBits
)

// parseDecimalAt parses window[start:end]. Up to eight characters go through one
// word; what that cannot decide goes to parseDecimal. The window must have eight
// readable bytes before end, which the reader's front padding guarantees.
func parseDecimalAt(window []byte, start, end int) (decimal, numberStatus) {
	negative := start < end && window[start] == '-'
	digitsStart := start
	if negative {
		digitsStart++
	}
	length := end - digitsStart
	if length < 1 || length > 8 || end < 8 {
		return parseDecimal(window[start:end])
	}
	// Right-align: the last character is the top byte, bytes before the field become '0'.
	word := binary.LittleEndian.Uint64(window[end-8:])
	shift := uint(8-length) * 8
	word = word>>shift<<shift | zeros&(1<<shift-1)

	var scale uint
	fromDots := word ^ dots
	if dot := (fromDots - lowBits) &^ fromDots & highBits; dot != 0 {
		if length == 1 {
			return decimal{}, numberMalformed
		}
		// Close the gap: what stands before the dot moves up by one character.
		at := uint(bits.TrailingZeros64(dot)) / 8
		scale = 7 - at
		before := word & (1<<(at*8) - 1)
		word = word&^(1<<(at*8+8)-1) | before<<8 | '0'
	}
	word ^= zeros
	if (word+0x76*lowBits|word)&highBits != 0 {
		return parseDecimal(window[start:end])
	}
	word = (word*10 + word>>8) & 0x00ff00ff00ff00ff
	word = (word*100 + word>>16) & 0x0000ffff0000ffff
	mantissa := int64((word*10000 + word>>32) & 0xffffffff)
	if negative {
		mantissa = -mantissa
	}
	return decimal{mantissa, uint8(scale)}, numberOK
}

// parseDecimal is the whole grammar: [+-]? (digits [. digits*] | . digits) ([eE][+-]?digits)?
func parseDecimal(text []byte) (decimal, numberStatus) {
	if len(text) == 0 {
		return decimal{}, numberEmpty
	}
	at := 0
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		at++
	}
	// A mantissa of more than 18 digits saturates: it can only end as out of range.
	var mantissa uint64
	digits, fraction := 0, 0
	seenDot, tooLong := false, false
	for ; at < len(text); at++ {
		char := text[at]
		if char == '.' && !seenDot {
			seenDot = true
			continue
		}
		if char < '0' || char > '9' {
			break
		}
		digits++
		if seenDot {
			fraction++
		}
		if mantissa >= pow10[maxDigits-1] {
			tooLong = true
			continue
		}
		mantissa = mantissa*10 + uint64(char-'0')
	}
	if digits == 0 {
		return decimal{}, numberMalformed
	}
	exponent, ok := parseExponent(text[at:])
	if !ok {
		return decimal{}, numberMalformed
	}
	scale := fraction - exponent
	if tooLong || scale > maxScale {
		return decimal{}, numberOutOfRange
	}
	if scale < 0 {
		if mantissa != 0 && (-scale > maxScale || mantissa > (pow10[maxDigits]-1)/pow10[-scale]) {
			return decimal{}, numberOutOfRange
		}
		if mantissa != 0 {
			mantissa *= pow10[-scale]
		}
		scale = 0
	}
	if negative {
		return decimal{-int64(mantissa), uint8(scale)}, numberOK
	}
	return decimal{int64(mantissa), uint8(scale)}, numberOK
}

// parseExponent reads what follows the mantissa: nothing, or e, a sign and digits to the end.
func parseExponent(text []byte) (exponent int, ok bool) {
	if len(text) == 0 {
		return 0, true
	}
	if text[0] != 'e' && text[0] != 'E' {
		return 0, false
	}
	text = text[1:]
	negative := len(text) > 0 && text[0] == '-'
	if negative || len(text) > 0 && text[0] == '+' {
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, false
	}
	for _, char := range text {
		if char < '0' || char > '9' {
			return 0, false
		}
		// Saturate far above any record's number of fraction digits.
		if exponent < 1<<40 {
			exponent = exponent*10 + int(char-'0')
		}
	}
	if negative {
		return -exponent, true
	}
	return exponent, true
}

// compare orders two decimals exactly, whatever their scales.
func (d decimal) compare(other decimal) int {
	left, right := int128From(d.mantissa), int128From(other.mantissa)
	if d.scale < other.scale {
		left, _ = left.scaleUp(other.scale - d.scale)
	} else if other.scale < d.scale {
		right, _ = right.scaleUp(d.scale - other.scale)
	}
	return left.compare(right)
}

// int128 is a two's complement 128-bit integer.
type int128 struct {
	hi int64
	lo uint64
}

func int128From(value int64) int128 { return int128{value >> 63, uint64(value)} }

func (a int128) compare(b int128) int {
	switch {
	case a == b:
		return 0
	case a.hi < b.hi || a.hi == b.hi && a.lo < b.lo:
		return -1
	}
	return 1
}

// add reports false when the sum leaves 128 bits.
func (a int128) add(b int128) (int128, bool) {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi := a.hi + b.hi + int64(carry)
	return int128{hi, lo}, (a.hi^hi)&(b.hi^hi) >= 0
}

// magnitude splits into sign and absolute value.
func (a int128) magnitude() (hi, lo uint64, negative bool) {
	if a.hi >= 0 {
		return uint64(a.hi), a.lo, false
	}
	lo, borrow := bits.Sub64(0, a.lo, 0)
	hi, _ = bits.Sub64(0, uint64(a.hi), borrow)
	return hi, lo, true
}

// scaleUp multiplies by 10^digits, digits <= 18; false when the product leaves 128 bits.
func (a int128) scaleUp(digits uint8) (int128, bool) {
	factor := pow10[digits]
	hi, lo, negative := a.magnitude()
	overflow, hiLow := bits.Mul64(hi, factor)
	carry, low := bits.Mul64(lo, factor)
	high, carried := bits.Add64(hiLow, carry, 0)
	if overflow != 0 || carried != 0 {
		return int128{}, false
	}
	if negative {
		low, borrow := bits.Sub64(0, low, 0)
		high, _ = bits.Sub64(0, high, borrow)
		return int128{int64(high), low}, int64(high) < 0 || high == 0 && low == 0
	}
	return int128{int64(high), low}, int64(high) >= 0
}

// divide gives quotient and remainder of hi:lo by divisor.
func divide(hi, lo, divisor uint64) (quotientHi, quotientLo, remainder uint64) {
	quotientHi, remainder = bits.Div64(0, hi, divisor)
	quotientLo, remainder = bits.Div64(remainder, lo, divisor)
	return quotientHi, quotientLo, remainder
}
