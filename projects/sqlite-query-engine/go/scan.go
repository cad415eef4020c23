package main

import "math"

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
	if edge.open {
		return true
	}
	if n.crossed {
		return false
	}
	n.crossed = !x.cursor.loadCell(n, n.cells-1) || !x.inside(edge)
	return !n.crossed
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
