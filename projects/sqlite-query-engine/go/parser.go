package main

import (
	"strconv"
	"strings"
)

const maximumDepthOfExpression = 1000

// operator says what an expression node is.
type operator uint8

const (
	opLiteral operator = iota
	opName             // a column name or alias that resolve has yet to find
	opColumn           // column is its number, or rowidColumn
	opStar             // * or t.* among the result columns
	opFunction
	opAggregate
	opAdd
	opSubtract
	opMultiply
	opDivide
	opRemainder
	opConcat
	opBitAnd
	opBitOr
	opShiftLeft
	opShiftRight
	opNegate
	opPlus
	opBitNot
	opNot
	opAnd
	opOr
	opEqual
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opIs    // not: IS NOT
	opTruth // left IS [NOT] TRUE/FALSE; literal holds which
	opBetween
	opIn
	opLike
	opGlob
	opCase // left = base or nil, list = when, then, ..., right = else or nil
	opCast
	opCollate
)

// expr is a node of the syntax tree. One struct for all nodes keeps the walks short.
type expr struct {
	op          operator
	not         bool // the negated form of IS, BETWEEN, IN, LIKE, GLOB
	distinct    bool // COUNT(DISTINCT x)
	quoted      bool // a name in double quotes: a text when no column has that name
	left, right *expr
	list        []*expr
	literal     value
	table, name string
	column      int
	slot        int // opAggregate: which one
	affinity    affinity
	collation   collation
	height      int
	constant    bool // names no column and no aggregate (set by resolve)
	explicit    bool // has a COLLATE operator somewhere (set by resolve)
}

type resultColumn struct {
	expr  *expr
	alias string
	name  string // the heading
}

type orderTerm struct {
	expr       *expr
	descending bool
	nullsLast  bool
	plainNulls bool // NULL order is the one that the direction implies
}

// query is a parsed SELECT.
type query struct {
	sql       string
	explain   bool
	distinct  bool
	columns   []resultColumn
	hasTable  bool
	table     string
	alias     string
	indexedBy string
	where     *expr
	groupBy   []*expr
	having    *expr
	orderBy   []orderTerm
	limit     *expr
	offset    *expr
}

// parser is a recursive-descent parser. The first error is kept and the token list replaced by
// its end, so that the grammar needs no error handling of its own.
type parser struct {
	sql    string
	tokens []token
	at     int
	depth  int
	err    error
}

// reserved words cannot be names without quotes.
var reserved = wordSet(`ADD ALL ALTER AND AS AUTOINCREMENT BETWEEN CASE CHECK COLLATE COMMIT
	CONSTRAINT CREATE DEFAULT DEFERRABLE DELETE DISTINCT DROP ELSE ESCAPE EXISTS FOREIGN FROM GROUP
	HAVING IN INDEX INSERT INTERSECT INTO IS ISNULL JOIN LIMIT NOT NOTHING NOTNULL NULL ON OR ORDER
	PRIMARY REFERENCES RETURNING SELECT SET TABLE THEN TO TRANSACTION UNION UNIQUE UPDATE USING
	VALUES WHEN WHERE`)

