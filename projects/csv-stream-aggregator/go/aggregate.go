package main

import (
	"errors"
	"fmt"
	"strings"
)

// columnState is what one group keeps of one aggregated column.
type columnState struct {
	sum   int128 // at scale
	count uint64 // values that are not empty
	// The smallest and largest value as written, each with its own scale, so that
	// a row costs one comparison of machine words.
	min, max           int64
	scale              uint8 // the largest seen in this group and column
	minScale, maxScale uint8
}

var errSumOutOfRange = errors.New("sum out of range")

// add takes one value in.
func (state *columnState) add(value decimal, withBounds bool) error {
	if withBounds {
		state.widen(value)
	}
	state.count++
	wide := int128From(value.mantissa)
	if value.scale != state.scale {
		var ok bool
		if wide, ok = state.rescale(value); !ok {
			return errSumOutOfRange
		}
	}
	sum, ok := state.sum.add(wide)
	if !ok {
		return errSumOutOfRange
	}
	state.sum = sum
	return nil
}

// rescale brings the value and the sum to the larger of their scales.
func (state *columnState) rescale(value decimal) (wide int128, ok bool) {
	wide = int128From(value.mantissa)
	if value.scale < state.scale {
		return wide.scaleUp(state.scale - value.scale)
	}
	state.sum, ok = state.sum.scaleUp(value.scale - state.scale)
	state.scale = value.scale
	return wide, ok
}

// widen moves the bounds. Equal scales compare as integers.
func (state *columnState) widen(value decimal) {
	first := state.count == 0
	if first || decimalLess(value, decimal{state.min, state.minScale}) {
		state.min, state.minScale = value.mantissa, value.scale
	}
	if first || decimalLess(decimal{state.max, state.maxScale}, value) {
		state.max, state.maxScale = value.mantissa, value.scale
	}
}

func decimalLess(left, right decimal) bool {
	if left.scale == right.scale {
		return left.mantissa < right.mantissa
	}
	return left.compare(right) < 0
}

// bound is a minimum or maximum at the group's scale; 18 digits scaled by 10^18 fit.
func (state *columnState) bound(mantissa int64, scale uint8) int128 {
	wide, _ := int128From(mantissa).scaleUp(state.scale - scale)
	return wide
}

// aggregator filters rows and adds them to their groups.
type aggregator struct {
	plan    *plan
	table   *groupTable
	values  []decimal
	present []bool
	key     []byte
	scratch []byte
}

func newAggregator(maxGroups int) *aggregator {
	return &aggregator{table: newGroupTable(maxGroups)}
}

// reset starts over with a plan.
func (a *aggregator) reset(resolved *plan) {
	a.plan = resolved
	a.values = make([]decimal, len(resolved.valueColumns))
	a.present = make([]bool, len(resolved.valueColumns))
	a.table.reset(len(resolved.valueColumns))
}

// add takes one row in. All its numbers are read before anything is added: a bad
// row leaves no trace. A status other than numberOK names what is wrong with a
// column; an error is what no policy can skip.
func (a *aggregator) add(row *record) (column int, status numberStatus, err error) {
	for i := range a.plan.conditions {
		condition := &a.plan.conditions[i]
		holds, status := condition.holds(row, &a.scratch)
		if status != numberOK || !holds {
			return condition.column, status, nil
		}
	}
	columns := a.plan.valueColumns
	for slot := range columns {
		status := a.readValue(row, slot)
		if status > numberEmpty {
			return columns[slot].column, status, nil
		}
		a.present[slot] = status == numberOK
	}
	number, err := a.table.find(a.groupKey(row))
	if err != nil {
		return 0, numberOK, err
	}
	states := a.table.addRow(number)
	for slot := range states {
		if !a.present[slot] {
			continue
		}
		if err := states[slot].add(a.values[slot], columns[slot].needsBounds); err != nil {
			return 0, numberOK, a.sumError(number, columns[slot].column)
		}
	}
	return 0, numberOK, nil
}

// readValue reads a field; one that is only counted need not be a number.
func (a *aggregator) readValue(row *record, slot int) (status numberStatus) {
	column := &a.plan.valueColumns[slot]
	if column.isNumeric {
		a.values[slot], status = row.number(column.column)
		return status
	}
	if len(row.field(column.column, &a.scratch)) == 0 {
		return numberEmpty
	}
	return numberOK
}

// groupKey is valid until the next row.
func (a *aggregator) groupKey(row *record) []byte {
	columns := a.plan.groupColumns
	if len(columns) == 1 {
		return row.field(columns[0], &a.scratch)
	}
	key := a.key[:0]
	for i, column := range columns {
		key = appendKeyField(key, row.field(column, &a.scratch), i == len(columns)-1)
	}
	a.key = key
	return key
}

func (a *aggregator) sumError(number, column int) error {
	fields := make([]string, 0, len(a.plan.groupColumns))
	key := a.table.key(a.table.group(number))
	for i := range a.plan.groupColumns {
		var field []byte
		field, key = nextKeyField(key, i == len(a.plan.groupColumns)-1)
		fields = append(fields, quoteValue(string(field)))
	}
	name := escape(a.plan.columnNames[column])
	return fmt.Errorf("column %s: %w in group %s", name, errSumOutOfRange, strings.Join(fields, ","))
}
