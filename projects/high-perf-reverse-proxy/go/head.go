package main

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// problem is what is wrong with a message, as the client is told it.
type problem struct {
	status int
	cause  string
}

// What is wrong with heads. A head is never repaired: what two readers could read in
// two ways is refused (RFC 9112, section 11.2).
var (
	badRequestLine     = &problem{400, "bad request line"}
	badTarget          = &problem{400, "bad request target"}
	bareLF             = &problem{400, "bare LF"}
	bareCR             = &problem{400, "bare CR"}
	controlByte        = &problem{400, "control byte"}
	badFolding         = &problem{400, "folded header line"}
	spaceBeforeColon   = &problem{400, "space before colon"}
	badFieldName       = &problem{400, "bad header name"}
	badHost            = &problem{400, "bad Host"}
	missingHost        = &problem{400, "missing Host"}
	duplicateHost      = &problem{400, "duplicate Host"}
	badLength          = &problem{400, "bad Content-Length"}
	conflictingLength  = &problem{400, "conflicting Content-Length"}
	lengthAndCoding    = &problem{400, "both Content-Length and Transfer-Encoding"}
	badCoding          = &problem{400, "bad Transfer-Encoding"}
	codingInOldVersion = &problem{400, "Transfer-Encoding in HTTP/1.0"}
	badConnection      = &problem{400, "bad Connection"}
	tooManyOptions     = &problem{400, "too many connection options"}
	connectRefused     = &problem{405, "CONNECT is not supported"}
	lineTooLong        = &problem{414, "request line too long"}
	headTooLong        = &problem{431, "header too large"}
	unknownCoding      = &problem{501, "unknown transfer coding"}
	unsupportedVersion = &problem{505, "only HTTP/1.0 and HTTP/1.1"}
)

// fieldKind tells the header fields that a proxy looks at from all the others.
type fieldKind uint8

const (
	fieldOther   fieldKind = iota
	fieldDropped           // not passed on: hop-by-hop, or a duplicate
	fieldConnection
	fieldContentLength
	fieldForwardedFor
	fieldForwardedHost
	fieldForwardedProto
	fieldHost
	fieldTE
	fieldTransferEncoding
	fieldUpgrade
	fieldVia
)

// field is where a header line stands in its head.
type field struct {
	kind            fieldKind
	start, end      int // with the line end
	nameEnd         int
	value, valueEnd int // without white space around it
}

func (f *field) name(data []byte) []byte { return data[f.start:f.nameEnd] }
func (f *field) text(data []byte) []byte { return data[f.value:f.valueEnd] }

// span is a part of a head.
type span struct{ start, end int }

// maxNominated bounds what Connection may name: each name is looked for in all fields.
const maxNominated = 32

// head is what requests and responses share. It holds places in the bytes it was
// parsed from, and goes on where it stopped when more of them have come.
type head struct {
	fields    []field
	lineEnd   int // behind the first line; 0: not yet seen
	position  int // all lines before it are parsed
	length    int // of the whole head, once it is complete
	minor     int // version 1.minor
	nominated []span

	contentLength             int64 // -1: none
	chunked                   bool
	close, keepAlive, upgrade bool // options of Connection
	upgradeTo                 bool // there is an Upgrade field that may pass
}

func (h *head) reset() {
	*h = head{fields: h.fields[:0], nominated: h.nominated[:0], contentLength: -1}
}

// persistent tells whether the sender lets the connection go on.
func (h *head) persistent() bool { return !h.close && (h.minor == 1 || h.keepAlive) }

// parseFields reads header lines up to the empty one.
func (h *head) parseFields(data []byte) (complete bool, wrong *problem) {
	for {
		at := h.position
		if at >= len(data) {
			return false, nil
		}
		if data[at] == '\r' {
			if at+1 == len(data) {
				return false, nil
			}
			if data[at+1] != '\n' {
				return false, bareCR
			}
			h.length = at + 2
			return true, nil
		}
		line, wrong := parseField(data, at)
		if wrong != nil || line.end == 0 {
			return false, wrong
		}
		h.position = line.end
		h.fields = append(h.fields, line)
	}
}

