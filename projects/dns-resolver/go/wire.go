package main

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// name is a domain name in wire form: labels behind their lengths, the root's empty one at the end.
// Names that are compared or kept are in lower case; those inside records are as their server wrote them.
type name string

const root name = "\x00"

const (
	headerBytes    = 12
	questionFixed  = 4  // type and class behind the name
	recordFixed    = 10 // type, class, TTL and length behind the name
	optRecordBytes = 11
	maxNameBytes   = 255
	maxLabelBytes  = 63
	maxMessage     = 65_535
	maxPointed     = 0x3fff // how far a compression pointer reaches
)

// Types that are more than opaque bytes to us.
const (
	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeSRV   = 33
	typeDNAME = 39
	typeOPT   = 41
	typeDS    = 43
)

const classIN = 1

// Response codes.
const (
	rcodeNoError  = 0
	rcodeFormErr  = 1
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeNotImp   = 4
	rcodeRefused  = 5
	rcodeYXDomain = 6
	rcodeBadVers  = 16
)

// Bits of the flags in a header.
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagCD = 1 << 4
)

var (
	errShort     = errors.New("message ends too early")
	errPointer   = errors.New("compression pointer does not lead back")
	errLabelType = errors.New("unknown kind of label")
	errLongName  = errors.New("name longer than 255 bytes")
	errLongLabel = errors.New("label longer than 63 bytes")
	errNoLabel   = errors.New("empty label")
	errEscape    = errors.New("bad escape")
	errData      = errors.New("record data does not fit its type")
)

// --- names ---

// parent is the name without its first label; the root has none.
func (n name) parent() name { return n[1+int(n[0]):] }

// labels is how many labels stand before the root.
func (n name) labels() (count int) {
	for n[0] != 0 {
		n = n.parent()
		count++
	}
	return count
}

// last is the name of the last labels.
func (n name) last(labels int) name {
	for skip := n.labels() - labels; skip > 0; skip-- {
		n = n.parent()
	}
	return n
}

// isUnder tells whether the name is in a zone, or the zone itself.
func (n name) isUnder(zone name) bool {
	for len(n) > len(zone) {
		n = n.parent()
	}
	return n == zone
}

// lower is the name in lower case. The lengths of labels are no letters, so all bytes can be treated alike.
func (n name) lower() name {
	for i := range len(n) {
		if n[i]-'A' < 26 {
			lowered := []byte(n)
			lowerBytes(lowered)
			return name(lowered)
		}
	}
	return n
}

func lowerBytes(text []byte) {
	for i, c := range text {
		if c-'A' < 26 {
			text[i] = c + 'a' - 'A'
		}
	}
}

// lowerWord lowers the eight ASCII letters of a word at once.
func lowerWord(word uint64) uint64 {
	const each = 0x0101010101010101
	seven := word & (0x7f * each)
	aboveZ := seven + (0x7f-'Z')*each
	fromA := seven + (0x80-'A')*each
	upper := ^word & (0x80 * each) & (fromA ^ aboveZ)
	return word | upper>>2
}

// String is the name as master files have it, absolute.
func (n name) String() string { return string(n.appendText(nil)) }

// appendText escapes what master files and we ourselves would take for something else.
func (n name) appendText(to []byte) []byte {
	if n == root {
		return append(to, '.')
	}
	for n[0] != 0 {
		for _, c := range []byte(n[1 : 1+int(n[0])]) {
			switch {
			case strings.IndexByte(`.\"();@$`, c) >= 0:
				to = append(to, '\\', c)
			case c <= ' ' || c > '~':
				to = appendDecimal(to, c)
			default:
				to = append(to, c)
			}
		}
		to = append(to, '.')
		n = n.parent()
	}
	return to
}

