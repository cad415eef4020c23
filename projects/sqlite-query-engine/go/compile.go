package main

import "math"

// frame is what a compiled expression sees: the current row, or the current group.
type frame struct {
	record
	aggregates []value // finished aggregates of the current group
	saved      []kept  // bare columns of the current group
	arena      []byte  // memory of values computed for the current row
}

// join copies texts into memory that lives as long as the row.
func (f *frame) join(parts ...string) []byte {
	begin := len(f.arena)
	for _, part := range parts {
		f.arena = append(f.arena, part...)
	}
	return f.arena[begin:len(f.arena):len(f.arena)]
}

// failSQL records an error that is the query's fault, not the file's.
func (f *frame) failSQL(format string, arguments ...any) value {
	if f.err == nil {
		f.err = badInput(format, arguments...)
	}
	return null
}

// evalFunc computes an expression; errors go to the frame.
type evalFunc func(*frame) value

// testFunc computes a condition without making a value of it.
type testFunc func(*frame) truth

// compiler turns resolved expressions into closures bound to the fields of one source of rows.
type compiler struct {
	table     *table
	source    *index      // rows are entries of this index; nil: rows of the table
	saved     map[int]int // columns of a group: column -> position in frame.saved
	grouped   bool        // columns and aggregates come from a finished group
	constants *frame      // evaluates what is constant, once
}

func (c *compiler) compileAll(list []*expr) []evalFunc {
	compiled := make([]evalFunc, len(list))
	for i, e := range list {
		compiled[i] = c.compile(e)
	}
	return compiled
}

// compile makes the closure of an expression. Constant ones are computed here; if that fails,
// the error belongs to the moment when the value is needed.
func (c *compiler) compile(e *expr) evalFunc {
	eval := c.node(e)
	if e.op == opLiteral || !e.constant {
		return eval
	}
	v := eval(c.constants)
	if c.constants.err != nil {
		c.constants.err = nil
		return eval
	}
	return func(*frame) value { return v }
}

func (c *compiler) node(e *expr) evalFunc {
	switch e.op {
	case opLiteral:
		v := e.literal
		return func(*frame) value { return v }
	case opColumn:
		return c.column(e.column)
	case opAggregate:
		slot := e.slot
		return func(f *frame) value { return f.aggregates[slot] }
	case opFunction:
		return c.function(e)
	case opAdd, opSubtract, opMultiply, opDivide, opRemainder:
		return c.arithmetic(e)
	case opConcat, opBitAnd, opBitOr, opShiftLeft, opShiftRight:
		return c.operation(e)
	case opPlus, opCollate:
		return c.compile(e.left)
	case opNegate:
		operand := c.compile(e.left)
		return func(f *frame) value { return subtract(intValue(0), operand(f)) }
	case opBitNot:
		operand := c.compile(e.left)
		return func(f *frame) value {
			v := operand(f)
			if v.kind == kindNull {
				return v
			}
			return intValue(^v.toInt())
		}
	case opCast:
		operand, a := c.compile(e.left), e.affinity
		return func(f *frame) value { return a.cast(operand(f)) }
	case opCase:
		return c.caseWhen(e)
	}
	test := c.test(e)
	return func(f *frame) value { return test(f).value() }
}

// column binds a column to its place in the rows of the source.
func (c *compiler) column(number int) evalFunc {
	if c.grouped {
		position := c.saved[number]
		return func(f *frame) value { return f.saved[position].value }
	}
	field := c.field(number)
	if field < 0 {
		return func(f *frame) value { return intValue(f.rowid) }
	}
	fallback, isReal := c.fallback(number)
	return func(f *frame) value {
		v, ok := f.value(field)
		if !ok {
			if f.err != nil {
				return null
			}
			return fallback
		}
		if isReal && v.kind == kindInt { // whole reals are stored as integers
			return realValue(float64(v.int()))
		}
		return v
	}
}

// field is where the source's records hold a column; -1 is the rowid of a table row.
func (c *compiler) field(number int) int {
	if c.source != nil {
		return c.source.fields[number]
	}
	if number == rowidColumn {
		return -1
	}
	return c.table.columns[number].field
}

// fallback is the value of a column that was added after the row was written.
func (c *compiler) fallback(number int) (v value, isReal bool) {
	if number == rowidColumn {
		return null, false
	}
	column := &c.table.columns[number]
	if !column.fallbackOK && c.source == nil {
		// Such a default cannot have been added by ALTER TABLE: every row has the field.
		return null, column.affinity == affinityReal
	}
	return column.fallback, column.affinity == affinityReal
}

