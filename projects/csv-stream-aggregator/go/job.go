package main

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// frontPadding lets the number parser read a word that ends at any field.
const frontPadding = chunkBytes

// byteOrderMark may stand at the start of the input.
const byteOrderMark = "\xef\xbb\xbf"

// job does the whole work once per run. What it keeps between runs is memory, not results.
type job struct {
	request *options
	source  source
	index   recordIndex
	table   *groupTable
	order   []uint32

	// buffer[position:filled] is text not yet consumed; chunkBytes of padding on both sides.
	buffer           []byte
	position, filled int
	atEnd            bool

	plan     *plan
	oneField []uint32 // field ends of a record from the exact parser
	values   []decimal
	present  []bool
	scratch  []byte
	key      []byte

	// linesBefore counts line feeds in front of linesFrom, an offset in buffer.
	linesBefore uint64
	linesFrom   int

	items, skipped uint64
}

func newJob(request *options) *job {
	return &job{
		request: request,
		table:   newGroupTable(request.maxGroups),
		buffer:  make([]byte, frontPadding+blockBytes+chunkBytes),
	}
}

// run is the measured work: from the raw input to the rendered answer.
func (j *job) run(out *answerWriter) error {
	defer j.source.close()
	j.position, j.filled, j.atEnd = frontPadding, frontPadding, false
	j.plan, j.items, j.skipped, j.linesBefore, j.linesFrom = nil, 0, 0, 0, frontPadding
	if err := j.source.open(j.request.inputPath, j.request.packed); err != nil {
		return err
	}
	if err := j.readHeader(); err != nil {
		return err
	}
	if err := j.readRecords(); err != nil {
		return err
	}
	j.order = j.table.sorted(len(j.plan.groupColumns), j.order)
	return renderAnswer(out, j.plan, j.table, j.order, j.request.asJSON)
}

// refill moves the rest of the text to the front and fills up behind it. A
// record that fills the whole buffer makes it grow, up to the longest record allowed.
func (j *job) refill() error {
	j.linesBefore += uint64(bytes.Count(j.buffer[j.linesFrom:j.position], []byte{'\n'}))
	j.linesFrom = frontPadding
	rest := j.filled - j.position
	if rest > j.request.maxRecordBytes+1 { // + 1: a CR that may belong to the line end
		return j.tooLong(j.position)
	}
	if rest > (len(j.buffer)-frontPadding-chunkBytes)/2 {
		grown := make([]byte, frontPadding+chunkBytes+2*(rest+blockBytes))
		copy(grown[frontPadding:], j.buffer[j.position:j.filled])
		j.buffer = grown
	} else {
		copy(j.buffer[frontPadding:], j.buffer[j.position:j.filled])
	}
	j.position, j.filled = frontPadding, frontPadding+rest
	free := j.buffer[j.filled : len(j.buffer)-chunkBytes]
	count, atEnd, err := j.source.read(free[:min(len(free), max(blockBytes-rest, rest))])
	j.filled += count
	j.atEnd = atEnd
	return err
}

// nextExact parses the record at position by the letter, reading on as needed.
// The record's text is in buffer until the next refill.
func (j *job) nextExact() (row record, next int, how outcome, err error) {
	for {
		text := j.buffer[j.position:j.filled]
		var length int
		j.oneField, length, how = exactRecord(text, j.atEnd, j.request.delimiter, j.oneField[:0])
		if how != needsMoreText {
			row = record{window: j.buffer, start: j.position, fieldEnds: j.oneField}
			for i := range row.fieldEnds {
				row.fieldEnds[i] += uint32(j.position)
			}
			return row, j.position + length, how, j.checkExact(&row, how)
		}
		if err = j.refill(); err != nil {
			return record{}, 0, how, err
		}
	}
}

// checkExact finds what no error policy can skip: records too long or without end.
func (j *job) checkExact(row *record, how outcome) error {
	end := j.filled
	if how != unterminatedQuote {
		end = int(row.fieldEnds[len(row.fieldEnds)-1])
	}
	if end-row.start > j.request.maxRecordBytes {
		return j.tooLong(row.start)
	}
	if how == unterminatedQuote {
		return j.lineError(row.start, "unterminated quote")
	}
	return nil
}