// parseField reads the header line that starts at a place; its end is 0 where it has not all come.
func parseField(data []byte, at int) (line field, wrong *problem) {
	nameEnd := at + tokenLength(data[at:])
	if nameEnd == len(data) {
		return line, nil
	}
	if data[nameEnd] != ':' || nameEnd == at {
		return line, nameProblem(data, at, nameEnd)
	}
	value := nameEnd + 1
	for value < len(data) && isBlank(data[value]) {
		value++
	}
	lineEnd, wrong := lineEndAfter(data, value)
	if wrong != nil || lineEnd == 0 {
		return line, wrong
	}
	valueEnd := lineEnd - 2
	for valueEnd > value && isBlank(data[valueEnd-1]) {
		valueEnd--
	}
	line = field{start: at, end: lineEnd, nameEnd: nameEnd, value: value, valueEnd: valueEnd}
	line.kind = kindOf(data[at:nameEnd])
	return line, nil
}

// nameProblem says why a header line has no good name.
func nameProblem(data []byte, start, nameEnd int) *problem {
	switch c := data[nameEnd]; {
	case isBlank(c) && nameEnd == start:
		return badFolding
	case isBlank(c) && nameEnd+1 < len(data) && data[nameEnd+1] == ':':
		return spaceBeforeColon
	case isControl(c):
		return controlProblem(c)
	}
	return badFieldName
}

// lineEndAfter finds the end of a line behind its CRLF: 0 where it has not come.
func lineEndAfter(data []byte, from int) (end int, wrong *problem) {
	at := from + textLength(data[from:])
	switch {
	case at == len(data):
		return 0, nil
	case data[at] != '\r':
		return 0, controlProblem(data[at])
	case at+1 == len(data):
		return 0, nil
	case data[at+1] != '\n':
		return 0, bareCR
	}
	return at + 2, nil
}

// controlProblem says what a control byte in a head is.
func controlProblem(c byte) *problem {
	switch c {
	case '\n':
		return bareLF
	case '\r':
		return bareCR
	}
	return controlByte
}

// noteFraming takes in Content-Length, Transfer-Encoding and Connection.
func (h *head) noteFraming(f *field, data []byte) *problem {
	switch f.kind {
	case fieldContentLength:
		length, ok := parseLength(f.text(data))
		if !ok {
			return badLength
		}
		if h.contentLength >= 0 && h.contentLength != length {
			return conflictingLength
		}
		if h.contentLength >= 0 {
			f.kind = fieldDropped // the same once more
		}
		h.contentLength = length
	case fieldTransferEncoding:
		if h.chunked {
			return badCoding
		}
		h.chunked = true
		return codingProblem(f.text(data))
	case fieldConnection:
		return h.noteConnection(f, data)
	}
	return nil
}

// noteConnection takes in the options of a Connection field, and the fields that it nominates.
func (h *head) noteConnection(f *field, data []byte) *problem {
	for at := f.value; at < f.valueEnd; {
		end := at
		for end < f.valueEnd && data[end] != ',' {
			end++
		}
		option := trimBlanks(data, span{at, end})
		at = end + 1
		name := data[option.start:option.end]
		switch {
		case len(name) == 0:
		case tokenLength(name) != len(name):
			return badConnection
		case equalFold(name, "close"):
			h.close = true
		case equalFold(name, "keep-alive"):
			h.keepAlive = true
		case equalFold(name, "upgrade"):
			h.upgrade = true
		case len(h.nominated) == maxNominated:
			return tooManyOptions
		default:
			h.nominated = append(h.nominated, option)
		}
	}
	return nil
}

// dropNominated drops the fields that Connection names. What says where the message
// ends, and for whom it is, is no hop-by-hop field whatever Connection says.
func (h *head) dropNominated(data []byte) {
	for _, option := range h.nominated {
		name := data[option.start:option.end]
		for i := range h.fields {
			f := &h.fields[i]
			switch f.kind {
			case fieldContentLength, fieldTransferEncoding, fieldHost, fieldTE, fieldConnection:
			default:
				if f.nameEnd-f.start == len(name) && bytes.EqualFold(f.name(data), name) {
					f.kind = fieldDropped
				}
			}
		}
	}
}

// last finds the last field of a kind; -1 where there is none.
func (h *head) last(kind fieldKind) int {
	for i := len(h.fields) - 1; i >= 0; i-- {
		if h.fields[i].kind == kind {
			return i
		}
	}
	return -1
}

// lookUp returns the value of the first field of a name.
func (h *head) lookUp(data []byte, name string) (value []byte, found bool) {
	for i := range h.fields {
		f := &h.fields[i]
		if f.nameEnd-f.start == len(name) && bytes.EqualFold(f.name(data), []byte(name)) {
			return f.text(data), true
		}
	}
	return nil, false
}

// --- requests ---

