package main

// framing is how the end of a body is known.
type framing int

const (
	bodyNone framing = iota
	bodyLength
	bodyChunked
	bodyUntilClose
)

// requestFraming: a request without a length has no body.
func requestFraming(r *requestHead) framing {
	switch {
	case r.chunked:
		return bodyChunked
	case r.contentLength > 0:
		return bodyLength
	}
	return bodyNone
}

// responseFraming follows RFC 9112, section 6.3.
func responseFraming(r *responseHead, toHead bool) framing {
	switch {
	case toHead || r.status < 200 || r.status == 204 || r.status == 304 || r.contentLength == 0:
		return bodyNone
	case r.chunked:
		return bodyChunked
	case r.contentLength > 0:
		return bodyLength
	}
	return bodyUntilClose
}

// body follows a body through the bytes that carry it.
type body struct {
	framing   framing
	remaining int64 // with bodyLength
	chunks    chunkScanner
	done      bool
}

func (b *body) begin(kind framing, length int64, trailerLimit int) {
	*b = body{framing: kind, remaining: length, done: kind == bodyNone}
	b.chunks.trailerLimit = trailerLimit
}

// take says how many of the bytes belong to the body; with bare, the framing of
// chunks is taken out and the payload moved to the front, kept bytes of it.
func (b *body) take(data []byte, bare bool) (used, kept int, wrong *problem) {
	switch b.framing {
	case bodyNone:
		return 0, 0, nil
	case bodyUntilClose:
		return len(data), len(data), nil
	case bodyLength:
		used = int(min(b.remaining, int64(len(data))))
		b.remaining -= int64(used)
		b.done = b.remaining == 0
		return used, used, nil
	}
	used, kept, wrong = b.chunks.scan(data, bare)
	b.done = b.chunks.state == chunksDone
	return used, kept, wrong
}

// readLimit is how much may be read at once without taking more than spare bytes that belong to the next message.
func (b *body) readLimit(spare int) int {
	if b.framing == bodyLength {
		return int(min(b.remaining, streamBytes))
	}
	// Behind the data of a chunk stands at least its line end and the last chunk.
	return max(spare, int(min(b.chunks.remaining, streamBytes-16))+len("\r\n0\r\n\r\n"))
}

// chunkState is what a chunkScanner expects next.
type chunkState uint8

const (
	chunkSize      chunkState = iota // the first digit
	chunkSizeMore                    // more digits, or what ends them
	chunkBlank                       // white space before an extension
	chunkExtension                   // to the end of the line
	chunkSizeLF                      // LF behind the size
	chunkData                        // the data
	chunkDataCR                      // CR behind the data
	chunkDataLF                      // LF behind the data
	trailerStart                     // a trailer, or the empty line
	trailerName                      // the name of a trailer
	trailerValue                     // its value
	trailerLF                        // LF behind the value
	trailersLF                       // LF of the empty line
	chunksDone
)

const (
	maxSizeDigits     = 16
	maxExtensionBytes = 4096
)

// What is wrong with a body.
var (
	badChunkSize      = &problem{400, "bad chunk size"}
	badChunkExtension = &problem{400, "bad chunk extension"}
	badChunkEnd       = &problem{400, "bad chunk end"}
	badTrailer        = &problem{400, "bad trailer"}
	bodyTooLarge      = &problem{413, "body too large"}
)

// chunkProblems says what a byte spoils that may not stand where a state expects another.
var chunkProblems = [...]*problem{
	chunkSize: badChunkSize, chunkSizeMore: badChunkSize, chunkBlank: badChunkSize, chunkSizeLF: badChunkSize,
	chunkExtension: badChunkExtension, chunkDataCR: badChunkEnd, chunkDataLF: badChunkEnd,
	trailerStart: badTrailer, trailerName: badTrailer, trailerValue: badTrailer, trailerLF: badTrailer,
	trailersLF: badChunkEnd,
}

// chunkScanner checks the framing of a chunked body byte by byte, and skips its data.
// It is strict: a size has digits only, every line ends in CRLF (RFC 9112, section 7.1).
type chunkScanner struct {
	state        chunkState
	remaining    int64 // bytes of the chunk that are still to come
	payload      int64 // bytes of all chunks so far, announced
	lineBytes    int   // digits of a size, bytes of an extension, or bytes of all trailers
	trailerLimit int
}

