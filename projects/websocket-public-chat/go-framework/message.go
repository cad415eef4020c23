package main

import (
	"encoding/binary"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// What a client sends is read in place: strings are decoded where they stand, which is
// possible since no escape is shorter than what it means. What the server sends is built
// behind the room for the head of its frame, so a message is encoded once and never copied.

// Reasons of error messages, in the order in which they are checked.
const (
	notJSON       = "not json"
	notAnObject   = "not an object"
	unknownType   = "unknown type"
	badRoom       = "bad room"
	badNick       = "bad nick"
	badText       = "bad text"
	badID         = "bad id"
	notJoined     = "not joined"
	joinedAlready = "joined already"
)

const (
	longestRoomBytes      = 64
	longestNickCharacters = 32
	longestTextBytes      = 2000
	largestID             = 1<<53 - 1
)

// messageKind is the type of a message from a client.
type messageKind int

const (
	kindUnknown messageKind = iota
	kindJoin
	kindChat
	kindLeave
)

// request is a message from a client. Its slices are parts of the input.
type request struct {
	kind             messageKind
	room, nick, text []byte
	id               uint64
}

// member is the value of a member of an object.
type member struct {
	kind byte   // absent is 0, otherwise one of the below
	text []byte // of a string, decoded, and of a number
}

const (
	isString = '"'
	isNumber = '0'
	isOther  = '{'
)

// members are those of a message that mean something, and a place for the others.
type members struct{ kind, room, nick, id, text, ignored member }

func (m *members) named(name []byte) *member {
	switch string(name) {
	case "type":
		return &m.kind
	case "room":
		return &m.room
	case "nick":
		return &m.nick
	case "id":
		return &m.id
	case "text":
		return &m.text
	}
	return &m.ignored
}

// parseRequest reads a message and says what is wrong with it, if anything is. The
// kind is known even then, if it could be read.
func parseRequest(input []byte) (request, string) {
	var m members
	s := scanner{data: input}
	if reason := s.object(&m); reason != "" {
		return request{}, reason
	}
	if m.kind.kind != isString {
		return request{}, unknownType
	}
	switch string(m.kind.text) {
	case "join":
		if m.room.kind != isString || !isRoom(m.room.text) {
			return request{kind: kindJoin}, badRoom
		}
		if m.nick.kind != isString || !isNick(m.nick.text) {
			return request{kind: kindJoin}, badNick
		}
		return request{kind: kindJoin, room: m.room.text, nick: m.nick.text}, ""
	case "chat":
		if m.text.kind != isString || len(m.text.text) == 0 || len(m.text.text) > longestTextBytes {
			return request{kind: kindChat}, badText
		}
		number, err := strconv.ParseUint(string(m.id.text), 10, 64)
		if m.id.kind != isNumber || err != nil || number > largestID {
			return request{kind: kindChat}, badID
		}
		return request{kind: kindChat, id: number, text: m.text.text}, ""
	case "leave":
		return request{kind: kindLeave}, ""
	}
	return request{}, unknownType
}

func isRoom(name []byte) bool {
	for _, char := range name {
		if !(char >= 'a' && char <= 'z' || char >= '0' && char <= '9' || char == '_' || char == '-') {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= longestRoomBytes
}

func isNick(name []byte) bool {
	characters := 0
	for rest := name; len(rest) > 0; characters++ {
		char, size := utf8.DecodeRune(rest)
		if unicode.IsControl(char) {
			return false
		}
		rest = rest[size:]
	}
	return characters >= 1 && characters <= longestNickCharacters
}

// --- JSON that comes in ---

// scanner reads JSON. Strings are decoded in place. Its data is valid UTF-8.
type scanner struct {
	data []byte
	at   int
}

// peek is the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

// space passes over white space and returns the next byte.
func (s *scanner) space() byte {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return s.data[s.at]
		}
	}
	return 0
}

// object reads the whole input, which must be an object.
func (s *scanner) object(into *members) (reason string) {
	if s.space() != '{' {
		if s.value() && s.finished() {
			return notAnObject
		}
		return notJSON
	}
	s.at++
	if s.space() == '}' {
		s.at++
	} else {
		for more := true; more; {
			name, ok := s.key()
			if !ok || !s.read(into.named(name)) {
				return notJSON
			}
			switch s.space() {
			case ',':
			case '}':
				more = false
			default:
				return notJSON
			}
			s.at++
		}
	}
	if !s.finished() {
		return notJSON
	}
	return ""
}

func (s *scanner) finished() bool {
	s.space()
	return s.at == len(s.data)
}

// key reads the name of a member and the colon.
func (s *scanner) key() (name []byte, ok bool) {
	if s.space() != '"' {
		return nil, false
	}
	if name, ok = s.text(); !ok || s.space() != ':' {
		return nil, false
	}
	s.at++
	return name, true
}

// read reads the value of a member. Of members of the same name the last one counts.
func (s *scanner) read(into *member) (ok bool) {
	switch first := s.space(); {
	case first == '"':
		into.kind = isString
		into.text, ok = s.text()
	case first == '-' || first >= '0' && first <= '9':
		start := s.at
		ok = s.number()
		*into = member{isNumber, s.data[start:s.at]}
	default:
		ok = s.value()
		*into = member{kind: isOther}
	}
	return ok
}

// value passes over a value, however deep it is, without recursion.
func (s *scanner) value() bool {
	var shallow [64]byte
	open := shallow[:0] // the containers around this place
	for {
		switch first := s.space(); first {
		case '{', '[':
			s.at++
			if s.space() == first+2 { // } and ] stand two after { and [
				s.at++
				break
			}
			open = append(open, first)
			if first == '{' {
				if _, ok := s.key(); !ok {
					return false
				}
			}
			continue
		default:
			if !s.scalar(first) {
				return false
			}
		}
		var ok bool
		if open, ok = s.afterValue(open); !ok || len(open) == 0 {
			return ok
		}
	}
}

// afterValue passes over what closes containers, up to the next value of one that goes on.
func (s *scanner) afterValue(open []byte) ([]byte, bool) {
	for len(open) > 0 {
		innermost := open[len(open)-1]
		switch s.space() {
		case ',':
			s.at++
			if innermost == '{' {
				_, ok := s.key()
				return open, ok
			}
			return open, true
		case innermost + 2:
			s.at++
			open = open[:len(open)-1]
		default:
			return open, false
		}
	}
	return open, true
}

func (s *scanner) scalar(first byte) (ok bool) {
	switch first {
	case '"':
		_, ok = s.text()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) word(word string) bool {
	end := s.at + len(word)
	if end > len(s.data) || string(s.data[s.at:end]) != word {
		return false
	}
	s.at = end
	return true
}

func (s *scanner) number() bool {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return false
	}
	if s.peek() == '.' {
		if s.at++; !s.digits() {
			return false
		}
	}
	if s.peek()|0x20 == 'e' {
		s.at++
		if sign := s.peek(); sign == '+' || sign == '-' {
			s.at++
		}
		return s.digits()
	}
	return true
}

// digits passes over one digit or more.
func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

// text reads a string, of which it stands at the opening quote.
func (s *scanner) text() ([]byte, bool) {
	start := s.at + 1
	for i := start; i < len(s.data); i++ {
		switch char := s.data[i]; {
		case char == '"':
			s.at = i + 1
			return s.data[start:i], true
		case char == '\\':
			return s.escapedText(start, i)
		case char < 0x20:
			return nil, false
		}
	}
	return nil, false
}

// escapedText reads on from the first escape of a string.
func (s *scanner) escapedText(start, from int) ([]byte, bool) {
	data, out := s.data, from
	for i := from; i < len(data); {
		char := data[i]
		switch {
		case char == '"':
			s.at = i + 1
			return data[start:out], true
		case char < 0x20:
			return nil, false
		case char != '\\':
			data[out] = char
			out++
			i++
		default:
			char, size := unescape(data[i:])
			if size == 0 {
				return nil, false
			}
			out += utf8.EncodeRune(data[out:i+size], char)
			i += size
		}
	}
	return nil, false
}

// unescape reads an escape; its size is 0 if it is none. Half of a surrogate pair is none.
func unescape(data []byte) (char rune, size int) {
	if len(data) < 2 {
		return 0, 0
	}
	switch data[1] {
	case '"', '\\', '/':
		return rune(data[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	char, ok := unescapeHex(data)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(char) {
		return char, 6
	}
	low, ok := unescapeHex(data[6:])
	if char = utf16.DecodeRune(char, low); !ok || char == utf8.RuneError {
		return 0, 0
	}
	return char, 12
}

// unescapeHex reads \uXXXX.
func unescapeHex(data []byte) (char rune, ok bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	for _, digit := range data[2:6] {
		switch {
		case digit >= '0' && digit <= '9':
			digit -= '0'
		case digit|0x20 >= 'a' && digit|0x20 <= 'f':
			digit = digit | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		char = char<<4 | rune(digit)
	}
	return char, true
}

// --- frames that go out ---

// Opcodes of frames.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10

	finalFrame = 0x80
)

// frame is an encoded frame; all who receive it share it.
type frame struct {
	data   []byte
	isChat bool // one that is counted when it is delivered or dropped
}

const (
	shortPayload  = 125       // the longest that has a head of two bytes
	mediumPayload = 1<<16 - 1 // and of four
	longestHead   = 10
	messageHead   = 4 // room before a message: none is longer than mediumPayload
)

// newFrame makes a frame of a payload, which it copies.
func newFrame(opcode byte, payload []byte) *frame {
	data := make([]byte, 0, longestHead+len(payload))
	data = append(data, finalFrame|opcode)
	switch size := len(payload); {
	case size <= shortPayload:
		data = append(data, byte(size))
	case size <= mediumPayload:
		data = binary.BigEndian.AppendUint16(append(data, 126), uint16(size))
	default:
		data = binary.BigEndian.AppendUint64(append(data, 127), uint64(size))
	}
	return &frame{data: append(data, payload...)}
}

// newClose makes a close frame; without a code it is empty.
func newClose(code int, reason string) *frame {
	if code == 0 {
		return newFrame(opClose, nil)
	}
	return newFrame(opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

// startMessage begins a text message; size is a guess of its length.
func startMessage(size int) []byte { return make([]byte, messageHead, messageHead+size) }

// sealMessage puts the head before a message.
func sealMessage(message []byte) *frame {
	size := len(message) - messageHead
	if size <= shortPayload {
		message = message[messageHead-2:]
		message[1] = byte(size)
	} else {
		message[1] = 126
		binary.BigEndian.PutUint16(message[2:], uint16(size))
	}
	message[0] = finalFrame | opText
	return &frame{data: message}
}

// Lengths of the fixed parts of messages, and more than of a number.
const fixedBytes = 80

func joinedMessage(room, nick string, members int) *frame {
	out := startMessage(fixedBytes + len(room) + len(nick))
	out = appendText(append(out, `{"type":"joined","room":`...), room)
	out = appendText(append(out, `,"nick":`...), nick)
	out = strconv.AppendInt(append(out, `,"members":`...), int64(members), 10)
	return sealMessage(append(out, '}'))
}

func acceptedMessage(id, seq uint64) *frame {
	out := startMessage(fixedBytes)
	out = strconv.AppendUint(append(out, `{"type":"accepted","id":`...), id, 10)
	out = strconv.AppendUint(append(out, `,"seq":`...), seq, 10)
	return sealMessage(append(out, '}'))
}

func chatMessage(room, nick string, seq uint64, text []byte) *frame {
	out := startMessage(fixedBytes + len(room) + len(nick) + len(text) + len(text)/16)
	out = appendText(append(out, `{"type":"chat","room":`...), room)
	out = appendText(append(out, `,"nick":`...), nick)
	out = strconv.AppendUint(append(out, `,"seq":`...), seq, 10)
	out = appendText(append(out, `,"text":`...), text)
	message := sealMessage(append(out, '}'))
	message.isChat = true
	return message
}

func refusedMessage(id uint64) *frame {
	out := startMessage(fixedBytes)
	out = strconv.AppendUint(append(out, `{"type":"refused","id":`...), id, 10)
	return sealMessage(append(out, `,"reason":"rate"}`...))
}

func presenceMessage(room string, members int) *frame {
	out := startMessage(fixedBytes + len(room))
	out = appendText(append(out, `{"type":"presence","room":`...), room)
	out = strconv.AppendInt(append(out, `,"members":`...), int64(members), 10)
	return sealMessage(append(out, '}'))
}

func leftMessage(room string) *frame {
	out := startMessage(fixedBytes + len(room))
	out = appendText(append(out, `{"type":"left","room":`...), room)
	return sealMessage(append(out, '}'))
}

func errorMessage(reason string) *frame {
	out := startMessage(fixedBytes + len(reason))
	out = appendText(append(out, `{"type":"error","reason":`...), reason)
	return sealMessage(append(out, '}'))
}

// appendText appends a string with its quotes and the fewest escapes.
func appendText[T string | []byte](out []byte, text T) []byte {
	const hexDigits = "0123456789abcdef"
	out = append(out, '"')
	plain := 0 // from here on nothing is to be escaped
	for i := 0; i < len(text); i++ {
		char := text[i]
		if char >= 0x20 && char != '"' && char != '\\' {
			continue
		}
		out = append(out, text[plain:i]...)
		plain = i + 1
		switch char {
		case '"', '\\':
			out = append(out, '\\', char)
		case '\b':
			out = append(out, `\b`...)
		case '\f':
			out = append(out, `\f`...)
		case '\n':
			out = append(out, `\n`...)
		case '\r':
			out = append(out, `\r`...)
		case '\t':
			out = append(out, `\t`...)
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[char>>4], hexDigits[char&15])
		}
	}
	return append(append(out, text[plain:]...), '"')
}

// --- UTF-8 that comes in parts ---

// checkedText tells how much of a text is whole characters, and whether what follows
// these can still become one.
func checkedText(text []byte) (whole int, ok bool) {
	whole = len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if last := len(text) - back; utf8.RuneStart(text[last]) {
			if !utf8.FullRune(text[last:]) {
				whole = last
			}
			break
		}
	}
	return whole, utf8.Valid(text[:whole])
}
