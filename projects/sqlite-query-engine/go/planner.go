package main

import (
	"math"
	"slices"
	"strings"
)

type access uint8

const (
	accessNone       access = iota // SELECT without FROM
	accessRowids                   // rowid = ?, rowid IN (...)
	accessRowidRange               // also the full scan of a rowid table
	accessIndex                    // equality prefix and range of an index; also its full scan
)

// plan says where the rows come from and what is left to check.
type plan struct {
	access     access
	index      *index // accessIndex
	covering   bool   // the index has all columns: no look-up in the table
	isSearch   bool   // SEARCH, not SCAN
	reverse    bool
	rowids     []int64     // accessRowids, ascending
	low, high  int64       // accessRowidRange, inclusive
	prefixes   [][]value   // accessIndex: the equality prefixes, in index order
	equal      int         // length of a prefix
	lower      *rangeLimit // on the key after the prefix
	upper      *rangeLimit
	nothing    bool // a constraint that no row fulfils
	filter     []*expr
	ordered    bool // the rows come in the order of ORDER BY
	groupOrder bool // so do the groups
	terms      string
}

type rangeLimit struct {
	value     value
	inclusive bool
}

// constraint is a WHERE term of the form column OP constant.
type constraint struct {
	term      int
	op        operator // opEqual, opIn, opLess, opLessEqual, opGreater, opGreaterEqual
	column    int
	collation collation
	values    []value
	used      bool
}

func (k *constraint) isEquality() bool { return k.op == opEqual || k.op == opIn }

type planner struct {
	table       *table
	needed      map[int]bool
	constants   *compiler
	terms       []*expr
	constraints []constraint
}

// makePlan chooses the access path by the fixed order of preference of all lanes.
func makePlan(q *query, t *table, r *resolver, constants *frame) *plan {
	k := &planner{table: t, needed: r.needed, constants: &compiler{table: t, constants: constants}}
	k.split(q.where)
	if t == nil {
		return &plan{access: accessNone, filter: k.terms, ordered: true}
	}
	for i := range k.terms {
		k.constrain(i)
	}
	p := k.choose()
	for i, term := range k.terms {
		if !k.isUsed(i) {
			p.filter = append(p.filter, term)
		}
	}
	k.order(p, q, len(r.aggregates) > 0)
	return p
}

// split collects the top-level AND terms; a BETWEEN on a column becomes two.
func (k *planner) split(e *expr) {
	switch {
	case e == nil:
	case e.op == opAnd:
		k.split(e.left)
		k.split(e.right)
	case e.op == opBetween && !e.not && e.left.op == opColumn:
		for i, op := range []operator{opGreaterEqual, opLessEqual} {
			k.terms = append(k.terms, &expr{
				op: op, left: e.left, right: e.list[i], explicit: e.left.explicit || e.list[i].explicit,
			})
		}
	default:
		k.terms = append(k.terms, e)
	}
}

func (k *planner) isUsed(term int) bool {
	for i := range k.constraints {
		if k.constraints[i].term == term && k.constraints[i].used {
			return true
		}
	}
	return false
}

// constrain records a term that an index or the rowid could serve.
func (k *planner) constrain(term int) {
	e := k.terms[term]
	switch e.op {
	case opEqual, opLess, opLessEqual, opGreater, opGreaterEqual:
	case opIs:
		if e.not {
			return
		}
	case opIn:
		k.constrainIn(term, e)
		return
	default:
		return
	}
	column, constant, op := e.left, e.right, e.op
	if !isColumn(column) || !constant.constant {
		column, constant, op = e.right, e.left, mirroredOperator(e.op)
	}
	if !isColumn(column) || !constant.constant {
		return
	}
	own := affinityOf(k.table, column)
	compared := comparisonAffinity(affinityOf(k.table, e.left), affinityOf(k.table, e.right))
	if (compared == affinityText && own != affinityText) || (compared >= affinityNumeric && own < affinityNumeric) {
		return // the column's values would have to be converted
	}
	v, ok := k.evaluate(constant)
	if !ok {
		return
	}
	c := constraint{
		term: term, op: op, column: bareColumn(column), values: []value{compared.coerce(v)},
		collation: comparisonCollation(k.table, e.left, e.right),
	}
	if op == opIs {
		c.op = opEqual
	} else if v.kind == kindNull {
		c.values = nil
	}
	k.constraints = append(k.constraints, c)
}

func (k *planner) constrainIn(term int, e *expr) {
	if e.not || !isColumn(e.left) {
		return
	}
	collate := inCollation(k.table, e)
	c := constraint{term: term, op: opIn, column: bareColumn(e.left), collation: collate}
	own := affinityOf(k.table, e.left)
	for _, item := range e.list {
		v, ok := k.evaluate(item)
		if !item.constant || !ok {
			return
		}
		if v.kind != kindNull {
			c.values = append(c.values, own.coerce(v))
		}
	}
	c.values = sortedDistinct(c.values, collate)
	k.constraints = append(k.constraints, c)
}