// requestHead is the head of a request, parsed and checked.
type requestHead struct {
	head
	method, target span
	authority      span // of a target in absolute form; empty otherwise
	absolute       bool
	isHead         bool
	idempotent     bool
}

func (r *requestHead) reset() {
	r.head.reset()
	*r = requestHead{head: r.head}
}

// parse goes on with a head of at most limit bytes.
func (r *requestHead) parse(data []byte, limit int) (complete bool, wrong *problem) {
	data = data[:min(len(data), limit)]
	if r.lineEnd == 0 {
		end, wrong := lineEndAfter(data, 0)
		if wrong != nil {
			return false, wrong
		}
		if end == 0 && len(data) == limit {
			return false, lineTooLong
		}
		if end == 0 {
			return false, nil
		}
		if wrong := r.parseLine(data, end-2); wrong != nil {
			return false, wrong
		}
		r.lineEnd, r.position = end, end
	}
	complete, wrong = r.parseFields(data)
	switch {
	case wrong != nil:
		return false, wrong
	case complete:
		return true, r.conclude(data)
	case len(data) == limit:
		return false, headTooLong
	}
	return false, nil
}

// parseLine takes the request line apart: method, target and version with one space between.
func (r *requestHead) parseLine(data []byte, end int) *problem {
	r.method = span{0, tokenLength(data[:end])}
	if r.method.end == 0 || r.method.end == end || data[r.method.end] != ' ' {
		return badRequestLine
	}
	r.target.start = r.method.end + 1
	length := bytes.IndexByte(data[r.target.start:end], ' ')
	if length <= 0 {
		return badRequestLine
	}
	r.target.end = r.target.start + length
	version := data[r.target.end+1 : end]
	if !isVersion(version) {
		return badRequestLine
	}
	if version[5] != '1' || version[7] > '1' {
		return unsupportedVersion
	}
	r.minor = int(version[7] - '0')
	r.noteMethod(data[:r.method.end])
	if string(data[:r.method.end]) == "CONNECT" {
		return connectRefused
	}
	return r.parseTarget(data)
}

// noteMethod remembers what depends on the method.
func (r *requestHead) noteMethod(method []byte) {
	switch string(method) {
	case "HEAD":
		r.isHead, r.idempotent = true, true
	case "GET", "OPTIONS", "TRACE", "PUT", "DELETE":
		r.idempotent = true
	}
}

// parseTarget accepts the origin form, * for OPTIONS, and the absolute form.
func (r *requestHead) parseTarget(data []byte) *problem {
	target := data[r.target.start:r.target.end]
	isOptions := string(data[:r.method.end]) == "OPTIONS"
	switch {
	case !isTarget(target):
		return badTarget
	case target[0] == '/', isOptions && len(target) == 1 && target[0] == '*':
		return nil
	}
	scheme := 0
	for _, known := range []string{"http://", "https://"} {
		if len(target) > len(known) && equalFold(target[:len(known)], known) {
			scheme = len(known)
		}
	}
	if scheme == 0 {
		return badTarget
	}
	r.absolute = true
	r.authority = span{r.target.start + scheme, r.target.end}
	if length := bytes.IndexAny(target[scheme:], "/?"); length >= 0 {
		r.authority.end = r.authority.start + length
	}
	authority := data[r.authority.start:r.authority.end]
	if len(authority) == 0 || authority[0] == ':' || !isAuthority(authority) {
		return badHost
	}
	r.target.start = r.authority.end
	return nil
}

// conclude looks at all fields together.
func (r *requestHead) conclude(data []byte) *problem {
	hosts, upgrades := 0, true
	for i := range r.fields {
		f := &r.fields[i]
		switch f.kind {
		case fieldHost:
			if hosts++; hosts > 1 {
				return duplicateHost
			}
			if !isAuthority(f.text(data)) {
				return badHost
			}
		case fieldUpgrade:
			// Behind an upgrade to HTTP/2 requests would pass that nobody has checked.
			upgrades = upgrades && f.value < f.valueEnd && !bytes.Contains(bytes.ToLower(f.text(data)), []byte("h2c"))
			r.upgradeTo = upgrades
		case fieldContentLength, fieldTransferEncoding, fieldConnection:
			if wrong := r.noteFraming(f, data); wrong != nil {
				return wrong
			}
		}
	}
	r.upgradeTo = r.upgradeTo && r.upgrade && r.minor == 1 && !r.hasBody()
	switch {
	case r.chunked && r.contentLength >= 0:
		return lengthAndCoding
	case r.chunked && r.minor == 0:
		return codingInOldVersion
	case hosts == 0 && r.minor == 1:
		return missingHost
	}
	r.dropNominated(data)
	return nil
}

