package main

// globMatch tells if the text has the form of the pattern, by Redis's rules: *
// and ?, [abc], [^a-c], and \ before a character that stands for itself.
func globMatch(pattern, text []byte, ignoreCase bool) bool {
	g := glob{ignoreCase: ignoreCase}
	return g.match(pattern, text)
}

type glob struct {
	ignoreCase bool
	// hopeless is set when the rest of the pattern fits nowhere in the rest of
	// the text: an earlier * need not try to take more. It keeps the time
	// proportional to the product of the lengths.
	hopeless bool
}

func (g *glob) fold(b byte) byte {
	if g.ignoreCase && 'A' <= b && b <= 'Z' {
		return b | 0x20
	}
	return b
}

func (g *glob) match(pattern, text []byte) bool {
	for len(pattern) > 0 && len(text) > 0 {
		switch {
		case pattern[0] == '*':
			return g.star(pattern, text)
		case pattern[0] == '?':
		case pattern[0] == '[':
			rest, matched := g.set(pattern[1:], text[0])
			if !matched {
				return false
			}
			pattern = rest
		default:
			if pattern[0] == '\\' && len(pattern) > 1 {
				pattern = pattern[1:]
			}
			if g.fold(pattern[0]) != g.fold(text[0]) {
				return false
			}
		}
		text = text[1:]
		if len(pattern) > 0 {
			pattern = pattern[1:]
		}
		if len(text) == 0 {
			for len(pattern) > 0 && pattern[0] == '*' {
				pattern = pattern[1:]
			}
		}
	}
	return len(pattern) == 0 && len(text) == 0
}

// star tries the rest of the pattern at every place of the text.
func (g *glob) star(pattern, text []byte) bool {
	for len(pattern) > 1 && pattern[1] == '*' {
		pattern = pattern[1:]
	}
	if len(pattern) == 1 {
		return true
	}
	for ; len(text) > 0; text = text[1:] {
		if g.match(pattern[1:], text) {
			return true
		}
		if g.hopeless {
			return false
		}
	}
	g.hopeless = true
	return false
}

// set matches one byte against what follows [; the rest starts at ], or is empty.
func (g *glob) set(pattern []byte, char byte) (rest []byte, matched bool) {
	negated := len(pattern) > 0 && pattern[0] == '^'
	if negated {
		pattern = pattern[1:]
	}
	for ; len(pattern) > 0 && pattern[0] != ']'; pattern = pattern[1:] {
		switch {
		case pattern[0] == '\\' && len(pattern) >= 2:
			pattern = pattern[1:]
			matched = matched || pattern[0] == char
		case len(pattern) >= 3 && pattern[1] == '-':
			matched = matched || g.inRange(pattern[0], pattern[2], char)
			pattern = pattern[2:]
		default:
			matched = matched || g.fold(pattern[0]) == g.fold(char)
		}
	}
	return pattern, matched != negated
}

// inRange compares as signed characters, like the C of Redis.
func (g *glob) inRange(low, high, char byte) bool {
	from, to, c := int8(low), int8(high), int8(char)
	if from > to {
		from, to = to, from
	}
	return int8(g.fold(byte(from))) <= int8(g.fold(byte(c))) && int8(g.fold(byte(c))) <= int8(g.fold(byte(to)))
}
