package main

import "math"

// unlimited is a LIMIT that never ends a scan.
const unlimited = math.MaxInt64

// heapLimit is the largest LIMIT for which a heap beats sorting everything.
const heapLimit = 1 << 16

// reloadAhead is how many rows before its turn a sorted row's memory is asked for.
const reloadAhead = 12

// execution is one run of one query: the measured work.
type execution struct {
	pager   *pager
	query   *query
	table   *table
	plan    *plan
	frame   frame
	cursor  cursor // the table, or the index
	lookup  cursor // the table behind a non-covering index
	entry   record // the index entry, when the frame holds the table row
	filter  []testFunc
	kernels []*kernel // page forms of some of the filter's terms
	spots   []spot
	// The kernels decide the whole filter / the query only counts rows.
	decisive, countOnly bool
	results             []evalFunc
	out                 *renderer
	items               int64 // rows that the scan gave to the filter
	limit               int64
	offset              int64

	distinct     *keyTable
	distinctKeys []sortKey
	order        *sorter
	orderKeys    []sortKey
	grouping     *grouping
	scratch      []byte
}

// runQuery does the whole job once: open, check, parse, plan, execute, render.
func runQuery(path, sql string, out *renderer) (items int64, err error) {
	p, err := openPager(path)
	if err != nil {
		return 0, err
	}
	defer p.close()
	return p.execute(sql, out)
}

// execute runs a query on an open database.
func (p *pager) execute(sql string, out *renderer) (items int64, err error) {
	q, err := parse(sql)
	if err != nil {
		return 0, err
	}
	x := &execution{pager: p, query: q, out: out}
	if q.hasTable {
		if x.table, err = loadTable(p, q.table); err != nil {
			return 0, err
		}
	}
	r, err := resolveQuery(q, x.table)
	if err != nil {
		return 0, err
	}
	constants := &frame{}
	x.plan = makePlan(q, x.table, r, constants)
	aggregated := len(q.groupBy) > 0 || len(r.aggregates) > 0
	if q.explain {
		x.explain(aggregated)
		return 0, nil
	}
	if err := x.limits(constants); err != nil {
		return 0, err
	}
	x.compile(r, constants, aggregated)
	err = x.run()
	return x.items, err
}

func (x *execution) explain(aggregated bool) {
	x.out.begin([]string{"detail"})
	for _, line := range x.plan.describe(x.query, aggregated) {
		x.out.value(textValue(line))
		x.out.endRow()
	}
}

// limits evaluates LIMIT and OFFSET; a negative LIMIT means none.
func (x *execution) limits(constants *frame) error {
	x.limit, x.offset = unlimited, 0
	c := &compiler{constants: constants}
	for _, part := range []struct {
		e  *expr
		to *int64
	}{{x.query.limit, &x.limit}, {x.query.offset, &x.offset}} {
		if part.e == nil {
			continue
		}
		n, ok := wholeNumber(c.compile(part.e)(constants))
		if constants.err != nil {
			return constants.err
		}
		if !ok {
			return badInput("datatype mismatch: LIMIT and OFFSET need an integer")
		}
		*part.to = n
	}
	if x.limit < 0 {
		x.limit = unlimited
	}
	x.offset = max(x.offset, 0)
	return nil
}

// compile binds all expressions to the chosen source of rows.
func (x *execution) compile(r *resolver, constants *frame, aggregated bool) {
	q := x.query
	c := &compiler{table: x.table, constants: constants}
	if x.plan.access == accessIndex && (x.plan.covering || x.plan.index.primary) {
		c.source = x.plan.index
	}
	for _, term := range x.plan.filter {
		test, page := c.term(term)
		x.filter = append(x.filter, test)
		if page != nil {
			x.kernels = append(x.kernels, page)
		}
	}
	x.decisive = len(x.kernels) == len(x.filter)
	if aggregated {
		x.compileGrouping(c, r)
		x.countOnly = x.grouping.onlyCounts()
		c = &compiler{table: x.table, constants: constants, grouped: true, saved: savedColumns(q)}
		if q.having != nil {
			x.filter = append(x.filter, c.test(q.having))
		}
	}
	columns := make([]*expr, len(q.columns))
	for i := range q.columns {
		columns[i] = q.columns[i].expr
	}
	x.results = c.compileAll(columns)
	if q.distinct && !(aggregated && len(q.groupBy) == 0) {
		x.distinct = &keyTable{}
		for i, e := range columns {
			collate, _ := collationOf(x.table, e)
			x.distinctKeys = append(x.distinctKeys, sortKey{eval: x.results[i], collation: collate})
		}
	}
	if len(q.orderBy) > 0 && !x.plan.ordered && !x.plan.groupOrder {
		x.compileOrder(c)
	}
}

