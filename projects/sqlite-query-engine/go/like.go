package main

import (
	"strings"
	"unicode/utf8"
)

const (
	maximumPatternBytes = 50000 // SQLite's own limit
	noEscape            = -1
)

// fold maps upper-case ASCII letters to lower case.
var fold = func() (table [256]byte) {
	for i := range table {
		table[i] = foldByte(byte(i))
	}
	return table
}()

// untilNul cuts a text at its first NUL, where SQLite's text functions stop.
func untilNul(text string) string {
	if end := strings.IndexByte(text, 0); end >= 0 {
		return text[:end]
	}
	return text
}

// like matches text against a LIKE pattern: % any run, _ one character, ASCII case ignored.
// A mismatch after a % only ever retries the last one, so the time is at most |text|*|pattern|.
func like(pattern, text string, escape rune) bool {
	p, t := 0, 0
	retryPattern, retryText := -1, 0
	for {
		if p < len(pattern) {
			r, size := decodeRune(pattern[p:])
			switch {
			case r == '%' && r != escape:
				p += size
				retryPattern, retryText = p, t
				continue
			case r == '_' && r != escape:
				if t < len(text) {
					_, n := decodeRune(text[t:])
					p, t = p+size, t+n
					continue
				}
			default:
				if r == escape {
					p += size
					if p == len(pattern) {
						return false // an escape that escapes nothing
					}
					r, size = decodeRune(pattern[p:])
				}
				if t < len(text) {
					c, n := decodeRune(text[t:])
					if c == r || (c < utf8.RuneSelf && r < utf8.RuneSelf && fold[byte(c)] == fold[byte(r)]) {
						p, t = p+size, t+n
						continue
					}
				}
			}
		} else if t == len(text) {
			return true
		}
		if retryPattern < 0 || retryText >= len(text) {
			return false
		}
		_, n := decodeRune(text[retryText:])
		retryText += n
		p, t = retryPattern, retryText
	}
}

// decodeRune is utf8.DecodeRune with the ASCII case in front, and with every stray byte its own
// character, so that two different stray bytes do not look alike.
func decodeRune(b string) (rune, int) {
	if b[0] < utf8.RuneSelf {
		return rune(b[0]), 1
	}
	r, size := utf8.DecodeRuneInString(b)
	if r == utf8.RuneError && size == 1 {
		return 0x110000 + rune(b[0]), 1
	}
	return r, size
}

// glob matches text against a GLOB pattern: *, ?, [set], [^set]; case matters.
func glob(pattern, text string) bool {
	p, t := 0, 0
	retryPattern, retryText := -1, 0
	for {
		if p < len(pattern) {
			if pattern[p] == '*' {
				p++
				retryPattern, retryText = p, t
				continue
			}
			if t < len(text) {
				c, n := decodeRune(text[t:])
				if size := globOne(pattern[p:], c); size > 0 {
					p, t = p+size, t+n
					continue
				}
			}
		} else if t == len(text) {
			return true
		}
		if retryPattern < 0 || retryText >= len(text) {
			return false
		}
		_, n := decodeRune(text[retryText:])
		retryText += n
		p, t = retryPattern, retryText
	}
}

// globOne matches one character against the head of the pattern and gives the pattern bytes
// used, or 0.
func globOne(pattern string, c rune) int {
	r, size := decodeRune(pattern)
	if r == '?' {
		return size
	}
	if r != '[' {
		if r == c {
			return size
		}
		return 0
	}
	p := 1
	invert := p < len(pattern) && pattern[p] == '^'
	if invert {
		p++
	}
	seen := false
	previous := rune(-1)
	for first := true; p < len(pattern); first = false {
		r, size = decodeRune(pattern[p:])
		if r == ']' && !first {
			if seen != invert {
				return p + 1
			}
			return 0
		}
		p += size
		if r == '-' && previous >= 0 && p < len(pattern) && pattern[p] != ']' {
			r, size = decodeRune(pattern[p:])
			p += size
			seen = seen || (c >= previous && c <= r)
			previous = -1
			continue
		}
		seen = seen || r == c
		previous = r
	}
	return 0 // the set is not closed
}

// likeShape is the form of a constant pattern.
type likeShape uint8

const (
	likeGeneral likeShape = iota
	likeExact
	likePrefix
	likeSuffix
	likeContains
)

// likeMatcher is a constant LIKE pattern, prepared for matching many texts.
type likeMatcher struct {
	shape         likeShape
	pattern       string
	escape        rune
	literal       []byte // the text between the %, lower case
	anchor        int    // position of the rarest byte of literal
	lower, higher byte   // that byte in both cases
}

func newLikeMatcher(pattern string, escape rune) *likeMatcher {
	m := &likeMatcher{pattern: untilNul(pattern), escape: escape}
	body := m.pattern
	leading := len(body) > 0 && body[0] == '%'
	if leading {
		body = body[1:]
	}
	trailing := len(body) > 0 && body[len(body)-1] == '%'
	if trailing {
		body = body[:len(body)-1]
	}
	if escape != noEscape || len(body) == 0 || strings.ContainsAny(body, "%_") {
		return m
	}
	m.literal = make([]byte, len(body))
	for i := range m.literal {
		m.literal[i] = fold[body[i]]
		if rarity(m.literal[i]) > rarity(m.literal[m.anchor]) {
			m.anchor = i
		}
	}
	m.lower = m.literal[m.anchor]
	m.higher = m.lower
	if m.lower-'a' < 26 {
		m.higher -= 'a' - 'A'
	}
	m.shape = likeExact
	switch {
	case leading && trailing:
		m.shape = likeContains
	case leading:
		m.shape = likeSuffix
	case trailing:
		m.shape = likePrefix
	}
	return m
}

// rarity guesses how rarely a byte stands in a text.
func rarity(c byte) int {
	const common = " etaoinsrhldcumfpgwybvk"
	if at := strings.IndexByte(common, c); at >= 0 {
		return at
	}
	return len(common)
}

func (m *likeMatcher) match(text string) bool {
	text = untilNul(text)
	switch m.shape {
	case likeExact:
		return len(text) == len(m.literal) && m.equal(text)
	case likePrefix:
		return len(text) >= len(m.literal) && m.equal(text)
	case likeSuffix:
		return len(text) >= len(m.literal) && m.equal(text[len(text)-len(m.literal):])
	case likeContains:
		return m.contains(text)
	}
	return like(m.pattern, text, m.escape)
}

// equal compares the literal with the beginning of a text that is long enough.
func (m *likeMatcher) equal(text string) bool {
	text = text[:len(m.literal)]
	for i, c := range m.literal {
		if fold[text[i]] != c {
			return false
		}
	}
	return true
}

// contains looks for the literal by its rarest byte, in both cases, with the vectorised search
// of the standard library.
func (m *likeMatcher) contains(text string) bool {
	last := len(text) - len(m.literal)
	if last < 0 {
		return false
	}
	window := text[m.anchor : last+m.anchor+1] // where the anchor can be
	return m.search(text, window, m.lower) || (m.higher != m.lower && m.search(text, window, m.higher))
}

func (m *likeMatcher) search(text, window string, wanted byte) bool {
	for begin := 0; ; begin++ {
		at := strings.IndexByte(window[begin:], wanted)
		if at < 0 {
			return false
		}
		begin += at
		if m.equal(text[begin:]) {
			return true
		}
	}
}