// scan goes through bytes of the body, to its end or theirs.
func (s *chunkScanner) scan(data []byte, bare bool) (used, kept int, wrong *problem) {
	for used < len(data) && s.state != chunksDone {
		if s.state != chunkData {
			if expected := s.state; !s.step(data[used]) {
				return used, kept, chunkProblems[expected]
			}
			used++
			continue
		}
		n := int(min(s.remaining, int64(len(data)-used)))
		if bare {
			copy(data[kept:], data[used:used+n])
		}
		used, kept = used+n, kept+n
		if s.remaining -= int64(n); s.remaining == 0 {
			s.state = chunkDataCR
		}
	}
	if !bare {
		kept = used
	}
	return used, kept, nil
}

// step takes one byte of framing; false where it may not stand there.
func (s *chunkScanner) step(c byte) bool {
	switch s.state {
	case chunkSize, chunkSizeMore:
		return s.stepSize(c)
	case chunkBlank:
		if c == ';' {
			s.state = chunkExtension
		}
		s.lineBytes++
		return (isBlank(c) || c == ';') && s.lineBytes <= maxExtensionBytes
	case chunkExtension:
		if c == '\r' {
			s.state = chunkSizeLF
			return true
		}
		s.lineBytes++
		return !isControl(c) && s.lineBytes <= maxExtensionBytes
	case chunkSizeLF:
		s.state, s.lineBytes = chunkData, 0
		if s.remaining == 0 {
			s.state = trailerStart
		}
		return c == '\n'
	case chunkDataCR:
		s.state = chunkDataLF
		return c == '\r'
	case chunkDataLF:
		s.state = chunkSize
		return c == '\n'
	}
	return s.stepTrailer(c)
}

// stepSize takes a digit of a size, or what ends it.
func (s *chunkScanner) stepSize(c byte) bool {
	if digit := hexDigit(c); digit >= 0 {
		s.state = chunkSizeMore
		s.lineBytes++
		if s.remaining>>59 != 0 {
			return false // one bit stays free, so that lengths can be added without a thought
		}
		s.remaining = s.remaining<<4 | digit
		return s.lineBytes <= maxSizeDigits
	}
	if s.state == chunkSize {
		return false
	}
	s.payload += s.remaining
	switch {
	case c == '\r':
		s.state = chunkSizeLF
	case c == ';':
		s.state = chunkExtension
	case isBlank(c):
		s.state = chunkBlank
	default:
		return false
	}
	s.lineBytes = 0
	return s.payload >= 0
}

// stepTrailer takes a byte behind the last chunk.
func (s *chunkScanner) stepTrailer(c byte) bool {
	if s.lineBytes++; s.lineBytes > s.trailerLimit {
		return false
	}
	switch s.state {
	case trailerStart:
		s.state = trailerName
		if c == '\r' {
			s.state = trailersLF
			return true
		}
		return classes[c]&inToken != 0
	case trailerName:
		if c == ':' {
			s.state = trailerValue
			return true
		}
		return classes[c]&inToken != 0
	case trailerValue:
		if c == '\r' {
			s.state = trailerLF
			return true
		}
		return !isControl(c)
	case trailerLF:
		s.state = trailerStart
		return c == '\n'
	case trailersLF:
		s.state = chunksDone
		return c == '\n'
	}
	return false
}

// hexDigit returns the value of a digit, -1 for any other byte.
func hexDigit(c byte) int64 {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0')
	case c >= 'a' && c <= 'f':
		return int64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int64(c-'A') + 10
	}
	return -1
}

// relay turns the bytes of a response's body, as they stand in a buffer, into those
// that the client gets: as they are, without chunks, or in chunks of our own.
type relay struct {
	body
	bare  bool // take the chunks out
	chunk bool // put chunks around
}

const lastChunk = "0\r\n\r\n"

// prepare takes what is in the buffer and returns what to send, which lies in the
// buffer too; kept is where it starts. Bytes behind the body stay in the buffer.
func (r *relay) prepare(b *buffer) (start, end int, wrong *problem) {
	used, kept, wrong := r.take(b.bytes(), r.bare)
	start, end = b.start, b.start+kept
	b.start += used
	if r.chunk && kept > 0 {
		start = putChunkSize(b.data[:start], kept)
		end += copy(b.data[end:], "\r\n")
	}
	return start, end, wrong
}

// putChunkSize writes the line with a chunk's size at the end of room, and returns where it starts.
func putChunkSize(room []byte, size int) int {
	const digits = "0123456789abcdef"
	at := len(room) - 2
	room[at], room[at+1] = '\r', '\n'
	for first := true; first || size > 0; first = false {
		at--
		room[at] = digits[size&15]
		size >>= 4
	}
	return at
}