// hasBody tells whether bytes follow the head.
func (r *requestHead) hasBody() bool { return r.chunked || r.contentLength > 0 }

// appendForward appends the head as a backend gets it: unchanged lines as they
// stand, those about the hop to us left out, those about the hop from us added.
func (r *requestHead) appendForward(out, data []byte, client, backend string) []byte {
	from := 0 // what stands before it is copied or left out
	if r.absolute || r.minor == 0 {
		out = r.appendLine(out, data)
		from = r.lineEnd
	}
	host, forwardedFor, via := r.last(fieldHost), r.last(fieldForwardedFor), r.last(fieldVia)
	if host < 0 {
		out = append(out, "Host: "...)
		out = r.appendAuthority(out, data, backend)
	}
	for i := range r.fields {
		f := &r.fields[i]
		if r.passes(f) || f.kind == fieldForwardedFor && i != forwardedFor || f.kind == fieldVia && i != via {
			continue
		}
		out = append(out, data[from:f.start]...)
		from = f.end
		switch f.kind {
		case fieldForwardedFor:
			out = appendToList(out, data, f, client)
		case fieldVia:
			out = appendToList(out, data, f, viaValue)
		case fieldHost:
			out = append(out, data[f.start:f.nameEnd]...)
			out = append(out, ": "...)
			out = r.appendAuthority(out, data, backend)
		case fieldTransferEncoding:
			out = append(out, chunkedLine...)
		case fieldTE:
			if hasOption(f.text(data), "trailers") {
				out = append(out, "TE: trailers\r\n"...)
			}
		}
	}
	out = append(out, data[from:r.length-2]...)
	if forwardedFor < 0 {
		out = appendHeader(out, "X-Forwarded-For", client)
	}
	out = appendHeader(out, "X-Forwarded-Proto", "http")
	if r.last(fieldForwardedHost) < 0 {
		out = append(out, "X-Forwarded-Host: "...)
		out = r.appendAuthority(out, data, backend)
	}
	if via < 0 {
		out = append(out, viaLine...)
	}
	if r.upgradeTo {
		out = append(out, upgradeLine...)
	}
	return append(out, "\r\n"...)
}

// passes tells whether a line goes on as it stands.
func (r *requestHead) passes(f *field) bool {
	switch f.kind {
	case fieldOther, fieldContentLength, fieldForwardedHost:
		return true
	case fieldHost:
		return !r.absolute
	case fieldUpgrade:
		return r.upgradeTo
	}
	return false
}

// appendLine appends the request line in origin form and with our own version.
func (r *requestHead) appendLine(out, data []byte) []byte {
	out = append(out, data[:r.method.end]...)
	out = append(out, ' ')
	target := data[r.target.start:r.target.end]
	switch {
	case !r.absolute, len(target) > 0 && target[0] == '/':
	case len(target) == 0 && string(data[:r.method.end]) == "OPTIONS":
		out = append(out, '*')
	default:
		out = append(out, '/')
	}
	out = append(out, target...)
	return append(out, " HTTP/1.1\r\n"...)
}

// appendAuthority appends whom the client asks for: as the target says, or Host, or,
// for a client that says nothing, the backend's own name.
func (r *requestHead) appendAuthority(out, data []byte, backend string) []byte {
	if r.absolute {
		out = append(out, data[r.authority.start:r.authority.end]...)
	} else if host := r.last(fieldHost); host >= 0 {
		out = append(out, r.fields[host].text(data)...)
	} else {
		out = append(out, backend...)
	}
	return append(out, "\r\n"...)
}

func appendHeader(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	return append(out, "\r\n"...)
}

const (
	viaValue    = "1.1 deadheat"
	viaLine     = "Via: " + viaValue + "\r\n"
	chunkedLine = "Transfer-Encoding: chunked\r\n"
	upgradeLine = "Connection: upgrade\r\n"
)

// appendToList appends a header line with one more element in its list.
func appendToList(out, data []byte, f *field, element string) []byte {
	if f.value == f.valueEnd {
		out = append(out, data[f.start:f.nameEnd]...)
		out = append(out, ": "...)
	} else {
		out = append(out, data[f.start:f.valueEnd]...)
		out = append(out, ", "...)
	}
	out = append(out, element...)
	return append(out, "\r\n"...)
}

// --- responses ---

// responseHead is the head of a response, parsed and checked.
type responseHead struct {
	head
	status int
}

