package main

import "math"

type aggregateKind uint8

const (
	countRows aggregateKind = iota
	countValues
	sumValues
	totalValues
	averageValues
	minimum
	maximum
)

// aggregate is one compiled aggregate function of the query.
type aggregate struct {
	kind      aggregateKind
	distinct  bool
	argument  evalFunc
	collation collation
	key       []byte // scratch of DISTINCT
}

// aggregateState is what one group remembers for one aggregate.
type aggregateState struct {
	count    int64
	intSum   int64
	realSum  float64
	isReal   bool // a real came by
	overflow bool
	best     kept
	distinct *keyTable
}

func (c *compiler) aggregate(e *expr) aggregate {
	a := aggregate{distinct: e.distinct}
	switch e.name {
	case "count":
		a.kind = countValues
		if len(e.list) == 0 {
			a.kind = countRows
			return a
		}
	case "sum":
		a.kind = sumValues
	case "total":
		a.kind = totalValues
	case "avg":
		a.kind = averageValues
	case "min":
		a.kind = minimum
	case "max":
		a.kind = maximum
	}
	a.argument = c.compile(e.list[0])
	a.collation, _ = collationOf(c.table, e.list[0])
	return a
}

// add takes a row into the state. For MIN and MAX it says whether the row is the one that bare
// columns come from.
func (a *aggregate) add(s *aggregateState, f *frame) (takesRow bool) {
	if a.kind == countRows {
		s.count++
		return false
	}
	v := a.argument(f)
	if v.kind == kindNull {
		return s.count == 0
	}
	if a.distinct && a.kind <= averageValues && !a.isNew(s, v) {
		return false
	}
	s.count++
	switch a.kind {
	case sumValues, totalValues, averageValues:
		s.sum(v)
	case minimum, maximum:
		return a.extreme(s, v)
	}
	return false
}

// isNew says whether a DISTINCT aggregate sees a value for the first time.
func (a *aggregate) isNew(s *aggregateState, v value) bool {
	if s.distinct == nil {
		s.distinct = &keyTable{}
	}
	a.key = appendKey(a.key[:0], v, a.collation)
	_, isNew := s.distinct.find(a.key)
	return isNew
}

// sum adds as SQLite 3.40 does: integers exactly, and everything once more as a plain double.
func (s *aggregateState) sum(v value) {
	if v.kind == kindText {
		v = numericText(v)
	}
	if v.kind != kindInt {
		s.realSum += v.toReal()
		s.isReal = true
		return
	}
	i := v.int()
	s.realSum += float64(i)
	if s.isReal || s.overflow {
		return
	}
	total := s.intSum + i
	if (total > s.intSum) != (i > 0) && i != 0 {
		s.overflow = true
		return
	}
	s.intSum = total
}

func (a *aggregate) extreme(s *aggregateState, v value) bool {
	if s.count > 1 {
		d := compareValues(v, s.best.value, a.collation)
		if d == 0 || (d < 0) != (a.kind == minimum) {
			return false
		}
	}
	s.best.set(v)
	return true
}

func (a *aggregate) result(s *aggregateState, f *frame) value {
	switch a.kind {
	case countRows, countValues:
		return intValue(s.count)
	case totalValues:
		return realValue(s.realSum)
	case minimum, maximum:
		return s.best.value
	}
	switch {
	case s.count == 0:
		return null
	case a.kind == averageValues:
		return realValue(s.realSum / float64(s.count))
	case s.overflow:
		return f.failSQL("integer overflow")
	case s.isReal:
		return realValue(s.realSum)
	}
	return intValue(s.intSum)
}

// grouping collects the groups of a query with GROUP BY or aggregates.
type grouping struct {
	keys       []sortKey // the GROUP BY terms
	aggregates []aggregate
	governor   int // the MIN or MAX whose row gives the bare columns, or -1
	bare       []evalFunc
	table      keyTable
	states     []aggregateState // len(aggregates) for each group
	saved      []kept           // len(bare) for each group
	groups     int
	scratch    []byte
}

// add takes a row into its group.
func (g *grouping) add(f *frame) bool {
	number := 0
	isNew := g.groups == 0
	if len(g.keys) > 0 {
		key := g.scratch[:0]
		for i := range g.keys {
			key = appendKey(key, g.keys[i].eval(f), g.keys[i].collation)
		}
		g.scratch = key
		number, isNew = g.table.find(key)
	}
	if isNew {
		g.open()
	}
	takesRow := isNew
	base := number * len(g.aggregates)
	for i := range g.aggregates {
		if takes := g.aggregates[i].add(&g.states[base+i], f); i == g.governor {
			takesRow = takes
		}
	}
	if takesRow {
		base = number * len(g.bare)
		for i, eval := range g.bare {
			g.saved[base+i].set(eval(f))
		}
	}
	return true
}

// onlyCounts says whether the rows themselves do not matter.
func (g *grouping) onlyCounts() bool {
	for i := range g.aggregates {
		if g.aggregates[i].kind != countRows {
			return false
		}
	}
	return len(g.keys) == 0 && len(g.bare) == 0
}

// count takes rows that nobody looked at.
func (g *grouping) count(rows int) {
	if g.groups == 0 {
		g.open()
	}
	for i := range g.states {
		g.states[i].count += int64(rows)
	}
}

// open begins a new group.
func (g *grouping) open() {
	g.groups++
	for range g.aggregates {
		g.states = append(g.states, aggregateState{})
	}
	for range g.bare {
		g.saved = append(g.saved, kept{})
	}
}

// order gives the groups in the order of their keys.
func (g *grouping) order() []int {
	if len(g.keys) > 0 {
		return g.table.inOrder()
	}
	if g.groups == 0 {
		g.open() // without GROUP BY there is always one row
	}
	return []int{0}
}

// enter makes a group the current one of the frame.
func (g *grouping) enter(f *frame, number int) {
	f.arena = f.arena[:0]
	count := len(g.aggregates)
	f.aggregates = f.aggregates[:0]
	for i := range g.aggregates {
		f.aggregates = append(f.aggregates, g.aggregates[i].result(&g.states[number*count+i], f))
	}
	f.saved = g.saved[number*len(g.bare) : (number+1)*len(g.bare)]
}

// wholeNumber converts a LIMIT or OFFSET as SQLite does.
func wholeNumber(v value) (int64, bool) {
	v = affinityNumeric.apply(v)
	if v.kind == kindReal && math.Abs(v.real()) < 1<<62 && v.real() == math.Trunc(v.real()) {
		return int64(v.real()), true
	}
	return v.int(), v.kind == kindInt
}
