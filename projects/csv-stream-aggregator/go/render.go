package main

import (
	"bytes"
	"math/bits"
	"strconv"
)

// meanExtraDigits is how many fraction digits a mean has beyond its column.
const meanExtraDigits = 6

// renderAnswer writes all groups in canonical order.
func renderAnswer(out *answerWriter, plan *plan, table *groupTable, order []uint32, asJSON bool) error {
	r := renderer{plan: plan, asJSON: asJSON}
	if !asJSON {
		r.header()
	}
	for _, number := range order {
		if len(r.line) >= answerBlockBytes {
			if err := out.write(r.line); err != nil {
				return err
			}
			r.line = r.line[:0]
		}
		r.group(table, int(number))
	}
	return out.write(r.line)
}

type renderer struct {
	plan   *plan
	asJSON bool
	line   []byte
	digits []byte
}

func (r *renderer) header() {
	names := r.plan.outputNames
	for i, name := range names {
		r.csvSeparator(i)
		r.line = appendCSVField(r.line, []byte(name), len(names) == 1)
	}
	r.line = append(r.line, '\n')
}

func (r *renderer) csvSeparator(position int) {
	if position > 0 {
		r.line = append(r.line, ',')
	}
}

// group writes one line: the key's fields, then the aggregates.
func (r *renderer) group(table *groupTable, number int) {
	g, states := table.group(number), table.states(number)
	key := table.key(g)
	keyColumns := len(r.plan.groupColumns)
	onlyColumn := keyColumns+len(r.plan.aggregates) == 1
	if r.asJSON {
		r.line = append(r.line, '{')
	}
	for column := range keyColumns {
		var field []byte
		field, key = nextKeyField(key, column == keyColumns-1)
		r.name(column)
		if r.asJSON {
			r.line = appendJSONString(r.line, field)
		} else {
			r.line = appendCSVField(r.line, field, onlyColumn)
		}
	}
	for i, aggregate := range r.plan.aggregates {
		r.name(keyColumns + i)
		r.aggregate(aggregate, g.rows, states, onlyColumn)
	}
	if r.asJSON {
		r.line = append(r.line, '}')
	}
	r.line = append(r.line, '\n')
}

// name writes what stands in front of a value: a comma, and in JSON the name.
func (r *renderer) name(position int) {
	r.csvSeparator(position)
	if r.asJSON {
		r.line = appendJSONString(r.line, []byte(r.plan.outputNames[position]))
		r.line = append(r.line, ':')
	}
}

func (r *renderer) aggregate(a plannedAggregate, rows uint64, states []columnState, onlyColumn bool) {
	if a.function == countRows {
		r.line = strconv.AppendUint(r.line, rows, 10)
		return
	}
	state := &states[a.slot]
	if a.function == countValues {
		r.line = strconv.AppendUint(r.line, state.count, 10)
		return
	}
	if state.count == 0 {
		switch {
		case r.asJSON:
			r.line = append(r.line, "null"...)
		case onlyColumn:
			r.line = append(r.line, `""`...)
		}
		return
	}
	switch a.function {
	case sumOf:
		r.decimal(state.sum, state.scale)
	case minOf:
		r.decimal(state.bound(state.min, state.minScale), state.scale)
	case maxOf:
		r.decimal(state.bound(state.max, state.maxScale), state.scale)
	case meanOf:
		r.mean(state)
	}
}

func (r *renderer) decimal(value int128, scale uint8) {
	hi, lo, negative := value.magnitude()
	r.digits = appendMagnitude(r.digits[:0], hi, lo)
	r.line = appendScaled(r.line, r.digits, int(scale), negative)
}

// mean is sum / count, rounded half to even. The quotient is made in two parts,
// whole units of the scale and six digits below, because sum x 10^6 may not fit.
func (r *renderer) mean(state *columnState) {
	hi, lo, negative := state.sum.magnitude()
	hi, lo, rest := divide(hi, lo, state.count)
	partHi, partLo := bits.Mul64(rest, pow10[meanExtraDigits])
	_, below, left := divide(partHi, partLo, state.count)
	// left < count < 2^63, so doubling does not overflow.
	if twice := left * 2; twice > state.count || twice == state.count && below%2 == 1 {
		below++
	}
	if below == pow10[meanExtraDigits] {
		var carry uint64
		below = 0
		lo, carry = bits.Add64(lo, 1, 0)
		hi += carry
	}
	r.digits = appendMagnitude(r.digits[:0], hi, lo)
	// 10^6 in front keeps the leading zeros; its 1 is cut off.
	tail := len(r.digits)
	r.digits = strconv.AppendUint(r.digits, pow10[meanExtraDigits]+below, 10)
	r.digits = append(r.digits[:tail], r.digits[tail+1:]...)
	r.line = appendScaled(r.line, r.digits, int(state.scale)+meanExtraDigits, negative)
}

// appendMagnitude writes hi:lo in decimal.
func appendMagnitude(out []byte, hi, lo uint64) []byte {
	if hi == 0 {
		return strconv.AppendUint(out, lo, 10)
	}
	const unit = 10_000_000_000_000_000_000 // 10^19: a 128-bit value has at most 39 digits
	hi, lo, low := divide(hi, lo, unit)
	out = appendMagnitude(out, hi, lo)
	digits := strconv.FormatUint(low, 10)
	for range 19 - len(digits) {
		out = append(out, '0')
	}
	return append(out, digits...)
}

// appendScaled puts the point in front of the last scale digits. Zero has no sign.
func appendScaled(out, digits []byte, scale int, negative bool) []byte {
	digits = bytes.TrimLeft(digits, "0")
	if negative && len(digits) > 0 {
		out = append(out, '-')
	}
	whole := len(digits) - scale
	if whole <= 0 {
		out = append(out, '0')
	} else {
		out = append(out, digits[:whole]...)
	}
	if scale == 0 {
		return out
	}
	out = append(out, '.')
	for ; whole < 0; whole++ {
		out = append(out, '0')
	}
	return append(out, digits[whole:]...)
}

// appendCSVField quotes only what must be quoted.
func appendCSVField(out, field []byte, onlyColumn bool) []byte {
	if len(field) == 0 && onlyColumn {
		return append(out, `""`...)
	}
	if bytes.IndexAny(field, ",\"\r\n") < 0 {
		return append(out, field...)
	}
	out = append(out, '"')
	for _, char := range field {
		if char == '"' {
			out = append(out, '"')
		}
		out = append(out, char)
	}
	return append(out, '"')
}

const hexDigits = "0123456789abcdef"

// appendJSONString writes valid UTF-8 as a JSON string.
func appendJSONString(out, text []byte) []byte {
	out = append(out, '"')
	for _, char := range text {
		switch {
		case char == '"' || char == '\\':
			out = append(out, '\\', char)
		case char == '\n':
			out = append(out, `\n`...)
		case char == '\r':
			out = append(out, `\r`...)
		case char == '\t':
			out = append(out, `\t`...)
		case char == '\b':
			out = append(out, `\b`...)
		case char == '\f':
			out = append(out, `\f`...)
		case char < 0x20:
			out = append(out, `\u00`...)
			out = append(out, hexDigits[char>>4], hexDigits[char&15])
		default:
			out = append(out, char)
		}
	}
	return append(out, '"')
}