func (x *execution) compileOrder(c *compiler) {
	for _, term := range x.query.orderBy {
		collate, _ := collationOf(x.table, term.expr)
		x.orderKeys = append(x.orderKeys, sortKey{c.compile(term.expr), collate, term.descending, term.nullsLast})
	}
	x.order = &sorter{limit: -1}
	if x.limit <= heapLimit && x.offset <= heapLimit {
		x.order.limit = int(x.limit + x.offset)
	}
}

// compileGrouping compiles keys, aggregates and bare columns against the rows of the scan.
func (x *execution) compileGrouping(c *compiler, r *resolver) {
	g := &grouping{governor: -1}
	for _, e := range x.query.groupBy {
		collate, _ := collationOf(x.table, e)
		g.keys = append(g.keys, sortKey{eval: c.compile(e), collation: collate})
	}
	for i, e := range r.aggregates {
		g.aggregates = append(g.aggregates, c.aggregate(e))
		if kind := g.aggregates[i].kind; kind == minimum || kind == maximum {
			g.governor = i
		}
	}
	saved := savedColumns(x.query)
	g.bare = make([]evalFunc, len(saved))
	for column, position := range saved {
		g.bare[position] = c.column(column)
	}
	x.grouping = g
}

// savedColumns numbers the columns that stand outside of aggregates in a grouped query.
func savedColumns(q *query) map[int]int {
	saved := map[int]int{}
	var visit func(e *expr)
	visit = func(e *expr) {
		if e == nil || e.op == opAggregate || e.constant {
			return
		}
		if e.op == opColumn {
			if _, known := saved[e.column]; !known {
				saved[e.column] = len(saved)
			}
		}
		visit(e.left)
		visit(e.right)
		for _, child := range e.list {
			visit(child)
		}
	}
	for _, c := range q.columns {
		visit(c.expr)
	}
	visit(q.having)
	for _, term := range q.orderBy {
		visit(term.expr)
	}
	return saved
}

// run executes the plan and renders the answer.
func (x *execution) run() error {
	x.frame.pager = x.pager
	names := make([]string, len(x.query.columns))
	for i, c := range x.query.columns {
		names[i] = c.name
	}
	x.out.begin(names)
	switch {
	case x.grouping != nil:
		having := x.filter[len(x.plan.filter):]
		x.filter = x.filter[:len(x.plan.filter)]
		if x.limit > 0 {
			x.scan(x.grouping.add)
			x.emitGroups(having)
		}
	case x.limit > 0:
		x.scan(x.emit)
	}
	if x.order != nil && x.frame.err == nil {
		x.emitSorted()
	}
	return x.frame.err
}

// emit takes a row (or group) that passed the filter; false ends the scan.
func (x *execution) emit(f *frame) bool {
	if x.distinct != nil {
		key := x.scratch[:0]
		for i := range x.distinctKeys {
			key = appendKey(key, x.distinctKeys[i].eval(f), x.distinctKeys[i].collation)
		}
		x.scratch = key
		if _, isNew := x.distinct.find(key); !isNew || f.err != nil {
			return true
		}
	}
	if x.order != nil {
		key := x.scratch[:0]
		for i := range x.orderKeys {
			key = x.orderKeys[i].append(key, f)
		}
		x.scratch = key
		x.order.add(key, f.place())
		return true
	}
	if x.offset > 0 {
		x.offset--
		return true
	}
	x.render(f)
	x.limit--
	return x.limit > 0
}

func (x *execution) render(f *frame) {
	for _, eval := range x.results {
		x.out.value(eval(f))
	}
	x.out.endRow()
}

