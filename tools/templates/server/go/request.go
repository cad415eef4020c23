package main

import "bytes"

// Limits of a request; both include the line ends.
const (
	lineBytesMax = 4096 + 2
	headBytesMax = 8192
)

// request is what a head says.
type request struct {
	target     []byte // of the input
	isGet      bool
	keepsAlive bool
	hasBody    bool // announces one, or may
	isOld      bool // HTTP/1.0
	hosts      int
	bytes      int // of the whole head
}

// parsed is what stands at the start of an input.
type parsed int

const (
	isPart parsed = iota // of a request: more has to come
	isWhole
	isRefused
)

// parseRequest reads the head at the start of an input, line by line, so that the first fault decides in whatever pieces
// it comes. A part of a head is read again when more has come: it is short.
func parseRequest(input []byte) (found request, what parsed, why status) {
	line, what, why := takeLine(input, lineBytesMax, statusURITooLong)
	if what != isWhole {
		return found, what, why
	}
	if !found.readLine(line) {
		return found, isRefused, statusBadRequest
	}
	for at := len(line) + 2; ; at += len(line) + 2 {
		line, what, why = takeLine(input[at:], headBytesMax-at, statusHeadTooLarge)
		if what != isWhole {
			return found, what, why
		}
		if len(line) == 0 {
			found.bytes = at + 2
			break
		}
		if !found.readField(line) {
			return found, isRefused, statusBadRequest
		}
	}
	if found.hosts == 1 || found.hosts == 0 && found.isOld {
		return found, isWhole, statusOK
	}
	return found, isRefused, statusBadRequest
}

// takeLine returns the line at the start of an input without its end, which must be CR LF within so many bytes.
func takeLine(input []byte, most int, tooLong status) ([]byte, parsed, status) {
	length := bytes.IndexByte(input[:min(len(input), most)], '\n')
	switch {
	case length < 0 && len(input) < most:
		return nil, isPart, statusOK
	case length < 0:
		return nil, isRefused, tooLong
	case length == 0 || input[length-1] != '\r':
		return nil, isRefused, statusBadRequest
	}
	return input[:length-1], isWhole, statusOK
}

// readLine reads the request line.
func (r *request) readLine(line []byte) bool {
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, _ := bytes.Cut(rest, []byte{' '})
	switch string(version) {
	case "HTTP/1.1":
		r.keepsAlive = true
	case "HTTP/1.0":
		r.isOld = true
	default:
		return false
	}
	r.isGet = string(method) == "GET"
	r.target = target
	return consistsOf(method, &tokenBytes) && consistsOf(target, &targetBytes) && target[0] == '/'
}

// readField reads a header line. Only what frames the request matters here.
func (r *request) readField(line []byte) bool {
	name, value, hasColon := bytes.Cut(line, []byte{':'})
	value = bytes.Trim(value, " \t")
	if !hasColon || !consistsOf(name, &tokenBytes) || len(value) > 0 && !consistsOf(value, &valueBytes) {
		return false
	}
	switch {
	case isField(name, "Host"):
		r.hosts++
	case isField(name, "Connection"):
		for option := range bytes.SplitSeq(value, []byte{','}) {
			if isField(bytes.Trim(option, " \t"), "close") {
				r.keepsAlive = false
			}
		}
	case isField(name, "Content-Length"):
		r.hasBody = r.hasBody || len(bytes.Trim(value, "0")) > 0
		return consistsOf(value, &digitBytes)
	case isField(name, "Transfer-Encoding"):
		r.hasBody = true
	}
	return true
}

// isField compares without regard to case, lengths first.
func isField(text []byte, name string) bool {
	return len(text) == len(name) && bytes.EqualFold(text, []byte(name))
}

// byteSet has true for every byte that belongs to it.
type byteSet [256]bool

var (
	tokenBytes = setOf(func(b byte) bool {
		return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' ||
			bytes.IndexByte([]byte("!#$%&'*+-.^_|~\x60"), b) >= 0
	})
	targetBytes = setOf(func(b byte) bool { return b > ' ' && b < 0x7f })
	valueBytes  = setOf(func(b byte) bool { return b == '\t' || b >= ' ' && b != 0x7f })
	digitBytes  = setOf(func(b byte) bool { return b >= '0' && b <= '9' })
)

func setOf(belongs func(byte) bool) (set byteSet) {
	for b := range set {
		set[b] = belongs(byte(b))
	}
	return set
}

// consistsOf tells whether a text has at least one byte, and each belongs to the set.
func consistsOf(text []byte, set *byteSet) bool {
	for _, b := range text {
		if !set[b] {
			return false
		}
	}
	return len(text) > 0
}