// evaluate computes a constant; ok = false when that fails or it is none.
func (k *planner) evaluate(e *expr) (v value, ok bool) {
	if !e.constant {
		return null, false
	}
	f := k.constants.constants
	v = k.constants.compile(e)(f)
	ok = f.err == nil
	f.err = nil
	return v, ok
}

func sortedDistinct(values []value, c collation) []value {
	slices.SortStableFunc(values, func(a, b value) int { return compareValues(a, b, c) })
	return slices.CompactFunc(values, func(a, b value) bool { return compareValues(a, b, c) == 0 })
}

func isColumn(e *expr) bool {
	for e.op == opCollate {
		e = e.left
	}
	return e.op == opColumn
}

func bareColumn(e *expr) int {
	for e.op == opCollate {
		e = e.left
	}
	return e.column
}

func mirroredOperator(op operator) operator {
	switch op {
	case opLess:
		return opGreater
	case opLessEqual:
		return opGreaterEqual
	case opGreater:
		return opLess
	case opGreaterEqual:
		return opLessEqual
	}
	return op
}

func (k *planner) choose() *plan {
	if p := k.rowidEquality(); p != nil {
		return p
	}
	if p := k.bestEquality(); p != nil {
		return p
	}
	if p := k.rowidRange(); p != nil {
		return p
	}
	for _, x := range k.candidates() {
		if p := k.indexPlan(x, nil); p.lower != nil || p.upper != nil || p.nothing {
			p.isSearch = true
			k.markRange(x, 0)
			return p
		}
	}
	return k.fullScan()
}

// candidates are the indexes in order of preference on ties.
func (k *planner) candidates() []*index {
	if k.table.primary == nil {
		return k.table.indexes
	}
	return append([]*index{k.table.primary}, k.table.indexes...)
}

func (k *planner) rowidEquality() *plan {
	if k.table.withoutRowid {
		return nil
	}
	for i := range k.constraints {
		c := &k.constraints[i]
		if c.column != rowidColumn || !c.isEquality() {
			continue
		}
		c.used = true
		p := &plan{access: accessRowids, isSearch: true, terms: "rowid=?"}
		for _, v := range c.values {
			if rowid, ok := exactRowid(v); ok {
				p.rowids = append(p.rowids, rowid)
			}
		}
		return p
	}
	return nil
}

func exactRowid(v value) (int64, bool) {
	if v.kind == kindReal {
		v = wholeReal(v)
	}
	return v.int(), v.kind == kindInt
}

func (k *planner) rowidRange() *plan {
	if k.table.withoutRowid {
		return nil
	}
	p := &plan{access: accessRowidRange, isSearch: true, low: math.MinInt64, high: math.MaxInt64}
	lower, upper := k.findRange(rowidColumn, collateBinary)
	if lower == nil && upper == nil {
		return nil
	}
	var terms []string
	if lower != nil {
		lower.used = true
		p.lowerRowid(lower)
		terms = append(terms, "rowid>?")
	}
	if upper != nil {
		upper.used = true
		p.upperRowid(upper)
		terms = append(terms, "rowid<?")
	}
	p.terms = strings.Join(terms, " AND ")
	return p
}

// lowerRowid turns rowid > value into the first integer that fulfils it.
func (p *plan) lowerRowid(c *constraint) {
	if len(c.values) == 0 || c.values[0].isStringy() {
		p.nothing = true // NULL, or a text, which is greater than every number
		return
	}
	v := c.values[0]
	if v.kind == kindInt {
		p.low = v.int()
		if c.op == opGreater {
			p.nothing = p.nothing || p.low == math.MaxInt64
			p.low++
		}
		return
	}
	r := v.real()
	if first := math.Ceil(r); first != r || c.op == opGreaterEqual {
		r = first
	} else {
		r++
	}
	switch {
	case v.real() >= 9223372036854775808.0:
		p.nothing = true
	case r > -9223372036854775808.0:
		p.low = afterReal(v.real(), c.op == opGreater)
	}
}

// afterReal is the first integer above (or, unless strict, at) a real within the int64 range.
func afterReal(r float64, strict bool) int64 {
	i := int64(math.Ceil(r))
	if strict && float64(i) == r {
		i++
	}
	return i
}