// joinWords may be table names, but not an alias without AS.
var joinWords = wordSet(`CROSS FULL INNER LEFT NATURAL OUTER RIGHT`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// parse reads one SELECT statement.
func parse(sql string) (*query, error) {
	p := &parser{sql: sql, tokens: lex(sql)}
	q := p.statement()
	if p.err != nil {
		return nil, p.err
	}
	return q, nil
}

// fail records the first error and moves to the end, so that every loop of the grammar ends.
func (p *parser) fail(format string, arguments ...any) {
	if p.err == nil {
		p.err = badInput(format, arguments...)
	}
	p.tokens = append(p.tokens[:0:0], token{kind: tokenEnd, begin: len(p.sql), end: len(p.sql)})
	p.at = 0
}

func (p *parser) failNear() {
	switch t := p.peek(); t.kind {
	case tokenEnd:
		p.fail("incomplete input")
	case tokenBad:
		p.fail("unrecognized token: \"%s\"", t.text)
	default:
		p.fail("near \"%s\": syntax error", p.sql[t.begin:t.end])
	}
}

func (p *parser) peek() *token { return &p.tokens[p.at] }

func (p *parser) peekAt(ahead int) *token {
	return &p.tokens[min(p.at+ahead, len(p.tokens)-1)]
}

// take consumes the current token; the end stays.
func (p *parser) take() *token {
	t := &p.tokens[p.at]
	if p.at < len(p.tokens)-1 {
		p.at++
	}
	return t
}

// is says whether the current token is this symbol or keyword.
func (p *parser) is(word string) bool { return p.peek().upper == word }

func (p *parser) accept(word string) bool {
	if p.is(word) {
		p.take()
		return true
	}
	return false
}

func (p *parser) expect(word string) {
	if !p.accept(word) {
		p.failNear()
	}
}

// previousEnd is where the text of the last consumed token ends.
func (p *parser) previousEnd() int {
	if p.at == 0 {
		return 0
	}
	return p.tokens[p.at-1].end
}

func (p *parser) isName() bool {
	t := p.peek()
	return t.kind == tokenQuoted || (t.kind == tokenName && !reserved[t.upper])
}

func (p *parser) name() string {
	if !p.isName() && p.peek().kind != tokenText {
		p.failNear()
		return ""
	}
	return p.take().text
}

func (p *parser) statement() *query {
	q := &query{sql: p.sql}
	if p.accept("EXPLAIN") {
		p.expect("QUERY")
		p.expect("PLAN")
		q.explain = true
	}
	if t := p.peek(); t.kind == tokenName && !p.is("SELECT") {
		switch t.upper {
		case "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "PRAGMA", "WITH", "VALUES",
			"REPLACE", "BEGIN", "COMMIT", "ROLLBACK", "ATTACH", "DETACH", "VACUUM", "ANALYZE", "REINDEX":
			p.fail("%s is not supported: only SELECT is", t.upper)
			return q
		}
	}
	p.selectCore(q)
	p.selectTail(q)
	p.accept(";")
	for p.accept(";") {
	}
	if p.peek().kind != tokenEnd {
		p.failUnsupported()
	}
	return q
}

// failUnsupported names a part of SQL that this engine leaves out, or the syntax error.
func (p *parser) failUnsupported() {
	switch t := p.peek(); t.upper {
	case "UNION", "INTERSECT", "EXCEPT":
		p.fail("%s is not supported: compound SELECT", t.upper)
	case "JOIN", "CROSS", "FULL", "INNER", "LEFT", "NATURAL", "OUTER", "RIGHT", ",":
		p.fail("near \"%s\": JOIN is not supported: one table only", t.text)
	case "WINDOW", "OVER", "FILTER":
		p.fail("%s is not supported: window functions and filters", t.upper)
	default:
		p.failNear()
	}
}

func (p *parser) selectCore(q *query) {
	p.expect("SELECT")
	if p.accept("DISTINCT") {
		q.distinct = true
	} else {
		p.accept("ALL")
	}
	for {
		q.columns = append(q.columns, p.resultColumn())
		if !p.accept(",") {
			break
		}
	}
	if p.accept("FROM") {
		p.from(q)
	}
	if p.accept("WHERE") {
		q.where = p.expression()
	}
	if p.accept("GROUP") {
		p.expect("BY")
		q.groupBy = p.expressions()
	}
	if p.accept("HAVING") {
		q.having = p.expression()
	}
}

func (p *parser) resultColumn() resultColumn {
	begin := p.peek().begin
	if p.accept("*") {
		return resultColumn{expr: &expr{op: opStar}}
	}
	if p.isName() && p.peekAt(1).upper == "." && p.peekAt(2).upper == "*" {
		table := p.take().text
		p.take()
		p.take()
		return resultColumn{expr: &expr{op: opStar, table: table}}
	}
	c := resultColumn{expr: p.expression()}
	c.name = strings.TrimSpace(p.sql[begin:max(begin, p.previousEnd())])
	if p.accept("AS") {
		c.alias = p.name()
	} else if (p.isName() && !joinWords[p.peek().upper] && !p.clauseFollows()) || p.peek().kind == tokenText {
		c.alias = p.take().text
	}
	if c.alias != "" {
		c.name = c.alias
	}
	return c
}

// clauseFollows keeps words that are names elsewhere from being read as an alias.
func (p *parser) clauseFollows() bool {
	switch p.peek().upper {
	case "EXCEPT", "WINDOW", "OVER", "FILTER", "INDEXED":
		return true
	}
	return false
}

func (p *parser) from(q *query) {
	if p.is("(") {
		p.fail("subqueries are not supported")
		return
	}
	q.hasTable = true
	q.table = p.name()
	if p.accept(".") {
		if schema := q.table; !strings.EqualFold(schema, "main") {
			p.fail("no such table: %s.%s", schema, p.peek().text)
			return
		}
		q.table = p.name()
	}
	if p.is("(") {
		p.fail("table-valued function %s is not supported", q.table)
		return
	}
	if p.accept("AS") {
		q.alias = p.name()
	} else if (p.isName() && !joinWords[p.peek().upper] && !p.clauseFollows()) || p.peek().kind == tokenText {
		q.alias = p.take().text
	}
	if p.is("INDEXED") || (p.is("NOT") && p.peekAt(1).upper == "INDEXED") {
		p.fail("INDEXED BY is not supported")
	}
	if p.is(",") || p.is("JOIN") || joinWords[p.peek().upper] {
		p.failUnsupported()
	}
}

func (p *parser) selectTail(q *query) {
	if p.accept("ORDER") {
		p.expect("BY")
		for {
			q.orderBy = append(q.orderBy, p.orderTerm())
			if !p.accept(",") {
				break
			}
		}
	}
	if p.accept("LIMIT") {
		q.limit = p.expression()
		if p.accept("OFFSET") {
			q.offset = p.expression()
		} else if p.accept(",") {
			q.offset = q.limit
			q.limit = p.expression()
		}
	}
}

func (p *parser) orderTerm() orderTerm {
	t := orderTerm{expr: p.expression(), plainNulls: true}
	if p.accept("DESC") {
		t.descending = true
	} else {
		p.accept("ASC")
	}
	t.nullsLast = t.descending
	if p.accept("NULLS") {
		if p.accept("LAST") {
			t.nullsLast = true
		} else {
			p.expect("FIRST")
			t.nullsLast = false
		}
		t.plainNulls = t.nullsLast == t.descending
	}
	return t
}

func (p *parser) expressions() []*expr {
	list := []*expr{p.expression()}
	for p.accept(",") {
		list = append(list, p.expression())
	}
	return list
}

// Binding strengths, weakest first.
const (
	bindOr = iota + 1
	bindAnd
	bindNot
	bindEqual
	bindCompare
	bindEscape
	bindBits
	bindAdd
	bindMultiply
	bindConcat
	bindCollate
	bindUnary
)

type infix struct {
	op    operator
	binds int
}

var infixes = map[string]infix{
	"OR": {opOr, bindOr}, "AND": {opAnd, bindAnd},
	"=": {opEqual, bindEqual}, "==": {opEqual, bindEqual},
	"<>": {opNotEqual, bindEqual}, "!=": {opNotEqual, bindEqual},
	"<": {opLess, bindCompare}, "<=": {opLessEqual, bindCompare},
	">": {opGreater, bindCompare}, ">=": {opGreaterEqual, bindCompare},
	"&": {opBitAnd, bindBits}, "|": {opBitOr, bindBits},
	"<<": {opShiftLeft, bindBits}, ">>": {opShiftRight, bindBits},
	"+": {opAdd, bindAdd}, "-": {opSubtract, bindAdd},
	"*": {opMultiply, bindMultiply}, "/": {opDivide, bindMultiply}, "%": {opRemainder, bindMultiply},
	"||": {opConcat, bindConcat},
}

func (p *parser) expression() *expr { return p.binary(bindOr) }

// binary parses an expression whose operators bind at least as strongly as given.
func (p *parser) binary(binds int) *expr {
	if p.depth++; p.depth > maximumDepthOfExpression {
		p.failDepth()
	}
	left := p.prefix()
	for p.err == nil {
		next := p.infix(left, binds)
		if next == nil {
			break
		}
		left = next
	}
	p.depth--
	return left
}

func (p *parser) failDepth() {
	p.fail("expression tree is too large (maximum depth %d)", maximumDepthOfExpression)
}

// node finishes a node with its height, which bounds every later walk.
func (p *parser) node(e *expr) *expr {
	e.height = 1
	for _, child := range e.list {
		e.height = max(e.height, child.height+1)
	}
	if e.left != nil {
		e.height = max(e.height, e.left.height+1)
	}
	if e.right != nil {
		e.height = max(e.height, e.right.height+1)
	}
	if e.height > maximumDepthOfExpression {
		p.failDepth()
	}
	return e
}

// infix parses one operator after left, or gives nil when none of the wanted strength follows.
func (p *parser) infix(left *expr, binds int) *expr {
	t := p.peek()
	if t.kind != tokenName && t.kind != tokenSymbol {
		return nil
	}
	if known, ok := infixes[t.upper]; ok {
		if known.binds < binds {
			return nil
		}
		p.take()
		right := p.binary(known.binds + 1)
		return p.node(&expr{op: known.op, left: left, right: right})
	}
	if t.upper == "COLLATE" {
		p.take()
		return p.collate(left)
	}
	if t.upper == "->" {
		p.fail("operator -> is not supported")
		return nil
	}
	if binds > bindEqual {
		return nil
	}
	return p.wordOperator(left)
}

func (p *parser) collate(left *expr) *expr {
	name := p.name()
	c, ok := collationByName(name)
	if !ok && p.err == nil {
		p.fail("no such collation sequence: %s", name)
	}
	return p.node(&expr{op: opCollate, left: left, collation: c})
}

func collationByName(name string) (collation, bool) {
	switch strings.ToUpper(name) {
	case "BINARY":
		return collateBinary, true
	case "NOCASE":
		return collateNocase, true
	case "RTRIM":
		return collateRtrim, true
	}
	return collateBinary, false
}

// wordOperator parses IS, IN, BETWEEN, LIKE and their kin.
func (p *parser) wordOperator(left *expr) *expr {
	not := false
	if p.is("NOT") {
		switch p.peekAt(1).upper {
		case "NULL", "BETWEEN", "IN", "LIKE", "GLOB", "MATCH", "REGEXP":
			p.take()
			not = true
		default:
			return nil
		}
	}
	t := p.peek()
	switch {
	case t.upper == "ISNULL", t.upper == "NOTNULL", not && t.upper == "NULL":
		p.take()
		isNot := t.upper != "ISNULL"
		return p.node(&expr{op: opIs, not: isNot, left: left, right: &expr{height: 1}})
	case t.upper == "IS":
		p.take()
		return p.isTail(left)
	case t.upper == "BETWEEN":
		p.take()
		low := p.binary(bindNot)
		p.expect("AND")
		high := p.binary(bindCompare)
		return p.node(&expr{op: opBetween, not: not, left: left, list: []*expr{low, high}})
	case t.upper == "IN":
		p.take()
		return p.in(left, not)
	case t.upper == "LIKE", t.upper == "GLOB":
		p.take()
		e := &expr{op: opLike, not: not, left: left}
		if t.upper == "GLOB" {
			e.op = opGlob
		}
		e.right = p.binary(bindCompare)
		if p.accept("ESCAPE") {
			e.list = []*expr{p.binary(bindBits)}
			if e.op == opGlob && p.err == nil {
				p.fail("wrong number of arguments to function GLOB()")
			}
		}
		return p.node(e)
	case t.upper == "MATCH", t.upper == "REGEXP":
		p.fail("%s is not supported", t.upper)
	}
	return nil
}

// isTail parses what follows IS.
func (p *parser) isTail(left *expr) *expr {
	e := &expr{op: opIs, left: left, not: p.accept("NOT")}
	if p.is("DISTINCT") && p.peekAt(1).upper == "FROM" {
		p.take()
		p.take()
		e.not = !e.not
	}
	e.right = p.binary(bindCompare)
	return p.node(e)
}

func (p *parser) in(left *expr, not bool) *expr {
	e := &expr{op: opIn, not: not, left: left}
	if !p.is("(") || p.peekAt(1).upper == "SELECT" || p.peekAt(1).upper == "VALUES" {
		if p.is("(") || p.isName() {
			p.fail("IN with a subquery or a table is not supported: only IN (list)")
		} else {
			p.failNear()
		}
		return e
	}
	p.take()
	if !p.is(")") {
		e.list = p.expressions()
	}
	p.expect(")")
	return p.node(e)
}

// prefix parses an operand.
func (p *parser) prefix() *expr {
	t := p.peek()
	switch t.kind {
	case tokenInteger, tokenReal:
		p.take()
		return p.node(&expr{literal: p.numberLiteral(t, false)})
	case tokenText:
		p.take()
		return p.node(&expr{literal: textValue(t.text)})
	case tokenBlob:
		p.take()
		return p.node(&expr{literal: blobValue(t.text)})
	case tokenQuoted:
		return p.columnName()
	case tokenSymbol:
		return p.prefixSymbol(t)
	case tokenName:
		if e := p.keywordExpression(t); e != nil {
			return e
		}
		if p.isName() {
			if p.peekAt(1).upper == "(" && t.upper != "" {
				return p.function()
			}
			return p.columnName()
		}
	}
	p.failNear()
	return &expr{height: 1}
}

func (p *parser) prefixSymbol(t *token) *expr {
	var op operator
	switch t.text {
	case "(":
		p.take()
		if p.is("SELECT") || p.is("VALUES") {
			p.fail("subqueries are not supported")
			return &expr{height: 1}
		}
		e := p.expression()
		if p.is(",") {
			p.fail("row values are not supported")
		}
		p.expect(")")
		return e
	case "-":
		op = opNegate
	case "+":
		op = opPlus
	case "~":
		op = opBitNot
	case "?", ":", "@":
		p.fail("parameters are not supported: near \"%s\"", t.text)
		return &expr{height: 1}
	default:
		p.failNear()
		return &expr{height: 1}
	}
	p.take()
	if number := p.peek(); op == opNegate && (number.kind == tokenInteger || number.kind == tokenReal) {
		p.take() // the smallest integer exists only with its sign
		return p.node(&expr{literal: p.numberLiteral(number, true)})
	}
	operand := p.binary(bindUnary)
	if l := &operand.literal; op == opNegate && operand.op == opLiteral && l.kind == kindReal && l.real() >= 0 {
		*l = realValue(-l.real()) // -(0.0) keeps its sign, which 0 - 0.0 would lose
		return operand
	}
	return p.node(&expr{op: op, left: operand})
}

func (p *parser) numberLiteral(t *token, negative bool) value {
	sign := ""
	if negative {
		sign = "-"
	}
	if len(t.text) > 2 && t.text[1]|0x20 == 'x' {
		u, err := strconv.ParseUint(t.text[2:], 16, 64)
		if err != nil {
			p.fail("hex literal too big: %s", t.text)
		}
		if negative {
			u = -u
		}
		return intValue(int64(u))
	}
	if t.kind == tokenInteger {
		if i, err := strconv.ParseInt(sign+t.text, 10, 64); err == nil {
			return intValue(i)
		}
	}
	f, _ := strconv.ParseFloat(sign+t.text, 64) // a range error still yields the infinity
	return realValue(f)
}

// keywordExpression parses operands that begin with a keyword; nil when t is none.
func (p *parser) keywordExpression(t *token) *expr {
	switch t.upper {
	case "NULL":
		p.take()
		return p.node(&expr{})
	case "NOT":
		p.take()
		if p.is("EXISTS") {
			p.fail("EXISTS is not supported: subqueries are not")
		}
		return p.node(&expr{op: opNot, left: p.binary(bindNot)})
	case "CASE":
		return p.caseExpression()
	case "CAST":
		if p.peekAt(1).upper == "(" {
			return p.castExpression()
		}
	case "EXISTS":
		p.fail("EXISTS is not supported: subqueries are not")
		return &expr{height: 1}
	case "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "RAISE":
		p.fail("%s is not supported", t.upper)
		return &expr{height: 1}
	}
	return nil
}

func (p *parser) caseExpression() *expr {
	p.take()
	e := &expr{op: opCase}
	if !p.is("WHEN") {
		e.left = p.expression()
	}
	p.expect("WHEN")
	for {
		when := p.expression()
		p.expect("THEN")
		e.list = append(e.list, when, p.expression())
		if !p.accept("WHEN") {
			break
		}
	}
	if p.accept("ELSE") {
		e.right = p.expression()
	}
	p.expect("END")
	return p.node(e)
}

func (p *parser) castExpression() *expr {
	p.take()
	p.take()
	e := &expr{op: opCast, left: p.expression()}
	p.expect("AS")
	e.affinity = affinityOfType(p.typeName())
	p.expect(")")
	return p.node(e)
}

// typeName reads the words of a type and its optional (n) or (n, m).
func (p *parser) typeName() string {
	begin := p.peek().begin
	end := begin
	for p.isName() || p.peek().kind == tokenText {
		end = p.take().end
	}
	if end > begin && p.accept("(") {
		for p.err == nil && !p.is(")") && p.peek().kind != tokenEnd {
			p.take()
		}
		p.expect(")")
		end = p.previousEnd()
	}
	if end < begin { // after an error
		return ""
	}
	return p.sql[begin:end]
}

// affinityOfType applies the rules of SQLite to a declared type.
func affinityOfType(declared string) affinity {
	if strings.TrimSpace(declared) == "" {
		return affinityBlob
	}
	upper := strings.ToUpper(declared)
	has := func(part string) bool { return strings.Contains(upper, part) }
	switch {
	case has("INT"):
		return affinityInteger
	case has("CHAR"), has("CLOB"), has("TEXT"):
		return affinityText
	case has("BLOB"):
		return affinityBlob
	case has("REAL"), has("FLOA"), has("DOUB"):
		return affinityReal
	}
	return affinityNumeric
}

func (p *parser) columnName() *expr {
	t := p.take()
	e := &expr{op: opName, name: t.text, quoted: t.kind == tokenQuoted}
	for parts := 0; parts < 2 && p.is("."); parts++ {
		p.take()
		e.table = e.name
		if t = p.peek(); t.kind != tokenName && t.kind != tokenQuoted {
			p.failNear()
			break
		}
		p.take()
		e.name, e.quoted = t.text, false
	}
	return p.node(e)
}

func (p *parser) function() *expr {
	t := p.take()
	e := &expr{op: opFunction, name: strings.ToLower(t.text)}
	p.take()
	if p.accept("*") {
		e.list = nil
		e.op = opStar
	} else if !p.is(")") {
		if p.accept("DISTINCT") {
			e.distinct = true
		} else {
			p.accept("ALL")
		}
		e.list = p.expressions()
	}
	p.expect(")")
	if (p.is("FILTER") && p.peekAt(1).upper == "(") || p.is("OVER") {
		p.failUnsupported()
	}
	star := e.op == opStar
	e.op = opFunction
	if p.err == nil {
		p.classify(e, star)
	}
	return p.node(e)
}

// classify tells aggregates from scalar functions and checks the number of arguments.
func (p *parser) classify(e *expr, star bool) {
	count := len(e.list)
	switch e.name {
	case "count":
		e.op = opAggregate
		if count > 1 {
			p.fail("wrong number of arguments to function %s()", e.name)
		}
	case "sum", "total", "avg":
		e.op = opAggregate
		if count != 1 {
			p.fail("wrong number of arguments to function %s()", e.name)
		}
	case "min", "max":
		if count == 1 {
			e.op = opAggregate
		}
	}
	if star && e.name != "count" {
		p.fail("wrong number of arguments to function %s()", e.name)
	}
	if e.op == opAggregate {
		if e.distinct && count != 1 {
			p.fail("DISTINCT aggregates must have exactly one argument")
		}
		return
	}
	f, known := functions[e.name]
	if !known {
		p.fail("no such function: %s", e.name)
	} else if count < f.least || count > f.most {
		p.fail("wrong number of arguments to function %s()", e.name)
	}
	e.distinct = false
}