// readHeader skips the byte order mark and names the columns by the first
// record. Without a header that record only counts them, and is read again as data.
func (j *job) readHeader() error {
	if err := j.refill(); err != nil {
		return err
	}
	if bytes.HasPrefix(j.buffer[j.position:j.filled], []byte(byteOrderMark)) {
		j.position += len(byteOrderMark)
	}
	for {
		if j.position == j.filled && j.atEnd {
			return badRequest("%s: empty input: no header", j.inputName())
		}
		row, next, how, err := j.nextExact()
		if err != nil {
			return err
		}
		if isBlank(&row) {
			j.position = next
			continue
		}
		names, err := j.headerNames(&row, how)
		if err != nil {
			return err
		}
		if j.request.noHeader {
			return j.makePlan(numberedColumns(len(names)), row.start)
		}
		start := row.start
		j.position = next
		return j.makePlan(names, start)
	}
}

func isBlank(row *record) bool {
	return len(row.fieldEnds) == 1 && int(row.fieldEnds[0]) == row.start
}

func (j *job) headerNames(row *record, how outcome) ([]string, error) {
	if how == textAfterQuote {
		return nil, j.lineError(row.start, "text after closing quote")
	}
	if !utf8.Valid(j.buffer[row.start:row.fieldEnds[len(row.fieldEnds)-1]]) {
		return nil, j.lineError(row.start, "invalid UTF-8")
	}
	names := make([]string, len(row.fieldEnds))
	for column := range names {
		names[column] = string(row.field(column, &j.scratch))
	}
	return names, nil
}

func (j *job) makePlan(columnNames []string, headerStart int) error {
	resolved, err := newPlan(j.request, columnNames)
	if err != nil {
		return j.lineError(headerStart, "%s", err.Error())
	}
	j.plan = resolved
	j.values = make([]decimal, len(resolved.valueColumns))
	j.present = make([]bool, len(resolved.valueColumns))
	j.table.reset(len(resolved.valueColumns))
	return nil
}

// readRecords streams the records: most through the scan, the rest one by one.
func (j *job) readRecords() error {
	for {
		if err := j.scannedRecords(); err != nil {
			return err
		}
		if j.position == j.filled && j.atEnd {
			return nil
		}
		if !j.index.irregular && !j.atEnd {
			if err := j.refill(); err != nil {
				return err
			}
			continue
		}
		row, next, how, err := j.nextExact()
		if err != nil {
			return err
		}
		if err := j.take(&row, how, true); err != nil {
			return err
		}
		j.position = next
	}
}

// scannedRecords takes all records that the scan can delimit in the buffer.
func (j *job) scannedRecords() error {
	j.index.scan(j.buffer, j.position, j.filled, j.request.delimiter)
	suspect := j.index.hasHigh && !j.validText()
	row := record{window: j.buffer}
	first := uint32(0)
	for _, last := range j.index.recordEnds {
		row.start, row.fieldEnds = j.position, j.index.fieldEnds[first:last]
		first = last
		end := &row.fieldEnds[len(row.fieldEnds)-1]
		next := int(*end) + 1
		if int(*end) > row.start && j.buffer[*end-1] == '\r' {
			*end--
		}
		if err := j.take(&row, wellFormed, suspect); err != nil {
			return err
		}
		j.position = next
	}
	return nil
}

// validText checks the encoding of all scanned records at once. Records end in
// ASCII bytes, so together they are valid only if each one is.
func (j *job) validText() bool {
	records := j.index.recordEnds
	if len(records) == 0 {
		return true
	}
	end := j.index.fieldEnds[records[len(records)-1]-1]
	return utf8.Valid(j.buffer[j.position:end])
}

