package main

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// Limits of the protocol, as Redis has them.
const (
	maxBulkBytes    = 512 << 20
	maxArguments    = 1<<31 - 1
	maxLineBytes    = 64 << 10
	maxCommandBytes = 1 << 30
	argumentBytes   = 40 // what is kept of an argument beside its text
)

// errTooLarge closes a connection without a reply.
var errTooLarge = errors.New("command larger than 1 GiB")

// protocolError is told to the client before its connection is closed.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// parser finds commands in what a client has sent. It stops at any byte and goes
// on where it stopped when more has come. Positions are counted from the start
// of the command, so that the bytes may move to another buffer in between.
type parser struct {
	position  int // of the next byte to look at; at the end the length of the command
	missing   int // bulks still to come
	bulkBytes int // of the bulk that comes next, noBulk: its header is not read yet
	bounds    []bound
	unquoted  []byte // the text of inline arguments
	inline    bool
}

// bound is where an argument is.
type bound struct{ start, end int }

const noBulk = -1

// reset is for the next command.
func (p *parser) reset() {
	p.position, p.missing, p.inline = 0, 0, false
	if p.bounds = p.bounds[:0]; cap(p.bounds) > keptElements {
		p.bounds = nil
	}
}

// arguments are the parts of a complete command; they share its memory.
func (p *parser) arguments(data []byte, into [][]byte) [][]byte {
	if p.inline {
		data = p.unquoted
	}
	for _, b := range p.bounds {
		into = append(into, data[b.start:b.end:b.end])
	}
	return into
}

// next is true when a command is complete; its length is then position, and it
// may have no arguments. The data starts with the command and is not empty.
func (p *parser) next(data []byte) (complete bool, err error) {
	if p.missing > 0 {
		return p.nextBulks(data)
	}
	if data[0] != '*' {
		return p.nextInline(data)
	}
	switch count, state := p.number(data); {
	case state == lineOpen:
		return false, nil
	case state == lineTooLong:
		return false, protocolError("too big mbulk count string")
	case state == lineBad || count > maxArguments:
		return false, protocolError("invalid multibulk length")
	case count <= 0:
		return true, nil
	default:
		p.missing, p.bulkBytes = int(count), noBulk
	}
	return p.nextBulks(data)
}

func (p *parser) nextBulks(data []byte) (complete bool, err error) {
	for ; p.missing > 0; p.missing-- {
		if p.bulkBytes == noBulk {
			header := p.position
			length, state := p.number(data)
			switch {
			case state == lineOpen:
				return false, nil
			case state == lineTooLong:
				return false, protocolError("too big bulk count string")
			case data[header] != '$':
				return false, protocolError("expected '$', got '" + string(data[header:header+1]) + "'")
			case state == lineBad || length < 0 || length > maxBulkBytes:
				return false, protocolError("invalid bulk length")
			case p.position+int(length)+len(p.bounds)*argumentBytes > maxCommandBytes:
				return false, errTooLarge
			}
			p.bulkBytes = int(length)
		}
		end := p.position + p.bulkBytes
		if len(data) < end+2 {
			return false, nil
		}
		p.bounds = append(p.bounds, bound{p.position, end})
		p.position, p.bulkBytes = end+2, noBulk
	}
	return true, nil
}

// lineState is what is known of a line with a number.
type lineState int

const (
	lineOpen lineState = iota // its end has not come yet
	lineTooLong
	lineBad // not a number
	lineGood
)

// shortNumber is how many digits a header nearly always has at most.
const shortNumber = 9

// number reads the line at the position, one character and a number, and goes behind it.
func (p *parser) number(data []byte) (value int64, state lineState) {
	first := p.position + 1
	for at := first; at < len(data)-1 && at < first+shortNumber; at++ {
		digit := data[at] - '0'
		if digit > 9 {
			if data[at] == '\r' && at > first && (data[first] != '0' || at == first+1) && data[p.position] != 0 {
				p.position = at + 2
				return value, lineGood
			}
			break
		}
		value = value*10 + int64(digit)
	}
	return p.anyNumber(data)
}

// anyNumber is number for lines that are not complete, long, negative or wrong.
func (p *parser) anyNumber(data []byte) (value int64, state lineState) {
	rest := data[p.position:]
	end := bytes.IndexByte(rest, '\r')
	if end < 0 || bytes.IndexByte(rest[:end], 0) >= 0 { // Redis looks for the end of a line up to a zero byte
		if len(rest) > maxLineBytes {
			return 0, lineTooLong
		}
		return 0, lineOpen
	}
	if end+2 > len(rest) {
		return 0, lineOpen
	}
	value, ok := parseInteger(rest[min(1, end):end])
	if !ok {
		return 0, lineBad
	}
	p.position += end + 2
	return value, lineGood
}

