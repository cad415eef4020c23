package main

import (
	"encoding/binary"
	"math"
	"strings"
)

// The kernels below are the innermost loops of a filter: a column of the current record against
// a constant, straight from the record's bytes. What they do not know goes to the general test.

// numberTest compares a field with a number.
func numberTest(field int, wanted outcomes, constant value, general testFunc) testFunc {
	limit := constant.toReal()
	less, equal, greater := wanted.holds(-1), wanted.holds(0), wanted.holds(1)
	limitIsInt := constant.kind == kindInt
	intLimit := constant.int()
	// An integer limit that a real holds exactly can be compared with reals as a real.
	exact := !limitIsInt || (intLimit > -1<<53 && intLimit < 1<<53)
	return func(f *frame) truth {
		serial, content, ok := f.field(field)
		if !ok {
			return general(f)
		}
		switch {
		case serial == serialReal:
			v := math.Float64frombits(binary.BigEndian.Uint64(content))
			switch {
			case !exact || v != v:
				return general(f)
			case v < limit:
				return less
			case v > limit:
				return greater
			}
			return equal
		case serial == serialNull:
			return isNull
		case serial <= serialOne:
			v := decodeInt(serial, content)
			if !limitIsInt {
				return wanted.holds(compareIntReal(v, limit))
			}
			switch {
			case v < intLimit:
				return less
			case v > intLimit:
				return greater
			}
			return equal
		}
		return general(f)
	}
}

// textTest compares a field with a text, in the BINARY collation.
func textTest(field int, wanted outcomes, constant string, general testFunc) testFunc {
	onlyEquality := wanted == outcomesOf(opEqual) || wanted == outcomesOf(opNotEqual)
	ifEqual, ifNot := wanted.holds(0), wanted.holds(1)
	return func(f *frame) truth {
		serial, content, ok := f.field(field)
		switch {
		case !ok:
			return general(f)
		case serial == serialNull:
			return isNull
		case serial < serialBlob || serial&1 == 0:
			return general(f)
		case onlyEquality:
			if borrow(content) == constant {
				return ifEqual
			}
			return ifNot
		}
		return wanted.holds(strings.Compare(borrow(content), constant))
	}
}