// appendDecimal writes \DDD.
func appendDecimal(to []byte, c byte) []byte {
	return append(to, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}

// parseName reads a name of a text. It is absolute, with or without the dot at its end.
func parseName(text string) (name, error) {
	if text == "." {
		return root, nil
	}
	wire := make([]byte, 1, len(text)+2)
	label := 0 // where the length of the current label is
	for at := 0; at < len(text); {
		c, size, err := textByte(text[at:])
		switch {
		case err != nil:
			return "", err
		case text[at] == '.':
			if err := endLabel(wire, label); err != nil {
				return "", err
			}
			label = len(wire)
			wire = append(wire, 0)
		default:
			wire = append(wire, c)
		}
		at += size
	}
	if len(wire)-label > 1 { // no dot at the end
		if err := endLabel(wire, label); err != nil {
			return "", err
		}
		wire = append(wire, 0)
	}
	switch {
	case len(wire) == 1:
		return "", errNoLabel
	case len(wire) > maxNameBytes:
		return "", errLongName
	}
	return name(wire), nil
}

func endLabel(wire []byte, at int) error {
	length := len(wire) - at - 1
	switch {
	case length == 0:
		return errNoLabel
	case length > maxLabelBytes:
		return errLongLabel
	}
	wire[at] = byte(length)
	return nil
}

// textByte reads one byte, which may be escaped as \DDD or \C.
func textByte(text string) (c byte, size int, err error) {
	if text[0] != '\\' {
		return text[0], 1, nil
	}
	if len(text) == 1 {
		return 0, 0, errEscape
	}
	if text[1]-'0' > 9 {
		return text[1], 2, nil
	}
	if len(text) < 4 {
		return 0, 0, errEscape
	}
	number, err := strconv.ParseUint(text[1:4], 10, 8)
	if err != nil {
		return 0, 0, errEscape
	}
	return byte(number), 4, nil
}

// readName appends the name at a place of a message to a buffer, without compression. Pointers
// lead to before the part of the name they stand in: so there is an end.
func readName(message []byte, at int, to []byte) (whole []byte, next int, err error) {
	start, limit := len(to), at
	for {
		if at >= len(message) {
			return to, 0, errShort
		}
		length := int(message[at])
		switch {
		case length == 0:
			if next == 0 {
				next = at + 1
			}
			return append(to, 0), next, nil
		case length <= maxLabelBytes:
			end := at + 1 + length
			if end > len(message) {
				return to, 0, errShort
			}
			if len(to)-start+1+length+1 > maxNameBytes {
				return to, 0, errLongName
			}
			to = append(to, message[at:end]...)
			at = end
		case length >= 0xc0:
			if at+1 >= len(message) {
				return to, 0, errShort
			}
			if next == 0 {
				next = at + 2
			}
			at = length&0x3f<<8 | int(message[at+1])
			if at >= limit || at < headerBytes {
				return to, 0, errPointer
			}
			limit = at
		default:
			return to, 0, errLabelType
		}
	}
}

// --- messages ---

// record is a resource record without compression; its owner is in lower case.
type record struct {
	owner        name
	qtype, class uint16
	ttl          uint32
	data         []byte
}

// message is a response of a server.
type message struct {
	id, flags, rcode              uint16
	questions                     int
	question                      question // the first one
	class                         uint16
	answer, authority, additional []record
}

// question asks for the records of a type at a name, which is in lower case.
type question struct {
	name  name
	qtype uint16
}

// parseMessage reads a whole message, and refuses one that is not exactly as it says.
func parseMessage(packet []byte) (*message, error) {
	m, at, err := parseStart(packet)
	if err != nil {
		return nil, err
	}
	p := recordParser{message: packet, at: at, asked: m.question.name, space: make([]byte, 0, 2*len(packet))}
	for i, section := range []*[]record{&m.answer, &m.authority, &m.additional} {
		count := int(binary.BigEndian.Uint16(packet[6+2*i:]))
		// A record takes 11 bytes at least: a count that lies cannot make us reserve much.
		*section = make([]record, 0, min(count, (len(packet)-p.at)/(recordFixed+1)))
		for range count {
			r, err := p.next()
			if err != nil {
				return nil, err
			}
			if r.qtype == typeOPT && i == 2 {
				m.rcode |= uint16(r.ttl >> 24 << 4)
			}
			*section = append(*section, r)
		}
	}
	return m, nil
}

// parseStart reads header and questions, and says where the records begin.
func parseStart(packet []byte) (m *message, at int, err error) {
	if len(packet) < headerBytes {
		return nil, 0, errShort
	}
	m = &message{id: binary.BigEndian.Uint16(packet), flags: binary.BigEndian.Uint16(packet[2:])}
	m.rcode = m.flags & 0xf
	m.questions = int(binary.BigEndian.Uint16(packet[4:]))
	at = headerBytes
	for i := range m.questions {
		var buffer [maxNameBytes]byte
		whole, next, err := readName(packet, at, buffer[:0])
		if err != nil {
			return nil, 0, err
		}
		if next+questionFixed > len(packet) {
			return nil, 0, errShort
		}
		if i == 0 {
			lowerBytes(whole)
			m.question = question{name(whole), binary.BigEndian.Uint16(packet[next:])}
			m.class = binary.BigEndian.Uint16(packet[next+2:])
		}
		at = next + questionFixed
	}
	return m, at, nil
}

// recordParser reads the records of a message, one after the other.
type recordParser struct {
	message []byte
	at      int
	asked   name   // the name of the question, which most owners are
	space   []byte // where the data of records goes; what was given out stays as it is
}

func (p *recordParser) next() (r record, err error) {
	if r.owner, err = p.owner(); err != nil {
		return r, err
	}
	if p.at+recordFixed > len(p.message) {
		return r, errShort
	}
	fixed := p.message[p.at:]
	r.qtype, r.class = binary.BigEndian.Uint16(fixed), binary.BigEndian.Uint16(fixed[2:])
	r.ttl = binary.BigEndian.Uint32(fixed[4:])
	start := p.at + recordFixed
	p.at = start + int(binary.BigEndian.Uint16(fixed[8:]))
	if p.at > len(p.message) {
		return r, errShort
	}
	begin := len(p.space)
	p.space, err = appendData(p.space, r.qtype, p.message[:p.at], start)
	r.data = p.space[begin:len(p.space):len(p.space)]
	return r, err
}

func (p *recordParser) owner() (name, error) {
	if p.at+2 <= len(p.message) && p.message[p.at] == 0xc0 && p.message[p.at+1] == headerBytes && p.asked != "" {
		p.at += 2
		return p.asked, nil
	}
	var buffer [maxNameBytes]byte
	whole, next, err := readName(p.message, p.at, buffer[:0])
	if err != nil {
		return "", err
	}
	p.at = next
	lowerBytes(whole)
	if string(whole) == string(p.asked) {
		return p.asked, nil
	}
	return name(whole), nil
}

// appendData checks the data of a record, which goes from a place to the end of what is
// given of its message, and appends it with names written out.
func appendData(to []byte, qtype uint16, message []byte, at int) ([]byte, error) {
	data := message[at:]
	switch qtype {
	case typeA:
		return appendExactly(to, data, 4)
	case typeAAAA:
		return appendExactly(to, data, 16)
	case typeTXT:
		return append(to, data...), checkStrings(data)
	case typeNS, typeCNAME, typePTR, typeDNAME:
		return appendNames(to, message, at, 0, 1, 0)
	case typeMX:
		return appendNames(to, message, at, 2, 1, 0)
	case typeSRV:
		return appendNames(to, message, at, 6, 1, 0)
	case typeSOA:
		return appendNames(to, message, at, 0, 2, 20)
	}
	return append(to, data...), nil
}

func appendExactly(to, data []byte, length int) ([]byte, error) {
	if len(data) != length {
		return to, errData
	}
	return append(to, data...), nil
}

// appendNames is for data that is some bytes, some names, and some bytes again.
func appendNames(to, message []byte, at, before, names, after int) ([]byte, error) {
	if at+before > len(message) {
		return to, errData
	}
	to = append(to, message[at:at+before]...)
	at += before
	for range names {
		var err error
		if to, at, err = readName(message, at, to); err != nil {
			return to, err
		}
	}
	return appendExactly(to, message[at:], after)
}

// checkStrings wants one string with its length or more.
func checkStrings(data []byte) error {
	if len(data) == 0 {
		return errData
	}
	for len(data) > 0 {
		if length := 1 + int(data[0]); length <= len(data) {
			data = data[length:]
			continue
		}
		return errData
	}
	return nil
}

// --- writing ---

// writer writes a message whose question is at its beginning.
type writer struct {
	message []byte
	known   []knownName // suffixes that pointers can lead to
}

type knownName struct {
	suffix name // in lower case
	at     int
}

// maxKnown bounds what is compared for each name.
const maxKnown = 64

// newWriter begins a message; the header is left empty.
func newWriter(q question) *writer {
	w := &writer{message: make([]byte, headerBytes, 512), known: make([]knownName, 0, 16)}
	w.name(q.name)
	w.message = binary.BigEndian.AppendUint16(w.message, q.qtype)
	w.message = binary.BigEndian.AppendUint16(w.message, classIN)
	return w
}

// name writes a name, as much of it as a pointer as possible.
func (w *writer) name(n name) {
	for lowered := n.lower(); n[0] != 0; n, lowered = n.parent(), lowered.parent() {
		for i := range w.known {
			if w.known[i].suffix == lowered {
				w.message = binary.BigEndian.AppendUint16(w.message, 0xc000|uint16(w.known[i].at))
				return
			}
		}
		if len(w.known) < maxKnown && len(w.message) <= maxPointed {
			w.known = append(w.known, knownName{lowered, len(w.message)})
		}
		w.message = append(w.message, n[:1+int(n[0])]...)
	}
	w.message = append(w.message, 0)
}

// record writes a record and returns where its TTL is.
func (w *writer) record(owner name, qtype uint16, ttl uint32, data []byte) (ttlAt int) {
	w.name(owner)
	w.message = binary.BigEndian.AppendUint16(w.message, qtype)
	w.message = binary.BigEndian.AppendUint16(w.message, classIN)
	ttlAt = len(w.message)
	w.message = binary.BigEndian.AppendUint32(w.message, ttl)
	w.message = append(w.message, 0, 0)
	start := len(w.message)
	w.data(qtype, data)
	binary.BigEndian.PutUint16(w.message[start-2:], uint16(len(w.message)-start))
	return ttlAt
}

// data compresses the names of the oldest types only, as RFC 3597 wants it.
func (w *writer) data(qtype uint16, data []byte) {
	before, names := 0, 0
	switch qtype {
	case typeNS, typeCNAME, typePTR:
		names = 1
	case typeMX:
		before, names = 2, 1
	case typeSOA:
		names = 2
	}
	w.message = append(w.message, data[:before]...)
	data = data[before:]
	for range names {
		n := firstName(data)
		w.name(n)
		data = data[len(n):]
	}
	w.message = append(w.message, data...)
}

// firstName is the name that checked data begins with.
func firstName(data []byte) name {
	at := 0
	for data[at] != 0 {
		at += 1 + int(data[at])
	}
	return name(data[:at+1])
}

// appendQuery writes a query to a server.
func appendQuery(to []byte, id uint16, q question, ednsBytes int) []byte {
	additional := byte(0)
	if ednsBytes > 0 {
		additional = 1
	}
	to = append(to, byte(id>>8), byte(id), 0, 0, 0, 1, 0, 0, 0, 0, 0, additional)
	to = append(to, q.name...)
	to = binary.BigEndian.AppendUint16(to, q.qtype)
	to = binary.BigEndian.AppendUint16(to, classIN)
	if ednsBytes > 0 {
		to = appendOPT(to, ednsBytes, 0)
	}
	return to
}

// appendOPT writes the record that says how large a datagram may be.
func appendOPT(to []byte, size int, rcode uint16) []byte {
	return append(to, 0, 0, typeOPT, byte(size>>8), byte(size), byte(rcode>>4), 0, 0, 0, 0, 0)
}
