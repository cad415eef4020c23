package main

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// parseInteger reads a 64-bit integer in the only form Redis prints it: no
// spaces, no +, no leading zeros, no -0.
func parseInteger(text []byte) (int64, bool) {
	digits := text
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		digits = text[1:]
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, false
	}
	if digits[0] == '0' {
		return 0, len(text) == 1
	}
	value := uint64(0)
	for _, digit := range digits {
		if digit -= '0'; digit > 9 {
			return 0, false
		}
		value = value*10 + uint64(digit)
	}
	if negative {
		return -int64(value), value <= 1<<63
	}
	return int64(value), value < 1<<63
}

// parseDouble reads what C's strtod reads in full, without NaN, spaces, and
// values that a double cannot hold.
func parseDouble(text []byte) (float64, bool) {
	form, ok := cNumber(text)
	if !ok {
		return 0, false
	}
	value, err := strconv.ParseFloat(form, 64)
	if err != nil || value == 0 && hasNonZeroDigit(form) {
		return 0, false
	}
	return value, true
}

// cNumber checks the grammar of C and returns the number as Go writes it.
func cNumber(text []byte) (string, bool) {
	form := strings.ToLower(string(text))
	body := strings.TrimLeft(form, "+-")
	if len(form)-len(body) > 1 {
		return "", false
	}
	if body == "inf" || body == "infinity" {
		return form, true
	}
	if hex, isHex := strings.CutPrefix(body, "0x"); isHex {
		mantissa, exponent, hasExponent := strings.Cut(hex, "p")
		if !isMantissa(mantissa, "0123456789abcdef") || hasExponent && !isExponent(exponent) {
			return "", false
		}
		if !hasExponent {
			form += "p0"
		}
		return form, true
	}
	mantissa, exponent, hasExponent := strings.Cut(body, "e")
	return form, isMantissa(mantissa, "0123456789") && (!hasExponent || isExponent(exponent))
}

func isMantissa(text, digits string) bool {
	whole, fraction, _ := strings.Cut(text, ".")
	return whole+fraction != "" && strings.Trim(whole, digits) == "" && strings.Trim(fraction, digits) == ""
}

func isExponent(text string) bool {
	if text != "" && (text[0] == '+' || text[0] == '-') {
		text = text[1:]
	}
	return text != "" && strings.Trim(text, "0123456789") == ""
}

func hasNonZeroDigit(form string) bool {
	mantissa, isHex := strings.CutPrefix(strings.TrimLeft(form, "+-"), "0x")
	if isHex {
		mantissa, _, _ = strings.Cut(mantissa, "p")
		return strings.Trim(mantissa, "0.") != ""
	}
	mantissa, _, _ = strings.Cut(mantissa, "e")
	return strings.Trim(mantissa, "0.") != ""
}

// appendDouble prints like %.17g of C; infinities are inf and -inf.
func appendDouble(out []byte, value float64) []byte {
	if math.IsInf(value, 0) {
		if value > 0 {
			return append(out, "inf"...)
		}
		return append(out, "-inf"...)
	}
	if value == math.Trunc(value) && math.Abs(value) < 1<<53 && !(value == 0 && math.Signbit(value)) {
		return strconv.AppendInt(out, int64(value), 10)
	}
	return strconv.AppendFloat(out, value, 'g', 17, 64)
}

// The long double of x86-64 that Redis adds decimals with: 64 bits of mantissa.
const (
	longDoubleBits        = 64
	longDoubleMaxExponent = 16384
	longDoubleMinExponent = -16445
	longDoubleMaxText     = 5 * 1024
	readingBits           = 4 * longDoubleBits // enough that rounding twice is rounding once
)

// parseLongDouble reads what C's strtold reads in full, without NaN and spaces.
func parseLongDouble(text []byte) (*big.Float, bool) {
	if len(text) >= longDoubleMaxText {
		return nil, false
	}
	if whole, ok := parseInteger(text); ok {
		return new(big.Float).SetPrec(longDoubleBits).SetInt64(whole), true
	}
	form, ok := cNumber(text)
	if !ok {
		return nil, false
	}
	if strings.Contains(form, "inf") {
		return new(big.Float).SetInf(form[0] == '-'), true
	}
	base := 10
	if strings.Contains(form, "x") {
		base = 0
	}
	value, _, err := big.ParseFloat(form, base, readingBits, big.ToNearestEven)
	if err != nil || value.IsInf() || value.Sign() == 0 && hasNonZeroDigit(form) {
		return nil, false
	}
	value.SetPrec(longDoubleBits)
	exponent := value.MantExp(nil)
	return value, value.Sign() == 0 || exponent <= longDoubleMaxExponent && exponent >= longDoubleMinExponent
}

// addLongDouble is false if the sum is not a finite number.
func addLongDouble(a, b *big.Float) (*big.Float, bool) {
	if a.IsInf() || b.IsInf() {
		return nil, false
	}
	sum := new(big.Float).SetPrec(longDoubleBits).Add(a, b)
	return sum, sum.MantExp(nil) <= longDoubleMaxExponent
}

// appendLongDouble prints like %.17Lf without zeros at the end.
func appendLongDouble(out []byte, value *big.Float) []byte {
	text := value.Append(nil, 'f', 17)
	text = bytes.TrimRight(text, "0")
	text = bytes.TrimSuffix(text, []byte("."))
	if string(text) == "-0" {
		text = text[1:]
	}
	return append(out, text...)
}

// parseMemory reads bytes with a unit: k, m, g of 1000s, kb, mb, gb of 1024s. No digits are 0, as in Redis.
func parseMemory(text string) (int64, bool) {
	lower := strings.ToLower(text)
	digits := strings.TrimRight(lower, "bkmg")
	factor, known := memoryUnits[lower[len(digits):]]
	if digits == "" {
		return 0, known
	}
	value, err := strconv.ParseUint(digits, 10, 63)
	if !known || err != nil || int64(value) > math.MaxInt64/factor {
		return 0, false
	}
	return int64(value) * factor, true
}

var memoryUnits = map[string]int64{
	"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000_000, "mb": 1 << 20, "g": 1000_000_000, "gb": 1 << 30,
}

// equalFold compares an argument to a word in capitals.
func equalFold(argument []byte, word string) bool {
	if len(argument) != len(word) {
		return false
	}
	for i, char := range argument {
		if 'a' <= char && char <= 'z' {
			char -= 'a' - 'A'
		}
		if char != word[i] {
			return false
		}
	}
	return true
}

// cText ends at the first zero byte, as texts do in C: Redis prints arguments that way.
func cText(text []byte) []byte {
	if end := bytes.IndexByte(text, 0); end >= 0 {
		return text[:end]
	}
	return text
}