// emitGroups finishes the groups, in key order.
func (x *execution) emitGroups(having []testFunc) {
	f := &x.frame
	if f.err != nil {
		return
	}
	for _, number := range x.grouping.order() {
		x.grouping.enter(f, number)
		if f.err != nil {
			return
		}
		if len(having) > 0 && having[0](f) != isTrue {
			continue
		}
		f.page, f.start = uint32(number>>16), number&0xffff // the sorter finds the group again by its place
		if more := x.emit(f); !more || f.err != nil {
			return
		}
	}
}

// emitSorted renders the kept rows. They are read once more from their pages: sorting moved
// only keys and references.
func (x *execution) emitSorted() {
	f := &x.frame
	rows := x.order.finish()
	if x.offset >= int64(len(rows)) {
		return
	}
	rows = rows[x.offset:]
	f.pager = x.pager
	f.allowSpill(0)
	for i, row := range rows {
		if x.limit == 0 {
			return
		}
		x.limit--
		f.arena = f.arena[:0]
		if x.grouping != nil {
			x.grouping.enter(f, int(row.ref))
		} else if x.plan.access != accessNone && !x.reload(row.ref, rows[i:]) {
			return
		}
		if x.render(f); f.err != nil {
			return
		}
	}
}

// reload binds the frame to a row that the scan saw before.
func (x *execution) reload(place uint64, ahead []sortEntry) bool {
	c := &x.cursor
	if x.lookup.pager != nil {
		c = &x.lookup
	}
	if len(ahead) > reloadAhead {
		c.prefetchAgain(ahead[reloadAhead].ref)
	}
	return c.loadAgain(place)
}

// passes applies the filter.
func (x *execution) passes(f *frame) bool {
	for _, test := range x.filter {
		if test(f) != isTrue {
			return false
		}
	}
	return true
}

// scan feeds every row that passes the filter to the consumer, until it wants no more.
func (x *execution) scan(consume func(*frame) bool) {
	if x.plan.nothing {
		return
	}
	switch x.plan.access {
	case accessNone:
		if x.passes(&x.frame) && x.frame.err == nil {
			consume(&x.frame)
		}
	case accessRowids:
		x.scanRowids(consume)
	case accessRowidRange:
		x.scanTable(consume)
	default:
		x.scanIndex(consume)
	}
}

// take counts a loaded row and offers it to filter and consumer.
func (x *execution) take(consume func(*frame) bool) bool { return x.offer(false, consume) }

// offer is take for a row whose filter may be decided already.
func (x *execution) offer(decided bool, consume func(*frame) bool) bool {
	f := &x.frame
	x.items++
	f.arena = f.arena[:0]
	if (decided || x.passes(f)) && f.err == nil && !consume(f) {
		return false
	}
	return f.err == nil
}

func (x *execution) scanRowids(consume func(*frame) bool) {
	c := &x.cursor
	c.open(x.pager, x.table.root, false, &x.frame.record)
	for i := range x.plan.rowids {
		rowid := x.plan.rowids[i]
		if x.plan.reverse {
			rowid = x.plan.rowids[len(x.plan.rowids)-1-i]
		}
		if !c.seekRowid(rowid) {
			if x.frame.err != nil {
				return
			}
			continue
		}
		if !c.load() {
			return
		}
		if x.frame.rowid == rowid && !x.take(consume) {
			return
		}
	}
}

func (x *execution) scanTable(consume func(*frame) bool) {
	c := &x.cursor
	f := &x.frame
	c.open(x.pager, x.table.root, false, &f.record)
	low, high := x.plan.low, x.plan.high
	if low > high {
		return
	}
	if x.plan.reverse {
		ok := false
		if high == math.MaxInt64 {
			ok = c.last()
		} else if ok = c.seekRowid(high + 1); ok {
			ok = c.prev()
		} else if f.err == nil {
			ok = c.last()
		}
		for ; ok && c.load() && f.rowid >= low; ok = c.prev() {
			if !x.take(consume) {
				return
			}
		}
		return
	}
	ok := false
	if low == math.MinInt64 {
		ok = c.first()
	} else {
		ok = c.seekRowid(low)
	}
	for ok {
		if n := c.leaf(); x.leafEndsBy(n, high) {
			if !x.takeLeaf(n, true, consume) {
				return
			}
		} else if f.err != nil || !c.load() || f.rowid > high || !x.take(consume) {
			return
		}
		ok = c.next()
	}
}