func (p *plan) upperRowid(c *constraint) {
	switch {
	case len(c.values) == 0:
		p.nothing = true
		return
	case c.values[0].isStringy():
		return // every number is less than a text
	}
	v := c.values[0]
	if v.kind == kindInt {
		p.high = v.int()
		if c.op == opLess {
			p.nothing = p.nothing || p.high == math.MinInt64
			p.high--
		}
		return
	}
	switch r := v.real(); {
	case r < -9223372036854775808.0:
		p.nothing = true
	case r >= 9223372036854775808.0:
	default:
		p.high = int64(math.Floor(r))
		if c.op == opLess && float64(p.high) == r {
			p.nothing = p.nothing || p.high == math.MinInt64
			p.high--
		}
	}
}

// findRange gives the first lower and the first upper limit on a column.
func (k *planner) findRange(column int, collate collation) (lower, upper *constraint) {
	for i := range k.constraints {
		c := &k.constraints[i]
		// Numbers compare alike in every collation, so that the rowid's does not matter.
		if c.column != column || (c.collation != collate && column != rowidColumn) {
			continue
		}
		switch c.op {
		case opGreater, opGreaterEqual:
			if lower == nil {
				lower = c
			}
		case opLess, opLessEqual:
			if upper == nil {
				upper = c
			}
		}
	}
	return lower, upper
}

// equalityPrefix gives the constraints on the first keys of an index: = or at most one IN.
func (k *planner) equalityPrefix(x *index) []*constraint {
	var prefix []*constraint
	haveIn := false
	for _, key := range x.keys[:x.declared] {
		var best *constraint
		for i := range k.constraints {
			c := &k.constraints[i]
			if c.column != key.column || !c.isEquality() || c.collation != key.collation {
				continue
			}
			if c.op == opIn && haveIn {
				continue
			}
			if best == nil || (best.op == opIn && c.op == opEqual) {
				best = c
			}
		}
		if best == nil {
			break
		}
		haveIn = haveIn || best.op == opIn
		prefix = append(prefix, best)
	}
	return prefix
}

// bestEquality chooses the index with an equality prefix: a UNIQUE one fully matched first,
// then the longest prefix, then one with a range on the next key, then the first.
func (k *planner) bestEquality() *plan {
	var best *index
	var bestPrefix []*constraint
	bestScore := 0
	for _, x := range k.candidates() {
		prefix := k.equalityPrefix(x)
		if len(prefix) == 0 {
			continue
		}
		score := 2 * len(prefix)
		if len(prefix) < x.declared {
			key := x.keys[len(prefix)]
			if lower, upper := k.findRange(key.column, key.collation); lower != nil || upper != nil {
				score++
			}
		} else if x.unique {
			score += 1 << 20
		}
		if score > bestScore {
			best, bestPrefix, bestScore = x, prefix, score
		}
	}
	if best == nil {
		return nil
	}
	for _, c := range bestPrefix {
		c.used = true
	}
	p := k.indexPlan(best, bestPrefix)
	p.isSearch = true
	k.markRange(best, len(bestPrefix))
	return p
}

func (k *planner) markRange(x *index, position int) {
	if position >= x.declared {
		return
	}
	lower, upper := k.findRange(x.keys[position].column, x.keys[position].collation)
	if lower != nil {
		lower.used = true
	}
	if upper != nil {
		upper.used = true
	}
}

// indexPlan lays out the walk over an index for an equality prefix and the range after it.
func (k *planner) indexPlan(x *index, prefix []*constraint) *plan {
	p := &plan{access: accessIndex, index: x, equal: len(prefix), prefixes: [][]value{nil}}
	p.covering = !x.primary && k.covers(x)
	var terms []string
	for i, c := range prefix {
		terms = append(terms, k.columnName(x.keys[i].column)+"=?")
		values := slices.Clone(c.values)
		if x.keys[i].descending {
			slices.Reverse(values)
		}
		var longer [][]value
		for _, head := range p.prefixes {
			for _, v := range values {
				longer = append(longer, append(slices.Clone(head), v))
			}
		}
		p.prefixes = longer
	}
	if p.equal < x.declared {
		key := x.keys[p.equal]
		lower, upper := k.findRange(key.column, key.collation)
		if lower != nil {
			terms = append(terms, k.columnName(key.column)+">?")
			p.lower = p.limit(lower, opGreaterEqual)
		}
		if upper != nil {
			terms = append(terms, k.columnName(key.column)+"<?")
			p.upper = p.limit(upper, opLessEqual)
		}
	}
	p.terms = strings.Join(terms, " AND ")
	return p
}

func (p *plan) limit(c *constraint, inclusive operator) *rangeLimit {
	if len(c.values) == 0 { // compared with NULL
		p.nothing = true
		return nil
	}
	return &rangeLimit{value: c.values[0], inclusive: c.op == inclusive}
}

func (k *planner) covers(x *index) bool {
	for column := range k.needed {
		if _, ok := x.fields[column]; !ok {
			return false
		}
	}
	return true
}

func (k *planner) columnName(column int) string {
	if column != rowidColumn {
		return k.table.columns[column].name
	}
	if k.table.rowidAlias >= 0 {
		return k.table.columns[k.table.rowidAlias].name
	}
	return "rowid"
}