// nextInline reads a line of words, as a person types them.
func (p *parser) nextInline(data []byte) (complete bool, err error) {
	p.inline = true
	end := bytes.IndexByte(data, '\n')
	if end < 0 || bytes.IndexByte(data[:end], 0) >= 0 { // as in anyNumber
		if len(data) > maxLineBytes {
			return false, protocolError("too big inline request")
		}
		return false, nil
	}
	p.position = end + 1
	if !p.splitWords(bytes.TrimSuffix(data[:end], []byte{'\r'})) {
		return false, protocolError("unbalanced quotes in request")
	}
	return true, nil
}

// splitWords is false if a quote is not closed or not followed by a space.
func (p *parser) splitWords(line []byte) bool {
	p.unquoted = p.unquoted[:0]
	for {
		line = bytes.TrimLeft(line, " \t\n\v\f\r")
		if len(line) == 0 {
			return true
		}
		start := len(p.unquoted)
		var ok bool
		if line, ok = p.word(line); !ok {
			return false
		}
		p.bounds = append(p.bounds, bound{start, len(p.unquoted)})
	}
}

// word unquotes one word; a quote may also start in its middle.
func (p *parser) word(line []byte) (rest []byte, ok bool) {
	for len(line) > 0 {
		switch char := line[0]; char {
		case ' ', '\n', '\r', '\t':
			return line, true
		case '"', '\'':
			if line, ok = p.quoted(line[1:], char); !ok {
				return nil, false
			}
			return line, len(line) == 0 || strings.IndexByte(" \t\n\v\f\r", line[0]) >= 0
		default:
			p.unquoted = append(p.unquoted, char)
			line = line[1:]
		}
	}
	return line, true
}

// quoted reads up to the closing quote. Only double quotes know escapes other than \'.
func (p *parser) quoted(line []byte, quote byte) (rest []byte, ok bool) {
	for len(line) > 0 {
		char := line[0]
		line = line[1:]
		switch {
		case char == quote:
			return line, true
		case char == '\\' && quote == '"' && len(line) >= 3 && line[0] == 'x' && isHex(line[1]) && isHex(line[2]):
			code, _ := strconv.ParseUint(string(line[1:3]), 16, 8)
			char, line = byte(code), line[3:]
		case char == '\\' && quote == '"' && len(line) > 0:
			char, line = escaped(line[0]), line[1:]
		case char == '\\' && quote == '\'' && len(line) > 0 && line[0] == '\'':
			char, line = '\'', line[1:]
		}
		p.unquoted = append(p.unquoted, char)
	}
	return nil, false
}

func isHex(char byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", char) >= 0 }

func escaped(char byte) byte {
	switch char {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return char
}

// reply writes answers one behind the other.
type reply struct{ b []byte }

func (o *reply) line(kind byte, text string) {
	o.b = append(o.b, kind)
	o.b = append(o.b, text...)
	o.b = append(o.b, '\r', '\n')
}

func (o *reply) ok() { o.b = append(o.b, "+OK\r\n"...) }

func (o *reply) simple(text string) { o.line('+', text) }

var withoutLineEnds = strings.NewReplacer("\r", " ", "\n", " ")

// fail tells an error; line ends inside would end the reply.
func (o *reply) fail(text string) {
	o.line('-', withoutLineEnds.Replace(text))
}

func (o *reply) number(kind byte, value int64) {
	o.b = append(o.b, kind)
	o.b = strconv.AppendInt(o.b, value, 10)
	o.b = append(o.b, '\r', '\n')
}

func (o *reply) integer(value int64) { o.number(':', value) }

func (o *reply) boolean(value bool) {
	if value {
		o.b = append(o.b, ":1\r\n"...)
	} else {
		o.b = append(o.b, ":0\r\n"...)
	}
}

func (o *reply) array(length int) { o.number('*', int64(length)) }

func (o *reply) null() { o.b = append(o.b, "$-1\r\n"...) }

func (o *reply) nullArray() { o.b = append(o.b, "*-1\r\n"...) }

func (o *reply) bulk(text []byte) {
	o.b = appendBulk(o.b, text)
}

func (o *reply) bulkString(text string) {
	o.number('$', int64(len(text)))
	o.b = append(o.b, text...)
	o.b = append(o.b, '\r', '\n')
}

func (o *reply) bulkInteger(value int64) {
	var room [20]byte
	o.bulk(strconv.AppendInt(room[:0], value, 10))
}

func (o *reply) double(value float64) {
	var room [32]byte
	o.bulk(appendDouble(room[:0], value))
}

// appendBulk is also how the log writes arguments.
func appendBulk(out, text []byte) []byte {
	out = append(out, '$')
	out = strconv.AppendInt(out, int64(len(text)), 10)
	out = append(out, '\r', '\n')
	out = append(out, text...)
	return append(out, '\r', '\n')
}

// appendCommand writes a command as a client would send it.
func appendCommand(out []byte, args ...[]byte) []byte {
	out = append(out, '*')
	out = strconv.AppendInt(out, int64(len(args)), 10)
	out = append(out, '\r', '\n')
	for _, arg := range args {
		out = appendBulk(out, arg)
	}
	return out
}