func (c *compiler) arithmetic(e *expr) evalFunc {
	left, right := c.compile(e.left), c.compile(e.right)
	switch e.op {
	case opAdd:
		return func(f *frame) value { return add(left(f), right(f)) }
	case opSubtract:
		return func(f *frame) value { return subtract(left(f), right(f)) }
	case opMultiply:
		return func(f *frame) value { return multiply(left(f), right(f)) }
	case opDivide:
		return func(f *frame) value { return divide(left(f), right(f)) }
	}
	return func(f *frame) value { return remainder(left(f), right(f)) }
}

func (c *compiler) operation(e *expr) evalFunc {
	left, right := c.compile(e.left), c.compile(e.right)
	var operate func(f *frame, a, b value) value
	switch e.op {
	case opConcat:
		operate = func(f *frame, a, b value) value { return textValue(borrow(f.join(a.asText(), b.asText()))) }
	case opBitAnd:
		operate = func(_ *frame, a, b value) value { return intValue(a.toInt() & b.toInt()) }
	case opBitOr:
		operate = func(_ *frame, a, b value) value { return intValue(a.toInt() | b.toInt()) }
	case opShiftLeft:
		operate = func(_ *frame, a, b value) value { return intValue(shift(a.toInt(), b.toInt())) }
	default:
		operate = func(_ *frame, a, b value) value {
			count := b.toInt()
			if count == math.MinInt64 { // has no negative
				return intValue(0)
			}
			return intValue(shift(a.toInt(), -count))
		}
	}
	return func(f *frame) value {
		a, b := left(f), right(f)
		if a.kind == kindNull || b.kind == kindNull {
			return null
		}
		return operate(f, a, b)
	}
}

func (c *compiler) caseWhen(e *expr) evalFunc {
	conditions := make([]testFunc, 0, len(e.list)/2)
	results := make([]evalFunc, 0, len(e.list)/2)
	for i := 0; i < len(e.list); i += 2 {
		when := e.list[i]
		if e.left != nil {
			conditions = append(conditions, c.comparison(opEqual, e.left, when))
		} else {
			conditions = append(conditions, c.test(when))
		}
		results = append(results, c.compile(e.list[i+1]))
	}
	otherwise := func(*frame) value { return null }
	if e.right != nil {
		otherwise = c.compile(e.right)
	}
	return func(f *frame) value {
		for i, condition := range conditions {
			if condition(f) == isTrue {
				return results[i](f)
			}
		}
		return otherwise(f)
	}
}

// test compiles an expression that is used as a condition.
func (c *compiler) test(e *expr) testFunc {
	switch e.op {
	case opAnd:
		left, right := c.test(e.left), c.test(e.right)
		return func(f *frame) truth { return and(left(f), right, f) }
	case opOr:
		left, right := c.test(e.left), c.test(e.right)
		return func(f *frame) truth { return and(left(f).not(), negated(right), f).not() }
	case opNot:
		return negated(c.test(e.left))
	case opEqual, opNotEqual, opLess, opLessEqual, opGreater, opGreaterEqual:
		return c.comparison(e.op, e.left, e.right)
	case opIs:
		return c.is(e)
	case opTruth:
		return c.isTruth(e)
	case opBetween:
		low := c.comparison(opGreaterEqual, e.left, e.list[0])
		high := c.comparison(opLessEqual, e.left, e.list[1])
		between := func(f *frame) truth { return and(low(f), high, f) }
		return maybeNegated(between, e.not)
	case opIn:
		return maybeNegated(c.in(e), e.not)
	case opLike:
		test, _ := c.like(e)
		return maybeNegated(test, e.not)
	case opGlob:
		return maybeNegated(c.glob(e), e.not)
	}
	operand := c.compile(e)
	return func(f *frame) truth { return operand(f).truth() }
}

// and is AND with the right side evaluated only when it matters.
func and(left truth, right testFunc, f *frame) truth {
	if left == isFalse {
		return isFalse
	}
	switch r := right(f); {
	case r == isFalse:
		return isFalse
	case left == isNull:
		return isNull
	default:
		return r
	}
}

func negated(test testFunc) testFunc {
	return func(f *frame) truth { return test(f).not() }
}

func maybeNegated(test testFunc, not bool) testFunc {
	if not {
		return negated(test)
	}
	return test
}

// outcomes is the set of comparison results (-1, 0, 1 as bits 0, 1, 2) that make a test true.
type outcomes uint8

func outcomesOf(op operator) outcomes {
	switch op {
	case opEqual:
		return 0b010
	case opNotEqual:
		return 0b101
	case opLess:
		return 0b001
	case opLessEqual:
		return 0b011
	case opGreater:
		return 0b100
	}
	return 0b110
}

// mirrored is the set for swapped operands.
func (o outcomes) mirrored() outcomes { return o&0b010 | o>>2 | o<<2&0b100 }

