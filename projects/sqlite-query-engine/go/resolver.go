package main

import (
	"slices"
	"strconv"
	"strings"
)

// scope says where an expression stands, which decides what its names may mean.
type scope uint8

const (
	inResult    scope = iota // columns only
	inWhere                  // columns, then aliases; no aggregates
	inGroup                  // the same
	inLate                   // HAVING, ORDER BY: columns, then aliases, aggregates
	inAggregate              // the argument of an aggregate
)

// resolver binds names to columns and finds what the query needs.
type resolver struct {
	table      *table // nil without FROM
	tableName  string // the name that t.column must use
	columns    []resultColumn
	aliases    bool // result columns may be referred to
	needed     map[int]bool
	aggregates []*expr
	err        error
}

// resolveQuery resolves all clauses in SQLite's order and expands *.
func resolveQuery(q *query, t *table) (*resolver, error) {
	r := &resolver{table: t, needed: map[int]bool{}}
	if t != nil {
		r.tableName = q.table
		if q.alias != "" {
			r.tableName = q.alias
		}
	}
	r.expandStars(q)
	for i := range q.columns {
		r.resolve(q.columns[i].expr, inResult)
		r.nameColumn(&q.columns[i])
	}
	r.columns, r.aliases = q.columns, true
	r.resolve(q.where, inWhere)
	for i, e := range q.groupBy {
		q.groupBy[i] = r.resolveTerm(e, inGroup, "GROUP", i)
	}
	r.resolve(q.having, inLate)
	for i := range q.orderBy {
		q.orderBy[i].expr = r.resolveTerm(q.orderBy[i].expr, inLate, "ORDER", i)
	}
	r.aliases = false
	r.table = nil // LIMIT can name no column
	r.resolve(q.limit, inWhere)
	r.resolve(q.offset, inWhere)
	if q.having != nil && len(q.groupBy) == 0 && len(r.aggregates) == 0 {
		r.fail("HAVING clause on a non-aggregate query")
	}
	return r, r.err
}

func (r *resolver) fail(format string, arguments ...any) {
	if r.err == nil {
		r.err = badInput(format, arguments...)
	}
}

func (r *resolver) expandStars(q *query) {
	var expanded []resultColumn
	for _, c := range q.columns {
		if c.expr.op != opStar {
			expanded = append(expanded, c)
			continue
		}
		if r.table == nil {
			r.fail("no tables specified")
			return
		}
		if c.expr.table != "" && !strings.EqualFold(c.expr.table, r.tableName) {
			r.fail("no such table: %s", c.expr.table)
		}
		for _, column := range r.table.columns {
			e := &expr{op: opName, name: column.name, height: 1}
			expanded = append(expanded, resultColumn{expr: e, name: column.name})
		}
	}
	q.columns = expanded
}

// nameColumn gives an unaliased column reference the column's declared name.
func (r *resolver) nameColumn(c *resultColumn) {
	if c.alias != "" || c.expr.op != opColumn {
		return
	}
	switch {
	case c.expr.column != rowidColumn:
		c.name = r.table.columns[c.expr.column].name
	case r.table.rowidAlias >= 0:
		c.name = r.table.columns[r.table.rowidAlias].name
	default:
		c.name = "rowid"
	}
}

// resolveTerm resolves a term of GROUP BY or ORDER BY, which may be the number of a result
// column or, in ORDER BY, first of all an alias.
func (r *resolver) resolveTerm(e *expr, s scope, clause string, position int) *expr {
	inner := e
	for inner.op == opCollate {
		inner = inner.left
	}
	if inner.op == opLiteral && inner.literal.kind == kindInt {
		number := inner.literal.int()
		if number < 1 || number > int64(len(r.columns)) {
			r.fail("%s %s BY term out of range - should be between 1 and %d", ordinal(position+1), clause, len(r.columns))
			return e
		}
		*inner = *r.columns[number-1].expr
	} else if inner.op == opName && inner.table == "" && clause == "ORDER" {
		if alias := r.findAlias(inner.name); alias != nil {
			*inner = *alias
		}
	}
	r.resolve(e, s)
	return e
}

func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

func (r *resolver) findAlias(name string) *expr {
	if !r.aliases {
		return nil
	}
	for _, c := range r.columns {
		if c.alias != "" && strings.EqualFold(c.alias, name) {
			return c.expr
		}
	}
	return nil
}

// resolve binds the names below e and sets its flags, children first. It may meet a node twice,
// by an alias.
func (r *resolver) resolve(e *expr, s scope) {
	if e == nil || r.err != nil {
		return
	}
	if e.op == opName {
		r.resolveName(e, s)
		if e.op == opName {
			return
		}
	}
	below := s
	if e.op == opAggregate {
		r.checkAggregate(e, s)
		below = inAggregate
	}
	r.resolve(e.left, below)
	r.resolveTruth(e)
	r.resolve(e.right, below)
	for _, child := range e.list {
		r.resolve(child, below)
	}
	e.constant = e.op != opColumn && e.op != opAggregate
	e.explicit = e.op == opCollate
	children := append([]*expr{e.left, e.right}, e.list...)
	for _, child := range children {
		if child != nil {
			e.constant = e.constant && child.constant
			e.explicit = e.explicit || child.explicit
		}
	}
	if e.op == opAggregate && r.err == nil {
		r.addAggregate(e)
	}
}

