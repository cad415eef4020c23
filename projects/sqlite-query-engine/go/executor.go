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