// fullScan walks the smallest covering index, else the table.
func (k *planner) fullScan() *plan {
	var smallest *index
	for _, x := range k.table.indexes {
		if k.covers(x) && (smallest == nil || x.declared < smallest.declared) {
			smallest = x
		}
	}
	switch {
	case smallest != nil:
		return &plan{access: accessIndex, index: smallest, covering: true, prefixes: [][]value{nil}}
	case k.table.withoutRowid:
		return &plan{access: accessIndex, index: k.table.primary, prefixes: [][]value{nil}}
	}
	return &plan{access: accessRowidRange, low: math.MinInt64, high: math.MaxInt64}
}

// order finds out whether the rows come in the wanted order, perhaps backwards.
func (k *planner) order(p *plan, q *query, hasAggregates bool) {
	switch {
	case len(q.groupBy) > 0:
		p.groupOrder = k.groupsInOrder(q)
	case hasAggregates || len(q.orderBy) == 0:
		p.ordered = true
	default:
		p.ordered = k.rowsInOrder(p, q)
	}
}

// groupsInOrder: groups come out sorted by their keys, so that ORDER BY a prefix of them is free.
func (k *planner) groupsInOrder(q *query) bool {
	if len(q.orderBy) > len(q.groupBy) {
		return false
	}
	for i, term := range q.orderBy {
		if term.descending || !term.plainNulls || !sameExpr(term.expr, q.groupBy[i]) {
			return false
		}
	}
	return true
}

func (k *planner) rowsInOrder(p *plan, q *query) bool {
	keys := []indexKey{{column: rowidColumn}}
	unique := 1 // keys that together name one row
	if p.access == accessIndex {
		keys = p.index.keys
		unique = len(keys)
		if p.index.primary {
			unique = p.index.declared
		}
		keys = keys[:unique]
	}
	isConstant := func(at int) bool { return p.access == accessIndex && at < p.equal && len(p.prefixes) == 1 }
	at, reverse, decided := 0, false, false
	for _, term := range q.orderBy {
		if at == unique {
			break // one row for each key: there is nothing left to order
		}
		if !isColumn(term.expr) {
			return false
		}
		collate, _ := collationOf(k.table, term.expr)
		column := bareColumn(term.expr)
		if column == rowidColumn {
			collate = collateBinary // numbers compare alike in every collation
		}
		for at < unique && isConstant(at) && (keys[at].column != column || keys[at].collation != collate) {
			at++
		}
		if constantKey(keys, column, collate, isConstant) {
			continue
		}
		if at == unique {
			break
		}
		if keys[at].column != column || keys[at].collation != collate || !term.plainNulls {
			return false
		}
		backwards := term.descending != keys[at].descending
		if decided && backwards != reverse {
			return false
		}
		reverse, decided = backwards, true
		at++
	}
	p.reverse = reverse
	return true
}

// constantKey says whether a column has one value in all rows of the scan.
func constantKey(keys []indexKey, column int, collate collation, isConstant func(int) bool) bool {
	for i, key := range keys {
		if isConstant(i) && key.column == column && key.collation == collate {
			return true
		}
	}
	return false
}

// describe gives the rows of EXPLAIN QUERY PLAN, in SQLite's words.
func (p *plan) describe(q *query, aggregated bool) []string {
	if p.access == accessNone {
		return []string{"SCAN CONSTANT ROW"}
	}
	var b strings.Builder
	b.WriteString("SCAN ")
	if p.isSearch {
		b.Reset()
		b.WriteString("SEARCH ")
	}
	if q.alias != "" {
		b.WriteString(q.alias)
	} else {
		b.WriteString(q.table)
	}
	switch {
	case p.access != accessIndex && p.isSearch:
		b.WriteString(" USING INTEGER PRIMARY KEY")
	case p.access != accessIndex, p.index.primary && !p.isSearch:
	case p.index.primary:
		b.WriteString(" USING PRIMARY KEY")
	case p.covering:
		b.WriteString(" USING COVERING INDEX " + p.index.name)
	default:
		b.WriteString(" USING INDEX " + p.index.name)
	}
	if p.isSearch {
		b.WriteString(" (" + p.terms + ")")
	}
	details := []string{b.String()}
	if len(q.groupBy) > 0 {
		details = append(details, "USE TEMP B-TREE FOR GROUP BY")
	}
	single := aggregated && len(q.groupBy) == 0 // one row needs no order
	if q.distinct {
		details = append(details, "USE TEMP B-TREE FOR DISTINCT")
	}
	if len(q.orderBy) > 0 && !single && !p.ordered && !p.groupOrder {
		details = append(details, "USE TEMP B-TREE FOR ORDER BY")
	}
	return details
}