func (o outcomes) holds(order int) truth {
	switch {
	case order < 0:
		return truth(o & 1)
	case order == 0:
		return truth(o >> 1 & 1)
	}
	return truth(o >> 2)
}

func (c *compiler) comparison(op operator, left, right *expr) testFunc {
	test, _ := c.compare(op, left, right)
	return test
}

// compare compiles a comparison, with its page form if it has one.
func (c *compiler) compare(op operator, left, right *expr) (testFunc, *kernel) {
	wanted := outcomesOf(op)
	a := comparisonAffinity(affinityOf(c.table, left), affinityOf(c.table, right))
	collate := comparisonCollation(c.table, left, right)
	if !c.grouped {
		if left.op == opColumn && right.constant {
			if test, page := c.columnTest(left.column, wanted, a, collate, right); test != nil {
				return test, page
			}
		}
		if right.op == opColumn && left.constant {
			if test, page := c.columnTest(right.column, wanted.mirrored(), a, collate, left); test != nil {
				return test, page
			}
		}
	}
	x, y := c.compile(left), c.compile(right)
	return func(f *frame) truth {
		v, w := x(f), y(f)
		if v.kind == kindNull || w.kind == kindNull {
			return isNull
		}
		return wanted.holds(compareValues(a.coerce(v), a.coerce(w), collate))
	}, nil
}

// columnTest compares a column with a constant: the constant is converted once, and the usual
// storage classes are compared without making a value.
func (c *compiler) columnTest(number int, wanted outcomes, a affinity, collate collation, constant *expr) (testFunc, *kernel) {
	v := a.coerce(c.compile(constant)(c.constants))
	if c.constants.err != nil {
		c.constants.err = nil
		return nil, nil
	}
	if v.kind == kindNull {
		return func(*frame) truth { return isNull }, nil
	}
	column := c.column(number)
	general := func(f *frame) truth {
		w := column(f)
		if w.kind == kindNull {
			return isNull
		}
		return wanted.holds(compareValues(a.coerce(w), v, collate))
	}
	field := c.field(number)
	switch {
	case field < 0:
	case v.isNumber():
		return numberTest(field, wanted, v, general), numberKernel(field, wanted, v)
	case v.kind == kindText && collate == collateBinary && a <= affinityText:
		return textTest(field, wanted, v.text, general), textKernel(field, wanted, v.text)
	}
	return general, nil
}

// is compiles IS, where NULL equals NULL.
func (c *compiler) is(e *expr) testFunc {
	not := e.not
	if e.right.op == opLiteral && e.right.literal.kind == kindNull {
		if e.left.op == opColumn && !c.grouped && c.field(e.left.column) >= 0 {
			return c.columnIsNull(e.left.column, not)
		}
		operand := c.compile(e.left)
		return func(f *frame) truth { return truthOf((operand(f).kind == kindNull) != not) }
	}
	a := comparisonAffinity(affinityOf(c.table, e.left), affinityOf(c.table, e.right))
	collate := comparisonCollation(c.table, e.left, e.right)
	x, y := c.compile(e.left), c.compile(e.right)
	return func(f *frame) truth {
		v, w := x(f), y(f)
		if v.kind == kindNull || w.kind == kindNull {
			return truthOf((v.kind == w.kind) != not)
		}
		return truthOf((compareValues(a.coerce(v), a.coerce(w), collate) == 0) != not)
	}
}

// columnIsNull looks at the serial type alone, so that a long value is not assembled.
func (c *compiler) columnIsNull(number int, not bool) testFunc {
	field := c.field(number)
	fallback, _ := c.fallback(number)
	column := c.column(number)
	return func(f *frame) truth {
		serial, ok := f.serialOf(field)
		if !ok {
			return truthOf((fallback.kind == kindNull) != not)
		}
		if serial == serialReal { // a stored NaN reads as NULL
			return truthOf((column(f).kind == kindNull) != not)
		}
		return truthOf((serial == serialNull) != not)
	}
}

func (c *compiler) isTruth(e *expr) testFunc {
	operand := c.test(e.left)
	wanted := truthOf(e.literal.int() != 0)
	not := e.not
	return func(f *frame) truth { return truthOf((operand(f) == wanted) != not) }
}

// in compiles x IN (list): x's affinity and collation alone decide how the items compare.
func (c *compiler) in(e *expr) testFunc {
	operand := c.compile(e.left)
	a := affinityOf(c.table, e.left)
	collate := inCollation(c.table, e)
	items := c.compileAll(e.list)
	allConstant := true
	for _, item := range e.list {
		allConstant = allConstant && item.constant
	}
	if allConstant && len(items) > 0 {
		if test := c.inConstants(operand, a, collate, items); test != nil {
			return test
		}
	}
	return func(f *frame) truth {
		if len(items) == 0 {
			return isFalse
		}
		v := operand(f)
		if v.kind == kindNull {
			return isNull
		}
		result := isFalse
		for _, item := range items {
			w := item(f)
			if w.kind == kindNull {
				result = isNull
			} else if compareValues(a.coerce(v), a.coerce(w), collate) == 0 {
				return isTrue
			}
		}
		return result
	}
}

