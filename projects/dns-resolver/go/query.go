package main

import "encoding/binary"

// query is what a client asks, as places in its packet. It is made once and used for all.
type query struct {
	question int // bytes of header and question
	flags    uint16
	edns     bool
	limit    int // of the answer, in bytes
	key      []byte
	keySpace [maxNameBytes + 8 + keySuffix]byte
}

// What parse says beyond response codes.
const (
	answerable = -1
	unreadable = -2 // no answer at all
)

// Sizes of datagrams to clients.
const plainBytes = 512

// parse reads a query; a response code says that this is all there is to answer.
func (q *query) parse(packet []byte, ednsBytes int) int {
	q.question, q.edns, q.limit = 0, false, plainBytes
	if len(packet) < headerBytes {
		return unreadable
	}
	q.flags = binary.BigEndian.Uint16(packet[2:])
	if q.flags&flagQR != 0 {
		return unreadable
	}
	counts := binary.BigEndian.Uint64(packet[4:])
	switch {
	case q.flags>>11&0xf != 0:
		return rcodeNotImp
	case counts>>16 != 1<<32: // one question, no records but additional ones
		return rcodeFormErr
	case !q.parseName(packet):
		return rcodeFormErr
	}
	rcode := answerable
	if counts&0xffff != 0 || len(packet) > q.question {
		rcode = q.parseRest(packet, int(counts&0xffff), ednsBytes)
	}
	if rcode != answerable {
		return rcode
	}
	return q.checkType(packet)
}

// parseName makes the key of the cache out of the question.
func (q *query) parseName(packet []byte) bool {
	at := headerBytes
	for {
		if at >= len(packet) || packet[at] > maxLabelBytes {
			return false // nothing stands before it that it could point to
		}
		if packet[at] == 0 {
			break
		}
		at += 1 + int(packet[at])
	}
	length := at + 1 - headerBytes
	if length > maxNameBytes || at+1+questionFixed > len(packet) {
		return false
	}
	// Eight letters at once; what that reads and writes too much is overwritten, or nobody's.
	from := packet[headerBytes:cap(packet)]
	for i := 0; i < length; i += 8 {
		if i+8 > len(from) {
			copy(q.keySpace[i:], from[i:length])
			lowerBytes(q.keySpace[i:length])
			break
		}
		binary.LittleEndian.PutUint64(q.keySpace[i:], lowerWord(binary.LittleEndian.Uint64(from[i:])))
	}
	q.question = at + 1 + questionFixed
	q.keySpace[length], q.keySpace[length+1], q.keySpace[length+2] = packet[at+1], packet[at+2], byte(kindAnswer)
	q.key = q.keySpace[:length+keySuffix]
	return true
}

// parseRest looks for the record of EDNS, and takes no message that is not as it says.
func (q *query) parseRest(packet []byte, records, ednsBytes int) int {
	at, version := q.question, byte(0)
	for range records {
		var buffer [maxNameBytes]byte
		owner, next, err := readName(packet, at, buffer[:0])
		if err != nil || next+recordFixed > len(packet) {
			return rcodeFormErr
		}
		fixed := packet[next:]
		at = next + recordFixed + int(binary.BigEndian.Uint16(fixed[8:]))
		if at > len(packet) {
			return rcodeFormErr
		}
		if binary.BigEndian.Uint16(fixed) != typeOPT {
			continue
		}
		if q.edns || len(owner) != 1 || !validOptions(packet[next+recordFixed:at]) {
			return rcodeFormErr
		}
		size := int(binary.BigEndian.Uint16(fixed[2:]))
		q.edns, q.limit, version = true, max(min(size, ednsBytes), plainBytes), fixed[5]
	}
	switch {
	case at != len(packet):
		return rcodeFormErr
	case version != 0:
		return rcodeBadVers
	}
	return answerable
}

// validOptions checks the options of EDNS, none of which concerns us.
func validOptions(options []byte) bool {
	for len(options) > 0 {
		if len(options) < 4 || len(options) < 4+int(binary.BigEndian.Uint16(options[2:])) {
			return false
		}
		options = options[4+int(binary.BigEndian.Uint16(options[2:])):]
	}
	return true
}

// checkType refuses what is no question for the records of a name.
func (q *query) checkType(packet []byte) int {
	qtype := binary.BigEndian.Uint16(packet[q.question-4:])
	switch {
	case binary.BigEndian.Uint16(packet[q.question-2:]) != classIN:
		return rcodeRefused
	case isMetaType(qtype):
		return rcodeNotImp
	}
	return answerable
}

// isMetaType is true for types that are no type of a record: transfers, ANY, OPT, and those reserved.
func isMetaType(qtype uint16) bool {
	return qtype == 0 || qtype == typeOPT || qtype >= 128 && qtype < 256
}

// asked is the question, for those who have to look for its answer.
func (q *query) asked() question {
	length := len(q.key) - keySuffix
	return question{name(q.key[:length]), binary.BigEndian.Uint16(q.key[length:])}
}

// answerBytes is how long an answer is, with all its parts.
func (q *query) answerBytes(b *body) int {
	return q.question + len(b.tail) + q.optBytes()
}

func (q *query) optBytes() int {
	if q.edns {
		return optRecordBytes
	}
	return 0
}

// write turns the packet of a query, in a buffer with room for it, into the answer, and returns its length.
// One that is longer than the client can take says so, and is empty.
func (q *query) write(packet []byte, b *body, ednsBytes int) int {
	flags := flagQR | flagRA | q.flags&(flagRD|flagCD) | uint16(b.rcode)
	answers, authority := b.answers, b.authority
	at := q.question
	if q.answerBytes(b) <= q.limit {
		copy(packet[at:], b.tail)
		q.countDown(packet[at:], b)
		at += len(b.tail)
	} else {
		flags |= flagTC
		answers, authority = 0, 0
	}
	additional := uint64(0)
	if q.edns {
		appendOPT(packet[:at], ednsBytes, 0)
		at += optRecordBytes
		additional = 1
	}
	binary.BigEndian.PutUint16(packet[2:], flags)
	binary.BigEndian.PutUint64(packet[4:], 1<<48|uint64(answers)<<32|uint64(authority)<<16|additional)
	return at
}

// countDown takes the age of an answer off its TTLs.
func (q *query) countDown(tail []byte, b *body) {
	if b.age == 0 {
		return
	}
	for places := b.ttls; len(places) >= ttlBytes; places = places[ttlBytes:] {
		ttl := tail[binary.BigEndian.Uint16(places):]
		left := binary.BigEndian.Uint32(ttl)
		binary.BigEndian.PutUint32(ttl, left-min(left, b.age))
	}
}

// writeError turns the packet of a query into an answer that says what is wrong with it. The
// question is repeated if it could be read.
func (q *query) writeError(packet []byte, rcode, ednsBytes int) int {
	flags := flagQR | flagRA | q.flags&(0xf<<11|flagRD|flagCD) | uint16(rcode&0xf)
	at, counts := headerBytes, uint64(0)
	if q.question > 0 {
		at, counts = q.question, 1<<48
	}
	if q.edns {
		appendOPT(packet[:at], ednsBytes, uint16(rcode))
		at += optRecordBytes
		counts |= 1
	}
	binary.BigEndian.PutUint16(packet[2:], flags)
	binary.BigEndian.PutUint64(packet[4:], counts)
	return at
}