// take checks one record and adds it to its group. A suspect record may hold invalid UTF-8.
func (j *job) take(row *record, how outcome, suspect bool) error {
	end := int(row.fieldEnds[len(row.fieldEnds)-1])
	if end == row.start && len(row.fieldEnds) == 1 {
		return nil // an empty line is no record
	}
	if end-row.start > j.request.maxRecordBytes {
		return j.tooLong(row.start)
	}
	j.items++
	if how == textAfterQuote {
		return j.reject(row, func() string { return "text after closing quote" })
	}
	if len(row.fieldEnds) != len(j.plan.columnNames) {
		return j.reject(row, func() string {
			return fmt.Sprintf("%d fields, expected %d", len(row.fieldEnds), len(j.plan.columnNames))
		})
	}
	if suspect && !utf8.Valid(j.buffer[row.start:end]) {
		return j.reject(row, func() string { return "invalid UTF-8" })
	}
	return j.aggregate(row)
}

// aggregate filters a well-formed record and adds it to its group. All its
// numbers are read before anything is added: a bad row leaves no trace.
func (j *job) aggregate(row *record) error {
	for i := range j.plan.conditions {
		condition := &j.plan.conditions[i]
		holds, status := condition.holds(row, &j.scratch)
		if status != numberOK {
			return j.rejectNumber(row, condition.column, status)
		}
		if !holds {
			return nil
		}
	}
	for slot := range j.plan.valueColumns {
		status := j.readValue(row, slot)
		if status > numberEmpty {
			return j.rejectNumber(row, j.plan.valueColumns[slot].column, status)
		}
		j.present[slot] = status == numberOK
	}
	number, err := j.table.find(j.groupKey(row))
	if err != nil {
		return j.lineError(row.start, "%s", err.Error())
	}
	j.table.group(number).rows++
	states := j.table.states(number)
	for slot := range states {
		if !j.present[slot] {
			continue
		}
		column := &j.plan.valueColumns[slot]
		if err := states[slot].add(j.values[slot], column.needsBounds); err != nil {
			return j.sumError(row, number, column.column)
		}
	}
	return nil
}

func (j *job) readValue(row *record, slot int) (status numberStatus) {
	column := &j.plan.valueColumns[slot]
	if column.isNumeric {
		j.values[slot], status = row.number(column.column)
		return status
	}
	if len(row.field(column.column, &j.scratch)) == 0 {
		return numberEmpty
	}
	return numberOK
}

// groupKey is valid until the next record.
func (j *job) groupKey(row *record) []byte {
	columns := j.plan.groupColumns
	if len(columns) == 1 {
		return row.field(columns[0], &j.scratch)
	}
	key := j.key[:0]
	for i, column := range columns {
		key = appendKeyField(key, row.field(column, &j.scratch), i == len(columns)-1)
	}
	j.key = key
	return key
}

// reject counts a bad row, or fails with what is wrong with it.
func (j *job) reject(row *record, describe func() string) error {
	if j.request.skipBadRows {
		j.skipped++
		return nil
	}
	return j.lineError(row.start, "%s", describe())
}

func (j *job) rejectNumber(row *record, column int, status numberStatus) error {
	return j.reject(row, func() string {
		what := "not a number"
		if status == numberOutOfRange {
			what = "number out of range"
		}
		value := string(row.field(column, &j.scratch))
		return fmt.Sprintf("column %s: %s: %s", escape(j.plan.columnNames[column]), what, quoteValue(value))
	})
}

func (j *job) sumError(row *record, number, column int) error {
	fields := make([]string, 0, len(j.plan.groupColumns))
	key := j.table.key(j.table.group(number))
	for i := range j.plan.groupColumns {
		var field []byte
		field, key = nextKeyField(key, i == len(j.plan.groupColumns)-1)
		fields = append(fields, quoteValue(string(field)))
	}
	return j.lineError(row.start, "column %s: sum out of range in group %s",
		escape(j.plan.columnNames[column]), strings.Join(fields, ","))
}

func (j *job) tooLong(recordStart int) error {
	return j.lineError(recordStart, "record longer than %d bytes (--max-record-bytes)", j.request.maxRecordBytes)
}

// lineError names the file and the line on which the record at this offset starts.
func (j *job) lineError(recordStart int, format string, arguments ...any) error {
	line := j.linesBefore + uint64(bytes.Count(j.buffer[j.linesFrom:recordStart], []byte{'\n'})) + 1
	return badRequest("%s: line %d: %s", j.inputName(), line, fmt.Sprintf(format, arguments...))
}

func (j *job) inputName() string { return escape(j.request.inputPath) }