// resolveTruth turns x IS TRUE into its own operator, unless there is a column called so.
func (r *resolver) resolveTruth(e *expr) {
	if e.op != opIs || e.right.op != opName || e.right.table != "" || e.right.quoted {
		return
	}
	isTrue := strings.EqualFold(e.right.name, "TRUE")
	if !isTrue && !strings.EqualFold(e.right.name, "FALSE") {
		return
	}
	if r.table != nil && r.table.find(e.right.name) >= 0 {
		return
	}
	e.op, e.literal, e.right = opTruth, boolValue(isTrue), nil
}

func (r *resolver) checkAggregate(e *expr, s scope) {
	switch s {
	case inWhere, inAggregate:
		r.fail("misuse of aggregate: %s()", strings.ToUpper(e.name))
	case inGroup:
		r.fail("aggregate functions are not allowed in the GROUP BY clause")
	}
}

func (r *resolver) addAggregate(e *expr) {
	for _, known := range r.aggregates {
		if known == e || sameExpr(known, e) {
			e.slot = known.slot
			return
		}
	}
	e.slot = len(r.aggregates)
	r.aggregates = append(r.aggregates, e)
}

func (r *resolver) resolveName(e *expr, s scope) {
	if r.table != nil && (e.table == "" || strings.EqualFold(e.table, r.tableName)) {
		if number, found := r.findColumn(e.name); found {
			e.op, e.column = opColumn, number
			r.needed[number] = true
			if number != rowidColumn && r.table.columns[number].virtual {
				r.fail("generated column %s is VIRTUAL: not supported", e.name)
			}
			return
		}
	}
	if e.table != "" {
		r.fail("no such column: %s.%s", e.table, e.name)
		return
	}
	if s != inResult {
		if alias := r.findAlias(e.name); alias != nil {
			*e = *alias
			return
		}
	}
	switch {
	case e.quoted: // SQLite reads an unknown "name" as a text
		e.op, e.literal = opLiteral, textValue(e.name)
	case strings.EqualFold(e.name, "TRUE"), strings.EqualFold(e.name, "FALSE"):
		e.op, e.literal = opLiteral, boolValue(len(e.name) == len("TRUE"))
	default:
		r.fail("no such column: %s", e.name)
	}
}

func (r *resolver) findColumn(name string) (int, bool) {
	t := r.table
	if number := t.find(name); number >= 0 {
		if number == t.rowidAlias {
			return rowidColumn, true
		}
		return number, true
	}
	if t.withoutRowid {
		return 0, false
	}
	switch strings.ToLower(name) {
	case "rowid", "_rowid_", "oid":
		return rowidColumn, true
	}
	return 0, false
}

// sameExpr says whether two resolved expressions are written the same.
func sameExpr(a, b *expr) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.op != b.op || a.not != b.not || a.distinct != b.distinct ||
		a.column != b.column || a.affinity != b.affinity || a.collation != b.collation ||
		len(a.list) != len(b.list) || (a.op != opColumn && a.name != b.name) {
		return false
	}
	if a.literal.kind != b.literal.kind || a.literal.bits != b.literal.bits ||
		a.literal.text != b.literal.text {
		return false
	}
	for i := range a.list {
		if !sameExpr(a.list[i], b.list[i]) {
			return false
		}
	}
	return sameExpr(a.left, b.left) && sameExpr(a.right, b.right)
}

// affinityOf is the affinity of an expression in a comparison.
func affinityOf(t *table, e *expr) affinity {
	for e.op == opCollate {
		e = e.left
	}
	switch e.op {
	case opColumn:
		if e.column == rowidColumn {
			return affinityInteger
		}
		return t.columns[e.column].affinity
	case opCast:
		return e.affinity
	}
	return affinityNone
}

// collationOf is the collation that an expression brings to a comparison, if any.
func collationOf(t *table, e *expr) (c collation, found bool) {
	for e != nil {
		switch {
		case e.op == opCollate:
			return e.collation, true
		case e.op == opColumn:
			if e.column == rowidColumn {
				return collateBinary, true
			}
			return t.columns[e.column].collation, true
		case e.op == opCast || e.op == opPlus:
			e = e.left
		case e.explicit:
			e = explicitChild(e)
		default:
			return collateBinary, false
		}
	}
	return collateBinary, false
}

func explicitChild(e *expr) *expr {
	if e.left != nil && e.left.explicit {
		return e.left
	}
	for _, child := range e.list {
		if child.explicit {
			return child
		}
	}
	return e.right
}

// comparisonCollation decides between the two sides: an explicit COLLATE first, then a column,
// the left side before the right.
func comparisonCollation(t *table, left, right *expr) collation {
	if !left.explicit && right.explicit {
		c, _ := collationOf(t, right)
		return c
	}
	if c, found := collationOf(t, left); found {
		return c
	}
	c, _ := collationOf(t, right)
	return c
}

// inCollation is that of the left side; but a list of one constant is an equality to SQLite, so
// that its COLLATE counts. SQLite decides so in its parser, before it knows what a function returns:
// a call is no constant there.
func inCollation(t *table, e *expr) collation {
	if len(e.list) == 1 && e.list[0].constant && !e.list[0].calls() {
		return comparisonCollation(t, e.left, e.list[0])
	}
	c, _ := collationOf(t, e.left)
	return c
}

// calls says whether a function is called anywhere in the expression; LIKE and GLOB are functions to
// SQLite.
func (e *expr) calls() bool {
	if e == nil {
		return false
	}
	if e.op == opFunction || e.op == opLike || e.op == opGlob {
		return true
	}
	return e.left.calls() || e.right.calls() || slices.ContainsFunc(e.list, (*expr).calls)
}