// leafEndsBy says whether all rows of a leaf lie below the end of the range.
func (x *execution) leafEndsBy(n *node, high int64) bool {
	if high == math.MaxInt64 {
		return true
	}
	last, ok := x.cursor.rowidOf(n, n.cells-1)
	return ok && last <= high
}

// takeLeaf takes all entries of a leaf from the current one on and leaves the cursor on the last.
// The kernels see the whole page before a single record is bound.
func (x *execution) takeLeaf(n *node, direct bool, consume func(*frame) bool) bool {
	c := &x.cursor
	c.prefetchNext()
	if x.countOnly && len(x.filter) == 0 {
		x.items += int64(n.cells - n.index)
		x.grouping.count(n.cells - n.index)
		n.index = n.cells - 1
		return true
	}
	if len(x.kernels) == 0 || !direct {
		for ; ; n.index++ {
			if !c.loadCell(n, n.index) || !x.takeEntry(direct, consume) {
				return false
			}
			if n.index+1 == n.cells {
				return true
			}
		}
	}
	x.spots = x.spots[:0]
	for cell := n.index; cell < n.cells; cell++ {
		x.spots = append(x.spots, spot{cell: uint16(cell)})
	}
	kept := x.spots
	limit := c.pager.maxLocal
	if c.isIndex {
		limit = c.pager.maxIndex
	}
	for _, k := range x.kernels {
		locate(n, c.isIndex, limit, k.field, kept)
		kept = k.reject(n.data, kept)
	}
	counted := n.index // the cells before this one are in items
	for _, s := range kept {
		decided := x.decisive && !s.unsure
		if decided && x.countOnly {
			x.grouping.count(1)
			continue
		}
		n.index = int(s.cell)
		x.items += int64(n.index - counted) // offer counts the entry itself
		counted = n.index + 1
		if !c.loadCell(n, n.index) || !x.offer(decided, consume) {
			return false
		}
	}
	x.items += int64(n.cells - counted)
	n.index = n.cells - 1
	return true
}

// scanIndex walks each prefix's part of the index.
func (x *execution) scanIndex(consume func(*frame) bool) {
	p := x.plan
	direct := p.covering || p.index.primary
	rec := &x.entry
	if direct {
		rec = &x.frame.record
	}
	x.cursor.open(x.pager, p.index.root, true, rec)
	if !direct {
		x.lookup.open(x.pager, 0, p.index.primary, &x.frame.record)
		x.openLookup()
	}
	for i := range p.prefixes {
		prefix := p.prefixes[i]
		if p.reverse {
			prefix = p.prefixes[len(p.prefixes)-1-i]
		}
		if !x.scanPrefix(prefix, direct, consume) {
			break
		}
	}
	if x.frame.err == nil {
		x.frame.err = x.entry.err
	}
}

// openLookup opens the table that the entries of a non-covering index lead to.
func (x *execution) openLookup() {
	root, isIndex := x.table.root, x.table.withoutRowid
	x.lookup.open(x.pager, root, isIndex, &x.frame.record)
}

// part is one end of an index range: a bound, and on which side of its equals the range ends.
type part struct {
	bound bound
	after bool // the range's edge lies after the entries equal to the bound
	open  bool // no edge: the index ends first
}