func (r *responseHead) reset() {
	r.head.reset()
	*r = responseHead{head: r.head}
}

// parse goes on with the head of a response; false where it is none.
func (r *responseHead) parse(data []byte) (complete, ok bool) {
	if r.lineEnd == 0 {
		end, wrong := lineEndAfter(data, 0)
		if wrong != nil || end > 0 && !r.parseLine(data[:end-2]) {
			return false, false
		}
		if end == 0 {
			return false, true
		}
		r.lineEnd, r.position = end, end
	}
	complete, wrong := r.parseFields(data)
	if wrong != nil || complete && !r.conclude(data) {
		return false, false
	}
	return complete, true
}

// parseLine takes the status line apart; the reason may be missing.
func (r *responseHead) parseLine(line []byte) bool {
	if len(line) < 12 || !isVersion(line[:8]) || line[5] != '1' || line[7] > '1' || line[8] != ' ' {
		return false
	}
	if len(line) > 12 && line[12] != ' ' {
		return false
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return false
		}
		r.status = r.status*10 + int(c-'0')
	}
	r.minor = int(line[7] - '0')
	return r.status >= 100
}

func (r *responseHead) conclude(data []byte) bool {
	for i := range r.fields {
		f := &r.fields[i]
		if f.kind == fieldUpgrade {
			r.upgradeTo = true
		}
		if r.noteFraming(f, data) != nil {
			return false
		}
	}
	if r.chunked && (r.contentLength >= 0 || r.minor == 0) {
		return false
	}
	r.dropNominated(data)
	return true
}

// hopToClient is what the response's head says about the connection to the client.
type hopToClient struct {
	chunked    bool   // name the transfer coding
	connection string // the Connection line, or nothing
}

// appendForward appends the head as the client gets it.
func (r *responseHead) appendForward(out, data []byte, hop hopToClient) []byte {
	from := 0
	if r.minor == 0 || r.lineEnd == len("HTTP/1.1 200\r\n") {
		out = append(out, "HTTP/1.1"...)
		out = append(out, data[8:r.lineEnd-2]...)
		if r.lineEnd == len("HTTP/1.1 200\r\n") {
			out = append(out, ' ') // it stands also before an empty reason
		}
		out = append(out, "\r\n"...)
		from = r.lineEnd
	}
	via, named := r.last(fieldVia), !hop.chunked
	for i := range r.fields {
		f := &r.fields[i]
		if r.passes(f) || f.kind == fieldVia && i != via {
			continue
		}
		out = append(out, data[from:f.start]...)
		from = f.end
		switch {
		case f.kind == fieldVia:
			out = appendToList(out, data, f, viaValue)
		case f.kind == fieldTransferEncoding && !named:
			out = append(out, chunkedLine...)
			named = true
		}
	}
	out = append(out, data[from:r.length-2]...)
	if !named {
		out = append(out, chunkedLine...)
	}
	if via < 0 {
		out = append(out, viaLine...)
	}
	out = append(out, hop.connection...)
	return append(out, "\r\n"...)
}

// passes tells whether a line goes on as it stands.
func (r *responseHead) passes(f *field) bool {
	switch f.kind {
	case fieldDropped, fieldConnection, fieldTransferEncoding, fieldVia:
		return false
	case fieldUpgrade:
		return r.status == 101
	}
	return true
}

// --- bytes ---

// Classes of bytes: those of tokens, of targets and of host names (RFC 9110, 5.6.2; RFC 3986).
const (
	inToken = 1 << iota
	inTarget
	inHost
)

var classes = func() (table [256]uint8) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	mark := func(set string, class uint8) {
		for i := range len(set) {
			table[set[i]] |= class
		}
	}
	mark(letters+"!#$%&'*+-.^_`|~", inToken)
	mark(letters+"-._~!$&'()*+;=%", inHost) // no comma: a list of hosts is no host
	for c := '!'; c <= '~'; c++ {
		table[c] |= inTarget
	}
	table['#'] &^= inTarget
	return table
}()

// tokenLength counts the bytes of a token at the start of data.
func tokenLength(data []byte) int {
	for i, c := range data {
		if classes[c]&inToken == 0 {
			return i
		}
	}
	return len(data)
}

func isTarget(data []byte) bool {
	for _, c := range data {
		if classes[c]&inTarget == 0 {
			return false
		}
	}
	return len(data) > 0
}

