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

// batchRows is how many rows wait until their groups are looked up side by side.
const batchRows = 16

// aggregator filters rows and adds them to their groups.
type aggregator struct {
	plan    *plan
	table   *groupTable
	batch   batch
	scratch []byte
}

// batch holds rows that passed all checks, with their keys and values behind each other.
type batch struct {
	count     int
	rows      [batchRows]batchRow
	probes    [batchRows]probe
	promising [batchRows]bool
	keys      []byte
	values    []batchValue // of each row as many as there are columns
}

type batchRow struct {
	start            int // of the record, for messages
	keyStart, keyEnd int
}

type batchValue struct {
	decimal
	isPresent bool
}

func (b *batch) key(row *batchRow) []byte { return b.keys[row.keyStart:row.keyEnd] }

func (b *batch) clear() { b.count, b.keys = 0, b.keys[:0] }

func newAggregator(maxGroups int) *aggregator {
	return &aggregator{table: newGroupTable(maxGroups)}
}

// reset starts over with a plan.
func (a *aggregator) reset(resolved *plan) {
	a.plan = resolved
	a.batch.clear()
	a.batch.values = make([]batchValue, batchRows*len(resolved.valueColumns))
	a.table.reset(len(resolved.valueColumns))
}

// add takes one row into the batch. All its numbers are read before that: a bad
// row leaves no trace. A status other than numberOK says what is wrong with a
// column. When the batch is full it must be flushed.
func (a *aggregator) add(row *record) (isFull bool, column int, status numberStatus) {
	for i := range a.plan.conditions {
		condition := &a.plan.conditions[i]
		holds, status := condition.holds(row, &a.scratch)
		if status != numberOK || !holds {
			return false, condition.column, status
		}
	}
	b := &a.batch
	columns := a.plan.valueColumns
	values := b.values[b.count*len(columns):][:len(columns)]
	for slot := range values {
		status := a.readValue(&values[slot], row, &columns[slot])
		if status > numberEmpty {
			return false, columns[slot].column, status
		}
		values[slot].isPresent = status == numberOK
	}
	keyStart := len(b.keys)
	b.keys = appendKey(b.keys, row, a.plan.groupColumns, &a.scratch)
	b.rows[b.count] = batchRow{row.start, keyStart, len(b.keys)}
	b.count++
	return b.count == batchRows, 0, numberOK
}

// readValue reads a field; one that is only counted need not be a number.
func (a *aggregator) readValue(value *batchValue, row *record, column *valueColumn) (status numberStatus) {
	if column.isNumeric {
		value.decimal, status = row.number(column.column)
		return status
	}
	if len(row.field(column.column, &a.scratch)) == 0 {
		return numberEmpty
	}
	return numberOK
}

// flush adds all rows of the batch to their groups, in their order. An error is
// what no policy can skip; it comes with the place where the record starts.
func (a *aggregator) flush() (recordStart int, err error) {
	b := &a.batch
	rows := b.rows[:b.count]
	for i := range rows {
		a.table.start(&b.probes[i], b.key(&rows[i]))
	}
	for i := range rows {
		b.promising[i] = a.table.isPromising(&b.probes[i])
	}
	for i := range rows {
		number, err := a.table.finish(&b.probes[i], b.key(&rows[i]), b.promising[i])
		if err == nil {
			err = a.addValues(i, number)
		}
		if err != nil {
			return rows[i].start, err
		}
	}
	b.clear()
	return 0, nil
}

// addValues adds the values of one row of the batch to its group.
func (a *aggregator) addValues(row, number int) error {
	columns := a.plan.valueColumns
	values := a.batch.values[row*len(columns):][:len(columns)]
	states := a.table.addRow(number)
	for slot := range states {
		if !values[slot].isPresent {
			continue
		}
		if err := states[slot].add(values[slot].decimal, columns[slot].needsBounds); err != nil {
			return a.sumError(number, columns[slot].column)
		}
	}
	return nil
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
