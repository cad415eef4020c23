package main

import (
	"strings"
)

// comparison is the operator of a --where condition.
type comparison uint8

const (
	equal comparison = iota
	notEqual
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// isOrdered says whether both sides are numbers.
func (c comparison) isOrdered() bool { return c >= less }

// condition is one --where: COL OP LITERAL.
type condition struct {
	columnName string
	column     int // resolved against the header
	operator   comparison
	text       []byte
	number     decimal
}

// parseCondition splits at the first operator character; spaces around the operator do not count.
func parseCondition(source string) (condition, error) {
	at := strings.IndexAny(source, "=!<>")
	if at < 0 {
		return condition{}, badRequest("--where %s: no operator (= != < <= > >=)", quoteValue(source))
	}
	parsed := condition{columnName: strings.TrimRight(source[:at], " ")}
	operators := []struct {
		text     string
		operator comparison
	}{
		{"=", equal}, {"!=", notEqual}, {"<=", lessOrEqual}, {"<", less}, {">=", greaterOrEqual}, {">", greater},
	}
	for _, candidate := range operators {
		literal, found := strings.CutPrefix(source[at:], candidate.text)
		if !found {
			continue
		}
		literal = strings.TrimLeft(literal, " ")
		parsed.operator, parsed.text = candidate.operator, []byte(literal)
		return parsed, parsed.readNumber(source)
	}
	return condition{}, badRequest("--where %s: no operator (= != < <= > >=)", quoteValue(source))
}

func (c *condition) readNumber(source string) error {
	if !c.operator.isOrdered() {
		return nil
	}
	number, status := parseDecimal(c.text)
	switch status {
	case numberOK:
		c.number = number
		return nil
	case numberOutOfRange:
		return badRequest("--where %s: number out of range: %s", quoteValue(source), quoteValue(string(c.text)))
	}
	return badRequest("--where %s: not a number: %s", quoteValue(source), quoteValue(string(c.text)))
}

// holds evaluates the condition. An empty field is never less or greater than anything.
func (c *condition) holds(row *record, scratch *[]byte) (bool, numberStatus) {
	if !c.operator.isOrdered() {
		same := string(row.field(c.column, scratch)) == string(c.text)
		return same == (c.operator == equal), numberOK
	}
	number, status := row.number(c.column)
	if status == numberEmpty {
		return false, numberOK
	}
	if status != numberOK {
		return false, status
	}
	order := number.compare(c.number)
	switch c.operator {
	case less:
		return order < 0, numberOK
	case lessOrEqual:
		return order <= 0, numberOK
	case greater:
		return order > 0, numberOK
	}
	return order >= 0, numberOK
}