// inConstants tests by binary search in the sorted list.
func (c *compiler) inConstants(operand evalFunc, a affinity, collate collation, items []evalFunc) testFunc {
	var values []value
	otherwise := isFalse
	for _, item := range items {
		v := a.coerce(item(c.constants))
		if v.kind == kindNull {
			otherwise = isNull
			continue
		}
		values = append(values, v)
	}
	if c.constants.err != nil {
		c.constants.err = nil
		return nil
	}
	values = sortedDistinct(values, collate)
	return func(f *frame) truth {
		v := operand(f)
		if v.kind == kindNull {
			return isNull
		}
		v = a.coerce(v)
		low, high := 0, len(values)
		for low < high {
			middle := int(uint(low+high) / 2)
			d := compareValues(values[middle], v, collate)
			if d == 0 {
				return isTrue
			}
			if d < 0 {
				low = middle + 1
			} else {
				high = middle
			}
		}
		return otherwise
	}
}

// like compiles LIKE; SQLite (as Debian builds it) never matches a blob.
func (c *compiler) like(e *expr) (testFunc, *kernel) {
	text, pattern := c.compile(e.left), c.compile(e.right)
	var escape evalFunc
	constant := e.right.constant
	if len(e.list) > 0 {
		escape = c.compile(e.list[0])
		constant = constant && e.list[0].constant
	}
	if !constant {
		return func(f *frame) truth {
			m, result := prepareLike(f, pattern(f), escape)
			return matchLike(m, result, text(f))
		}, nil
	}
	m, result := prepareLike(c.constants, pattern(c.constants), escape)
	if c.constants.err != nil {
		err := c.constants.err
		c.constants.err = nil
		return func(f *frame) truth {
			f.err = err
			return isNull
		}, nil
	}
	test := func(f *frame) truth { return matchLike(m, result, text(f)) }
	if m != nil && e.left.op == opColumn && !c.grouped && c.field(e.left.column) >= 0 {
		return test, likeKernel(c.field(e.left.column), m)
	}
	return test, nil
}

// term compiles a term of WHERE, with its page form if the term as a whole has one.
func (c *compiler) term(e *expr) (testFunc, *kernel) {
	switch e.op {
	case opEqual, opNotEqual, opLess, opLessEqual, opGreater, opGreaterEqual:
		return c.compare(e.op, e.left, e.right)
	case opLike:
		if !e.not {
			return c.like(e)
		}
	}
	return c.test(e), nil
}

// prepareLike makes the matcher; without one, the result is already known.
func prepareLike(f *frame, pattern value, escape evalFunc) (*likeMatcher, truth) {
	mark := rune(noEscape)
	if escape != nil {
		v := escape(f)
		if v.kind == kindNull {
			return nil, isNull
		}
		text := v.asText()
		r, size := rune(0), 0
		if len(text) > 0 {
			r, size = decodeRune(text)
		}
		if size == 0 || size != len(text) {
			f.failSQL("ESCAPE expression must be a single character")
			return nil, isNull
		}
		mark = r
	}
	switch {
	case pattern.kind == kindNull:
		return nil, isNull
	case pattern.kind == kindBlob:
		return nil, isFalse
	}
	text := pattern.asText()
	if len(text) > maximumPatternBytes {
		f.failSQL("LIKE or GLOB pattern too complex")
		return nil, isNull
	}
	return newLikeMatcher(text, mark), isTrue
}

func matchLike(m *likeMatcher, result truth, text value) truth {
	switch {
	case text.kind == kindBlob:
		return isFalse
	case text.kind == kindNull:
		if m == nil && result == isFalse {
			return isFalse // the pattern is a blob
		}
		return isNull
	case m == nil:
		return result
	case text.kind == kindText:
		return truthOf(m.match(text.text))
	}
	return truthOf(m.match(text.asText()))
}

func (c *compiler) glob(e *expr) testFunc {
	text, pattern := c.compile(e.left), c.compile(e.right)
	return func(f *frame) truth {
		t, p := text(f), pattern(f)
		switch {
		case t.kind == kindBlob || p.kind == kindBlob:
			return isFalse
		case t.kind == kindNull || p.kind == kindNull:
			return isNull
		}
		mask := p.asText()
		if len(mask) > maximumPatternBytes {
			f.failSQL("LIKE or GLOB pattern too complex")
			return isNull
		}
		return truthOf(glob(untilNul(mask), untilNul(t.asText())))
	}
}