// edges lays out where a prefix's range begins and ends, in index order.
func (p *plan) edges(prefix []value) (begin, end part) {
	begin = part{bound: bound{prefix, p.index}, open: len(prefix) == 0}
	end = part{bound: bound{prefix, p.index}, after: true, open: len(prefix) == 0}
	if p.lower == nil && p.upper == nil {
		return begin, end
	}
	extend := func(v value) bound {
		return bound{append(append(make([]value, 0, len(prefix)+1), prefix...), v), p.index}
	}
	// Below the lower limit; without one, NULL never fulfils a range.
	low := part{bound: extend(null), after: true}
	if p.lower != nil {
		low = part{bound: extend(p.lower.value), after: !p.lower.inclusive}
	}
	high := end
	if p.upper != nil {
		high = part{bound: extend(p.upper.value), after: p.upper.inclusive}
	}
	if !p.index.keys[len(prefix)].descending {
		return low, high
	}
	// In a descending key the range runs from high to low, and "after" changes sides.
	first, last := begin, end
	if p.upper != nil {
		first = part{bound: high.bound, after: !high.after}
	}
	last = part{bound: low.bound, after: !low.after}
	return first, last
}

// scanPrefix walks the entries between two edges; false ends the whole scan.
func (x *execution) scanPrefix(prefix []value, direct bool, consume func(*frame) bool) bool {
	c := &x.cursor
	begin, end := x.plan.edges(prefix)
	ok := false
	switch {
	case x.plan.reverse:
		ok = x.seekBefore(&end)
		begin, end = end, begin
	case begin.open:
		ok = c.first()
	default:
		ok = c.seekIndex(&begin.bound, begin.after)
	}
	for ok {
		if n := c.leaf(); n.leaf && !x.plan.reverse && x.leafInside(n, &end) {
			if !x.takeLeaf(n, direct, consume) {
				return false
			}
			ok = c.next()
			continue
		}
		if c.rec.err != nil || !c.load() || !x.inside(&end) {
			break
		}
		if !x.takeEntry(direct, consume) {
			return false
		}
		if x.plan.reverse {
			ok = c.prev()
		} else {
			ok = c.next()
		}
	}
	return c.rec.err == nil
}

// leafInside says whether the whole rest of a leaf lies before the edge.
func (x *execution) leafInside(n *node, edge *part) bool {
	return edge.open || (x.cursor.loadCell(n, n.cells-1) && x.inside(edge))
}

// seekBefore goes to the last entry before an edge.
func (x *execution) seekBefore(edge *part) bool {
	c := &x.cursor
	if edge.open {
		return c.last()
	}
	if c.seekIndex(&edge.bound, edge.after) {
		return c.prev()
	}
	return c.rec.err == nil && c.last()
}

// inside says whether the current entry lies before the far edge of the walk.
func (x *execution) inside(edge *part) bool {
	if edge.open {
		return true
	}
	d := edge.bound.compare(x.cursor.rec)
	if x.cursor.rec.err != nil {
		return false
	}
	if x.plan.reverse {
		return d > 0 || (d == 0 && !edge.after)
	}
	return d < 0 || (d == 0 && edge.after)
}

// takeEntry counts an entry and, unless the index covers the query, finds its row.
func (x *execution) takeEntry(direct bool, consume func(*frame) bool) bool {
	if direct {
		return x.take(consume)
	}
	if x.table.withoutRowid {
		if !x.seekPrimary() {
			return false
		}
	} else if !x.seekRow() {
		return false
	}
	return x.take(consume)
}

func (x *execution) seekRow() bool {
	field := len(x.plan.index.keys) - 1
	v, _ := x.entry.value(field)
	if v.kind != kindInt {
		x.entry.fail("index entry ends without a rowid")
		return false
	}
	if x.lookup.seekRowid(v.int()) && x.lookup.load() && x.frame.rowid == v.int() {
		return true
	}
	x.entry.fail("index entry leads to row %d, which is not in the table", v.int())
	return false
}

// seekPrimary finds the row of a WITHOUT ROWID table by the key in the index entry.
func (x *execution) seekPrimary() bool {
	primary := x.table.primary
	key := bound{make([]value, 0, primary.declared), primary}
	for _, k := range primary.keys[:primary.declared] {
		v, ok := x.entry.value(x.plan.index.fields[k.column])
		if !ok {
			x.entry.fail("index entry has only %d fields", x.entry.fields)
			return false
		}
		key.values = append(key.values, v)
	}
	if x.lookup.seekIndex(&key, false) && x.lookup.load() && key.compare(&x.frame.record) == 0 && x.frame.err == nil {
		return true
	}
	x.entry.fail("index entry leads to no row of the table")
	return false
}
