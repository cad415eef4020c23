package main

import "strings"

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenQuoted // "x", which may turn out to be a name or a text
	tokenText
	tokenBlob
	tokenInteger
	tokenReal
	tokenSymbol
	tokenBad
)

// token is one lexical element; text is decoded for names, texts and blobs (” -> ').
type token struct {
	kind       tokenKind
	text       string
	upper      string // a name's text in upper case, to match keywords
	begin, end int    // where in the SQL it stands
}

func isNameStart(c byte) bool {
	return c == '_' || c >= 0x80 || (c|0x20)-'a' < 26
}

func isNamePart(c byte) bool { return isNameStart(c) || isDigit(c) || c == '$' }

var symbols = []string{"<<", ">>", "<>", "<=", ">=", "==", "!=", "||", "->"}

// lex splits SQL into tokens up to the first bad one; the last one is always tokenEnd.
func lex(sql string) []token {
	tokens := make([]token, 0, len(sql)/3+2)
	for at := 0; ; {
		at = skipBlank(sql, at)
		if at >= len(sql) {
			return append(tokens, token{kind: tokenEnd, begin: len(sql), end: len(sql)})
		}
		t := lexOne(sql, at)
		if t.kind == tokenBad && t.text == "" {
			t.text = sql[t.begin:t.end]
		}
		tokens = append(tokens, t)
		at = t.end
		if t.kind == tokenBad {
			at = len(sql)
		}
	}
}

// skipBlank passes white space and comments; an unclosed /* comment reaches to the end.
func skipBlank(sql string, at int) int {
	for at < len(sql) {
		switch {
		case isSpace(sql[at]):
			at++
		case strings.HasPrefix(sql[at:], "--"):
			end := strings.IndexByte(sql[at:], '\n')
			if end < 0 {
				return len(sql)
			}
			at += end + 1
		case strings.HasPrefix(sql[at:], "/*") && at+2 < len(sql):
			end := strings.Index(sql[at+2:], "*/")
			if end < 0 {
				return len(sql)
			}
			at += end + 4
		default:
			return at
		}
	}
	return at
}

func lexOne(sql string, at int) token {
	c := sql[at]
	switch {
	case (c == 'x' || c == 'X') && at+1 < len(sql) && sql[at+1] == '\'':
		return lexBlob(sql, at)
	case isNameStart(c):
		end := at
		for end < len(sql) && isNamePart(sql[end]) {
			end++
		}
		text := sql[at:end]
		return token{tokenName, text, strings.ToUpper(text), at, end}
	case isDigit(c), c == '.' && at+1 < len(sql) && isDigit(sql[at+1]):
		return lexNumber(sql, at)
	case c == '\'':
		return lexQuoted(sql, at, '\'', tokenText)
	case c == '"':
		return lexQuoted(sql, at, '"', tokenQuoted)
	case c == '`':
		return lexQuoted(sql, at, '`', tokenName)
	case c == '[':
		end := strings.IndexByte(sql[at:], ']')
		if end < 0 {
			return token{kind: tokenBad, begin: at, end: len(sql)}
		}
		return token{kind: tokenName, text: sql[at+1 : at+end], begin: at, end: at + end + 1}
	}
	for _, s := range symbols {
		if strings.HasPrefix(sql[at:], s) {
			return token{tokenSymbol, s, s, at, at + len(s)}
		}
	}
	if strings.IndexByte("+-*/%()<>=&|~,;.?:@", c) < 0 {
		return token{kind: tokenBad, begin: at, end: at + 1}
	}
	return token{tokenSymbol, sql[at : at+1], sql[at : at+1], at, at + 1}
}

// lexQuoted reads a quoted token in which a doubled quote stands for one.
func lexQuoted(sql string, at int, quote byte, kind tokenKind) token {
	for end := at + 1; end < len(sql); end++ {
		if sql[end] != quote {
			continue
		}
		if end+1 < len(sql) && sql[end+1] == quote {
			end++
			continue
		}
		q := string(quote)
		text := strings.ReplaceAll(sql[at+1:end], q+q, q)
		return token{kind: kind, text: text, begin: at, end: end + 1}
	}
	return token{kind: tokenBad, begin: at, end: len(sql)}
}

func lexBlob(sql string, at int) token {
	end := at + 2
	for end < len(sql) && hexDigit(sql[end]) >= 0 {
		end++
	}
	if end >= len(sql) || sql[end] != '\'' || (end-at)%2 != 0 {
		for end < len(sql) && sql[end] != '\'' {
			end++
		}
		return token{kind: tokenBad, begin: at, end: min(end+1, len(sql))}
	}
	decoded := make([]byte, 0, (end-at)/2)
	for i := at + 2; i < end; i += 2 {
		decoded = append(decoded, byte(hexDigit(sql[i])<<4|hexDigit(sql[i+1])))
	}
	return token{kind: tokenBlob, text: string(decoded), begin: at, end: end + 1}
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case (c|0x20)-'a' < 6:
		return int(c|0x20-'a') + 10
	}
	return -1
}

func lexNumber(sql string, at int) token {
	end, kind := at, tokenInteger
	digits := func() {
		for end < len(sql) && isDigit(sql[end]) {
			end++
		}
	}
	if sql[at] == '0' && at+2 < len(sql) && sql[at+1]|0x20 == 'x' && hexDigit(sql[at+2]) >= 0 {
		for end = at + 2; end < len(sql) && hexDigit(sql[end]) >= 0; {
			end++
		}
	} else {
		digits()
		if end < len(sql) && sql[end] == '.' {
			kind = tokenReal
			end++
			digits()
		}
		if end < len(sql) && sql[end]|0x20 == 'e' {
			sign := end + 1
			if sign < len(sql) && (sql[sign] == '+' || sql[sign] == '-') {
				sign++
			}
			if sign < len(sql) && isDigit(sql[sign]) {
				kind = tokenReal
				end = sign
				digits()
			}
		}
	}
	if end < len(sql) && isNamePart(sql[end]) {
		for end < len(sql) && isNamePart(sql[end]) {
			end++
		}
		kind = tokenBad
	}
	return token{kind: kind, text: sql[at:end], begin: at, end: end}
}