// isAuthority accepts what may stand in Host: nothing, or a name or an address, with or without a port.
func isAuthority(data []byte) bool {
	name, port := data, []byte(nil)
	if len(data) > 0 && data[0] == '[' {
		closing := bytes.IndexByte(data, ']')
		if closing < 2 || len(bytes.Trim(data[1:closing], "0123456789abcdefABCDEF:.")) > 0 {
			return false
		}
		name, port = nil, data[closing+1:]
		if len(port) > 0 && port[0] != ':' {
			return false
		}
	} else if colon := bytes.IndexByte(data, ':'); colon >= 0 {
		name, port = data[:colon], data[colon:]
	}
	for _, c := range name {
		if classes[c]&inHost == 0 {
			return false
		}
	}
	for _, c := range port[min(1, len(port)):] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(port) <= len(":65535")
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func trimBlanks(data []byte, s span) span {
	for s.start < s.end && isBlank(data[s.start]) {
		s.start++
	}
	for s.start < s.end && isBlank(data[s.end-1]) {
		s.end--
	}
	return s
}

// isVersion accepts HTTP/D.D.
func isVersion(data []byte) bool {
	return len(data) == 8 && string(data[:5]) == "HTTP/" && data[6] == '.' &&
		data[5] >= '0' && data[5] <= '9' && data[7] >= '0' && data[7] <= '9'
}

// textLength counts the bytes before the first control byte other than a tab, eight at a time.
func textLength(data []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(data); i += 8 {
		word := binary.LittleEndian.Uint64(data[i:])
		low := (word - ones*' ') &^ word // the high bit of a byte below a space
		deleted := word ^ ones*0x7f
		found := (low | (deleted-ones)&^deleted) & highs
		for ; found != 0; found &= found - 1 {
			// A borrow can mark a byte above a marked one, so each is looked at.
			at := i + bits.TrailingZeros64(found)/8
			if isControl(data[at]) {
				return at
			}
		}
	}
	for ; i < len(data); i++ {
		if isControl(data[i]) {
			return i
		}
	}
	return len(data)
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// equalFold compares a name with one in lower case. Bytes of a token differ from a
// small letter or a dash in the bit of capitals only where they are the same letter.
func equalFold(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if name[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// kindOf finds the fields that a proxy must know; by length, so that most names need no comparison.
func kindOf(name []byte) fieldKind {
	switch len(name) {
	case 2:
		return kindIf(name, "te", fieldTE)
	case 3:
		return kindIf(name, "via", fieldVia)
	case 4:
		return kindIf(name, "host", fieldHost)
	case 7:
		return kindIf(name, "upgrade", fieldUpgrade)
	case 10:
		return max(kindIf(name, "connection", fieldConnection), kindIf(name, "keep-alive", fieldDropped))
	case 14:
		return kindIf(name, "content-length", fieldContentLength)
	case 15:
		return kindIf(name, "x-forwarded-for", fieldForwardedFor)
	case 16:
		return max(kindIf(name, "x-forwarded-host", fieldForwardedHost), kindIf(name, "proxy-connection", fieldDropped))
	case 17:
		return max(kindIf(name, "transfer-encoding", fieldTransferEncoding), kindIf(name, "x-forwarded-proto", fieldForwardedProto))
	}
	return fieldOther
}

func kindIf(name []byte, lower string, kind fieldKind) fieldKind {
	if equalFold(name, lower) {
		return kind
	}
	return fieldOther
}

// parseLength reads a plain decimal; signs, lists and anything around it are refused.
func parseLength(text []byte) (length int64, ok bool) {
	for _, c := range text {
		digit := int64(c) - '0'
		if digit < 0 || digit > 9 || length > (maxContentLength-digit)/10 {
			return 0, false
		}
		length = length*10 + digit
	}
	return length, len(text) > 0
}

// codingProblem accepts only chunked: nothing else says where a message ends.
func codingProblem(text []byte) *problem {
	if equalFold(text, "chunked") {
		return nil
	}
	for coding := range bytes.SplitSeq(text, []byte(",")) {
		coding = bytes.Trim(coding, " \t")
		switch {
		case len(coding) == 0 || tokenLength(coding) != len(coding):
			return badCoding
		case !equalFold(coding, "chunked"):
			return unknownCoding
		}
	}
	return badCoding
}

// hasOption looks for an element of a comma-separated list; parameters are not looked at.
func hasOption(list []byte, lower string) bool {
	for option := range bytes.SplitSeq(list, []byte(",")) {
		if equalFold(bytes.Trim(option, " \t"), lower) {
			return true
		}
	}
	return false
}
