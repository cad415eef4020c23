package main

import "bytes"

const (
	// blockBytes is the size of one read.
	blockBytes = 256 << 10
	// frontPadding lets the number parser read a word that ends at any field.
	frontPadding = chunkBytes
)

// byteOrderMark may stand at the start of the input.
const byteOrderMark = "\xef\xbb\xbf"

// window is the stretch of text that is in memory, and where in the file it
// lies. buffer[position:filled] is not yet consumed; there is padding of
// chunkBytes on both sides.
type window struct {
	buffer           []byte
	position, filled int
	atEnd            bool
	source           source
	path             string
	maxRecordBytes   int
	// linesBefore counts the line feeds in front of buffer[linesFrom].
	linesBefore uint64
	linesFrom   int
}

func newWindow(request *options) *window {
	return &window{
		buffer:         make([]byte, frontPadding+blockBytes+chunkBytes),
		path:           request.inputPath,
		maxRecordBytes: request.maxRecordBytes,
	}
}

// open starts at the first byte of the file, behind a byte order mark.
func (w *window) open(packed compression) error {
	if err := w.source.open(w.path, packed); err != nil {
		return err
	}
	w.position, w.filled, w.linesFrom, w.linesBefore = frontPadding, frontPadding, frontPadding, 0
	if err := w.refill(); err != nil {
		return err
	}
	if bytes.HasPrefix(w.text(), []byte(byteOrderMark)) {
		w.position += len(byteOrderMark)
	}
	return nil
}

func (w *window) text() []byte { return w.buffer[w.position:w.filled] }

func (w *window) isConsumed() bool { return w.atEnd && w.position == w.filled }

// refill moves the rest of the text to the front and fills up behind it. A
// record that fills the whole buffer makes it grow, up to the longest one allowed.
func (w *window) refill() error {
	w.linesBefore += countLines(w.buffer[w.linesFrom:w.position])
	w.linesFrom = w.position
	rest := w.filled - w.position
	if rest > w.maxRecordBytes+1 { // + 1: a CR that may belong to the line end
		return w.tooLong(w.position)
	}
	moved := w.buffer
	if rest > (len(w.buffer)-frontPadding-chunkBytes)/2 {
		moved = make([]byte, frontPadding+2*(rest+blockBytes)+chunkBytes)
	}
	copy(moved[frontPadding:], w.text())
	w.buffer = moved
	w.position, w.linesFrom, w.filled = frontPadding, frontPadding, frontPadding+rest
	// At least as much again as there is: what is scanned twice stays in proportion.
	wanted := max(blockBytes-rest, rest)
	count, atEnd, err := w.source.read(w.buffer[w.filled : w.filled+wanted])
	w.filled += count
	w.atEnd = atEnd
	return err
}

// nextExact delimits the record at position by the letter, reading on as
// needed. It says where the next one starts.
func (w *window) nextExact(delimiter byte, ends []uint32) (fieldEnds []uint32, next int, how outcome, err error) {
	for {
		var length int
		ends, length, how = exactRecord(w.text(), w.atEnd, delimiter, ends[:0])
		switch how {
		case needsMoreText:
			if err := w.refill(); err != nil {
				return ends, 0, how, err
			}
			continue
		case unterminatedQuote:
			if w.filled-w.position > w.maxRecordBytes {
				return ends, 0, how, w.tooLong(w.position)
			}
			return ends, 0, how, w.lineError(w.position, "unterminated quote")
		}
		for i := range ends {
			ends[i] += uint32(w.position)
		}
		return ends, w.position + length, how, nil
	}
}

// unknownLines leaves the counting of lines to the window.
const unknownLines = -1

// consume steps over text. If the number of its lines is known, they are not counted again.
func (w *window) consume(to, lines int) {
	if lines != unknownLines {
		w.linesBefore += countLines(w.buffer[w.linesFrom:w.position]) + uint64(lines)
		w.linesFrom = to
	}
	w.position = to
}

func (w *window) tooLong(recordStart int) error {
	return w.lineError(recordStart, "record longer than %d bytes (--max-record-bytes)", w.maxRecordBytes)
}

// lineError names the file and the line on which the record at this offset starts.
func (w *window) lineError(recordStart int, format string, arguments ...any) error {
	line := w.linesBefore + countLines(w.buffer[w.linesFrom:recordStart]) + 1
	return w.inputError("line %d: "+format, append([]any{line}, arguments...)...)
}

// inputError names the file.
func (w *window) inputError(format string, arguments ...any) error {
	return badRequest("%s: "+format, append([]any{escape(w.path)}, arguments...)...)
}

func countLines(text []byte) uint64 { return uint64(bytes.Count(text, []byte{'\n'})) }
