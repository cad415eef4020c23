package main

import (
	"fmt"
	"unicode/utf8"
)

// job does the whole work once per run. What it keeps between runs is memory, not results.
type job struct {
	request    *options
	window     *window
	index      recordIndex
	exactEnds  []uint32 // field ends of a record from the exact parser
	aggregator *aggregator
	order      []uint32

	items, skipped uint64 // of the last run
}

func newJob(request *options) *job {
	return &job{request: request, window: newWindow(request), aggregator: newAggregator(request.maxGroups)}
}

// run is the measured work: from the raw input to the rendered answer.
func (j *job) run(out *answerWriter) error {
	defer j.window.source.close()
	j.items, j.skipped = 0, 0
	if err := j.window.open(j.request.packed); err != nil {
		return err
	}
	if err := j.readHeader(); err != nil {
		return err
	}
	if err := j.readRecords(); err != nil {
		return err
	}
	plan, table := j.aggregator.plan, j.aggregator.table
	j.order = table.sorted(len(plan.groupColumns), j.order)
	return renderAnswer(out, plan, table, j.order, j.request.asJSON)
}

// readHeader names the columns by the first record. Without a header that record
// only counts them, and is read again as data.
func (j *job) readHeader() error {
	for {
		if j.window.isConsumed() {
			return j.window.inputError("empty input: no header")
		}
		row, next, how, err := j.nextExact()
		if err != nil {
			return err
		}
		if row.isBlank() {
			j.window.consume(next, unknownLines)
			continue
		}
		names, err := j.headerNames(&row, how)
		if err != nil {
			return err
		}
		if j.request.noHeader {
			names, next = numberedColumns(len(names)), row.start
		}
		resolved, err := newPlan(j.request, names)
		if err != nil {
			return j.window.lineError(row.start, "%s", err)
		}
		j.aggregator.reset(resolved)
		j.window.consume(next, unknownLines)
		return nil
	}
}

// headerNames makes sure that the header is sound, whatever the error policy.
func (j *job) headerNames(row *record, how outcome) ([]string, error) {
	switch {
	case row.end()-row.start > j.request.maxRecordBytes:
		return nil, j.window.tooLong(row.start)
	case how == textAfterQuote:
		return nil, j.window.lineError(row.start, "text after closing quote")
	case !utf8.Valid(row.text()):
		return nil, j.window.lineError(row.start, "invalid UTF-8")
	}
	names := make([]string, len(row.fieldEnds))
	var scratch []byte
	for column := range names {
		names[column] = string(row.field(column, &scratch))
	}
	return names, nil
}

// nextExact delimits the next record by the letter.
func (j *job) nextExact() (row record, next int, how outcome, err error) {
	j.exactEnds, next, how, err = j.window.nextExact(j.request.delimiter, j.exactEnds)
	return record{j.window.buffer, j.window.position, j.exactEnds}, next, how, err
}

// readRecords streams the records: most through the scan, the rest one by one.
func (j *job) readRecords() (err error) {
	for {
		if err := j.takeScanned(); err != nil {
			return err
		}
		if j.window.isConsumed() {
			return nil
		}
		if j.index.irregular || j.window.atEnd {
			err = j.takeExact()
		} else {
			err = j.window.refill()
		}
		if err != nil {
			return err
		}
	}
}

// takeScanned takes all records that the scan can delimit in the window.
func (j *job) takeScanned() error {
	buffer, start := j.window.buffer, j.window.position
	j.index.scan(buffer, start, j.window.filled, j.request.delimiter)
	recordEnds, fieldEnds := j.index.recordEnds, j.index.fieldEnds
	if len(recordEnds) == 0 {
		return nil
	}
	// Records end in ASCII bytes: together they are valid UTF-8 only if each one is.
	end := fieldEnds[recordEnds[len(recordEnds)-1]-1]
	suspect := j.index.hasHigh && !utf8.Valid(buffer[start:end])
	row := record{buffer: buffer, start: start}
	first := uint32(0)
	for _, last := range recordEnds {
		row.fieldEnds = fieldEnds[first:last]
		first = last
		end := &row.fieldEnds[len(row.fieldEnds)-1]
		next := int(*end) + 1
		if next-1 > row.start && buffer[next-2] == '\r' {
			*end--
		}
		if err := j.take(&row, wellFormed, suspect); err != nil {
			return err
		}
		row.start = next
	}
	if err := j.flush(); err != nil {
		return err
	}
	// Without quotes each line is a record, or blank: the scan has counted them.
	lines := unknownLines
	if !j.index.hasQuote {
		lines = len(recordEnds)
	}
	j.window.consume(row.start, lines)
	return nil
}

// takeExact takes one record by the letter.
func (j *job) takeExact() error {
	row, next, how, err := j.nextExact()
	if err == nil {
		err = j.take(&row, how, true)
	}
	if err == nil {
		err = j.flush()
	}
	if err == nil {
		j.window.consume(next, unknownLines)
	}
	return err
}

// take checks one record, counts it, and passes it on. A suspect one may hold invalid UTF-8.
func (j *job) take(row *record, how outcome, suspect bool) error {
	if row.isBlank() {
		return nil
	}
	if row.end()-row.start > j.request.maxRecordBytes {
		if err := j.flush(); err != nil {
			return err
		}
		return j.window.tooLong(row.start)
	}
	j.items++
	if how == textAfterQuote {
		return j.reject(row, func() string { return "text after closing quote" })
	}
	if found, expected := len(row.fieldEnds), len(j.aggregator.plan.columnNames); found != expected {
		return j.reject(row, func() string { return fmt.Sprintf("%d fields, expected %d", found, expected) })
	}
	if suspect && !utf8.Valid(row.text()) {
		return j.reject(row, func() string { return "invalid UTF-8" })
	}
	isFull, column, status := j.aggregator.add(row)
	if status != numberOK {
		return j.reject(row, func() string { return j.numberProblem(row, column, status) })
	}
	if isFull {
		return j.flush()
	}
	return nil
}

// flush brings the rows that wait into their groups. It must come before the text moves.
func (j *job) flush() error {
	if recordStart, err := j.aggregator.flush(); err != nil {
		return j.window.lineError(recordStart, "%s", err)
	}
	return nil
}

// reject counts a bad row, or fails with what is wrong with it.
func (j *job) reject(row *record, describe func() string) error {
	if j.request.skipBadRows {
		j.skipped++
		return nil
	}
	if err := j.flush(); err != nil {
		return err // what is wrong with an earlier row comes first
	}
	return j.window.lineError(row.start, "%s", describe())
}

func (j *job) numberProblem(row *record, column int, status numberStatus) string {
	what := "not a number"
	if status == numberOutOfRange {
		what = "number out of range"
	}
	var scratch []byte
	value := quoteValue(string(row.field(column, &scratch)))
	return fmt.Sprintf("column %s: %s: %s", escape(j.aggregator.plan.columnNames[column]), what, value)
}
