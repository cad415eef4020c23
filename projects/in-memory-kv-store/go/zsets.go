package main

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
)

// zset is a sorted set: a table to find a member, and a skip list in the order
// of scores, and of members where scores are equal. It has no pointers and
// lives in its entry.
type zset struct {
	members table // the value of an entry is the ref of its node
	head    ref   // a node without a member, as tall as the tallest
	tail    ref
	height  uint32
	tall    uint32 // 1: Redis would not have it packed, now or before
}

// A node of the skip list is, in words: the score, the entry of the member, the
// node before, and for every level the next node and how many steps it is away.
const (
	wordScore  = 0
	wordEntry  = 1
	wordBefore = 2
	wordLevels = 3
	maxHeight  = 16 // a quarter of the nodes reach each next level
)

func nodeWords(height int) int { return (wordLevels + 2*height) * unitBytes }

func (m *arena) next(node ref, level int) ref    { return ref(*m.word(node, wordLevels+2*level)) }
func (m *arena) steps(node ref, level int) int64 { return int64(*m.word(node, wordLevels+2*level+1)) }

func (m *arena) setNext(node ref, level int, next ref, steps int64) {
	*m.word(node, wordLevels+2*level) = uint64(next)
	*m.word(node, wordLevels+2*level+1) = uint64(steps)
}

func (m *arena) score(node ref) float64 { return math.Float64frombits(*m.word(node, wordScore)) }

func (m *arena) setScore(node ref, score float64) { *m.word(node, wordScore) = math.Float64bits(score) }

func (m *arena) memberOf(node ref) []byte { return m.key(ref(*m.word(node, wordEntry))) }

// nodeOf is the node of a member's entry.
func (m *arena) nodeOf(entry ref) ref { return ref(binary.LittleEndian.Uint64(m.value(entry))) }

// before tells if a node comes before a score and member.
func (m *arena) before(node ref, score float64, member []byte) bool {
	s := m.score(node)
	return s < score || s == score && bytes.Compare(m.memberOf(node), member) < 0
}

// randomHeight is 1 in three of four cases, and each next height a quarter as likely.
func randomHeight() int {
	return min(1+bits.TrailingZeros64(rand.Uint64()|1<<63)/2, maxHeight)
}

// path is the way to a place: on every level the last node before it, and how many are before that one.
type path struct {
	node [maxHeight]ref
	rank [maxHeight]int64
}

// find is the way to where a score and member are or would be.
func (z *zset) find(m *arena, score float64, member []byte) (p path) {
	at, rank := z.head, int64(0)
	for level := int(z.height) - 1; level >= 0; level-- {
		for next := m.next(at, level); next != 0 && m.before(next, score, member); next = m.next(at, level) {
			rank += m.steps(at, level)
			at = next
		}
		p.node[level], p.rank[level] = at, rank
	}
	return p
}

// insert adds a member that is not in the set.
func (z *zset) insert(m *arena, member []byte, score float64) {
	if z.members.count >= mostPacked || len(member) > longestPackedOne {
		z.tall = 1
	}
	entry := m.newEntry(kindString, false, member, unitBytes)
	z.members.add(m, m.hash(member), entry)
	z.link(m, entry, z.stored(score))
}

// stored is the score that Redis would keep: in a packed sorted set -0 becomes 0.
func (z *zset) stored(score float64) float64 {
	if z.tall == 0 && score == 0 {
		return 0
	}
	return score
}

// link makes the node of an entry.
func (z *zset) link(m *arena, entry ref, score float64) {
	height := randomHeight()
	z.raise(m, height)
	p := z.find(m, score, m.key(entry))
	node := m.alloc(nodeWords(height))
	m.setScore(node, score)
	*m.word(node, wordEntry) = uint64(entry)
	binary.LittleEndian.PutUint64(m.value(entry), uint64(node))
	for level := range height {
		passed := p.rank[0] - p.rank[level]
		before := p.node[level]
		m.setNext(node, level, m.next(before, level), m.steps(before, level)-passed)
		m.setNext(before, level, node, passed+1)
	}
	for level := height; level < int(z.height); level++ {
		m.setNext(p.node[level], level, m.next(p.node[level], level), m.steps(p.node[level], level)+1)
	}
	z.setBefore(m, node, p.node[0])
	z.setBefore(m, m.next(node, 0), node)
}

// setBefore points a node, or for 0 the tail, to the one before it.
func (z *zset) setBefore(m *arena, node, before ref) {
	if before == z.head {
		before = 0
	}
	if node == 0 {
		z.tail = before
	} else {
		*m.word(node, wordBefore) = uint64(before)
	}
}

// raise makes the head at least this tall, for a member that is in the table but not in the
// order yet. On a new level the head reaches the end, all others away.
func (z *zset) raise(m *arena, height int) {
	if height <= int(z.height) {
		return
	}
	taller := m.alloc(nodeWords(height))
	for level := range height {
		if level < int(z.height) {
			m.setNext(taller, level, m.next(z.head, level), m.steps(z.head, level))
		} else {
			m.setNext(taller, level, 0, z.members.count-1)
		}
	}
	if z.head != 0 {
		m.free(z.head)
	}
	z.head, z.height = taller, uint32(height)
}

// unlink takes the node of an entry out of the order and frees it.
func (z *zset) unlink(m *arena, entry ref) {
	node := m.nodeOf(entry)
	p := z.find(m, m.score(node), m.key(entry))
	for level := range int(z.height) {
		before := p.node[level]
		if m.next(before, level) == node {
			m.setNext(before, level, m.next(node, level), m.steps(before, level)+m.steps(node, level)-1)
		} else {
			m.setNext(before, level, m.next(before, level), m.steps(before, level)-1)
		}
	}
	z.setBefore(m, m.next(node, 0), p.node[0])
	m.free(node)
}

// remove takes a member out; false: it is not there.
func (z *zset) remove(m *arena, member []byte) bool {
	hash := m.hash(member)
	slot := z.members.find(m, member, hash)
	if slot == nil {
		return false
	}
	entry := refOf(*slot)
	z.unlink(m, entry)
	z.members.remove(m, hash, slot)
	m.free(entry)
	return true
}

// rescore gives a member another score; it moves only if its order changes.
func (z *zset) rescore(m *arena, entry ref, score float64) {
	score = z.stored(score)
	node := m.nodeOf(entry)
	member := m.key(entry)
	before, next := ref(*m.word(node, wordBefore)), m.next(node, 0)
	staysBehind := before == 0 || m.before(before, score, member)
	staysInFront := next == 0 || !m.before(next, score, member)
	if staysBehind && staysInFront {
		m.setScore(node, score)
		return
	}
	z.unlink(m, entry)
	z.link(m, entry, score)
}

// rank is how many members come before an entry.
func (z *zset) rank(m *arena, entry ref) int64 {
	p := z.find(m, m.score(m.nodeOf(entry)), m.key(entry))
	return p.rank[0]
}

// at is the node at a rank that exists.
func (z *zset) at(m *arena, rank int64) ref {
	at, left := z.head, rank+1
	for level := int(z.height) - 1; level >= 0; level-- {
		for m.next(at, level) != 0 && m.steps(at, level) <= left {
			left -= m.steps(at, level)
			at = m.next(at, level)
		}
	}
	return at
}

// end is the first or last node of a set that is not empty.
func (z *zset) end(m *arena, first bool) ref {
	if first {
		return m.next(z.head, 0)
	}
	return z.tail
}

// from goes through the nodes, starting at a rank.
func (z *zset) from(m *arena, rank int64) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		if rank >= z.members.count {
			return
		}
		for node := z.at(m, rank); node != 0 && yield(node); node = m.next(node, 0) {
		}
	}
}

// drop frees all.
func (z *zset) drop(m *arena) {
	for node := z.head; node != 0; {
		next := m.next(node, 0)
		m.free(node)
		node = next
	}
	m.dropMembers(&z.members)
	*z = zset{}
}

func (z *zset) nodesFootprint(m *arena) int {
	total := 0
	for node := z.head; node != 0; node = m.next(node, 0) {
		total += m.size(node)
	}
	return total
}

// --- commands

// zaddOptions are the words behind ZADD.
type zaddOptions struct{ ifAbsent, ifPresent, ifGreater, ifLess, countChanged, increment bool }

// zaddOptions reads them; next is the first argument behind them.
func (c *call) zaddOptions() (o zaddOptions, next int) {
	for next = 2; next < len(c.args); next++ {
		switch word := c.args[next]; {
		case equalFold(word, "NX"):
			o.ifAbsent = true
		case equalFold(word, "XX"):
			o.ifPresent = true
		case equalFold(word, "GT"):
			o.ifGreater = true
		case equalFold(word, "LT"):
			o.ifLess = true
		case equalFold(word, "CH"):
			o.countChanged = true
		case equalFold(word, "INCR"):
			o.increment = true
		default:
			return o, next
		}
	}
	return o, next
}

// conflict is why the options cannot stand together, or empty.
func (o zaddOptions) conflict(words int) string {
	switch {
	case words == 0 || words%2 == 1:
		return textSyntax
	case o.ifAbsent && o.ifPresent:
		return "ERR XX and NX options at the same time are not compatible"
	case o.ifAbsent && (o.ifGreater || o.ifLess), o.ifGreater && o.ifLess:
		return "ERR GT, LT, and/or NX options at the same time are not compatible"
	case o.increment && words > 2:
		return "ERR INCR option supports a single increment-element pair"
	}
	return ""
}

func cmdZAdd(c *call) {
	o, first := c.zaddOptions()
	c.addScored(o, first)
}

func cmdZIncrBy(c *call) {
	o, first := c.zaddOptions()
	o.increment = true
	c.addScored(o, first)
}

// addScored is ZADD and ZINCRBY; pairs of score and member start at first.
func (c *call) addScored(o zaddOptions, first int) {
	pairs := c.args[first:]
	if conflict := o.conflict(len(pairs)); conflict != "" {
		c.out.fail(conflict)
		return
	}
	scores := make([]float64, 0, 8)
	for i := 0; i < len(pairs); i += 2 {
		score, ok := parseDouble(pairs[i])
		if !ok {
			c.out.fail(textNotFloat)
			return
		}
		scores = append(scores, score)
	}
	key := c.args[1]
	slot, hash, ok := c.write(key, kindZset)
	if !ok {
		return
	}
	if slot == nil && o.ifPresent {
		if o.increment {
			c.out.null()
		} else {
			c.out.integer(0)
		}
		return
	}
	var z *zset
	if slot == nil {
		z = c.mem.zset(c.create(key, hash, kindZset))
	} else {
		z = c.mem.zset(refOf(*slot))
	}
	c.storeScores(z, o, scores, pairs)
}

// storeScores applies the pairs and answers.
func (c *call) storeScores(z *zset, o zaddOptions, scores []float64, pairs [][]byte) {
	added, updated := int64(0), int64(0)
	stored, applied := 0.0, false
	for i, score := range scores {
		outcome, result := z.put(c.mem, pairs[2*i+1], score, o)
		switch outcome {
		case zsetNotANumber:
			c.out.fail("ERR resulting score is not a number (NaN)")
			return
		case zsetAdded:
			added++
		case zsetUpdated:
			updated++
		}
		stored, applied = result, outcome != zsetRefused
	}
	if added+updated > 0 {
		c.changed(c.args[1])
	}
	switch {
	case o.increment && applied:
		c.out.double(stored)
	case o.increment:
		c.out.null()
	case o.countChanged:
		c.out.integer(added + updated)
	default:
		c.out.integer(added)
	}
}

// putOutcome is what happened to one pair of ZADD.
type putOutcome int

const (
	zsetUnchanged putOutcome = iota // the score was that already
	zsetRefused                     // an option forbade it
	zsetAdded
	zsetUpdated
	zsetNotANumber
)

func (z *zset) put(m *arena, member []byte, score float64, o zaddOptions) (putOutcome, float64) {
	entry := z.members.get(m, member)
	if entry == 0 {
		if o.ifPresent {
			return zsetRefused, 0
		}
		z.insert(m, member, score)
		return zsetAdded, score
	}
	if o.ifAbsent {
		return zsetRefused, 0
	}
	old := m.score(m.nodeOf(entry))
	if o.increment {
		if score += old; math.IsNaN(score) {
			return zsetNotANumber, 0
		}
	}
	if o.ifLess && score >= old || o.ifGreater && score <= old {
		return zsetRefused, 0
	}
	if score == old {
		return zsetUnchanged, score
	}
	z.rescore(m, entry, score)
	return zsetUpdated, score
}

// readZset is the sorted set of a key, nil if there is none.
func (c *call) readZset() (z *zset, ok bool) {
	r, ok := c.read(c.args[1], kindZset)
	if r == 0 || !ok {
		return nil, ok
	}
	return c.mem.zset(r), true
}

func cmdZCard(c *call) {
	if z, ok := c.readZset(); ok && z != nil {
		c.out.integer(z.members.count)
	} else if ok {
		c.out.integer(0)
	}
}

// readMember is the entry of a member and its set, 0 if there is none.
func (c *call) readMember() (z *zset, entry ref, ok bool) {
	z, ok = c.readZset()
	if ok && z != nil {
		entry = z.members.get(c.mem, c.args[2])
	}
	return z, entry, ok
}

func cmdZScore(c *call) {
	if _, entry, ok := c.readMember(); ok && entry != 0 {
		c.out.double(c.mem.score(c.mem.nodeOf(entry)))
	} else if ok {
		c.out.null()
	}
}

func cmdZRank(c *call) {
	if z, entry, ok := c.readMember(); ok && entry != 0 {
		c.out.integer(z.rank(c.mem, entry))
	} else if ok {
		c.out.null()
	}
}

func cmdZRem(c *call) {
	key := c.args[1]
	slot, hash, ok := c.write(key, kindZset)
	if !ok {
		return
	}
	removed := int64(0)
	if slot != nil {
		z := c.mem.zset(refOf(*slot))
		for _, member := range c.args[2:] {
			if z.members.count > 0 && z.remove(c.mem, member) {
				removed++
			}
		}
		if removed > 0 {
			c.changed(key)
			c.deleteIfEmpty(z.members.count, key, hash, slot)
		}
	}
	c.out.integer(removed)
}

func cmdZPopMin(c *call) { c.popScored(true) }
func cmdZPopMax(c *call) { c.popScored(false) }

func (c *call) popScored(lowest bool) {
	if len(c.args) > 3 {
		c.out.fail(textSyntax)
		return
	}
	count := int64(1)
	if len(c.args) == 3 {
		var ok bool
		if count, ok = c.positive(2); !ok {
			return
		}
	}
	key := c.args[1]
	slot, hash, ok := c.write(key, kindZset)
	if !ok {
		return
	}
	if slot == nil || count == 0 {
		c.out.array(0)
		return
	}
	z := c.mem.zset(refOf(*slot))
	count = min(count, z.members.count)
	c.out.array(int(2 * count))
	for range count {
		node := z.end(c.mem, lowest)
		c.text = append(c.text[:0], c.mem.memberOf(node)...)
		c.out.bulk(c.text)
		c.out.double(c.mem.score(node))
		z.remove(c.mem, c.text)
	}
	c.changed(key)
	c.deleteIfEmpty(z.members.count, key, hash, slot)
}

// answerNode answers a member and, if asked for, its score.
func (c *call) answerNode(node ref, withScores bool) {
	c.out.bulk(c.mem.memberOf(node))
	if withScores {
		c.out.double(c.mem.score(node))
	}
}

func (c *call) arrayOfNodes(count int64, withScores bool) {
	if withScores {
		count *= 2
	}
	c.out.array(int(count))
}

func cmdZRange(c *call)    { c.rangeByRank(false, true) }
func cmdZRevRange(c *call) { c.rangeByRank(true, false) }

func (c *call) rangeByRank(reverse, mayTurn bool) {
	withScores := false
	for _, word := range c.args[4:] {
		switch {
		case equalFold(word, "WITHSCORES"):
			withScores = true
		case equalFold(word, "REV") && mayTurn && !reverse:
			reverse = true
		default:
			c.out.fail(textSyntax)
			return
		}
	}
	start, ok := c.integer(2)
	if !ok {
		return
	}
	end, ok := c.integer(3)
	if !ok {
		return
	}
	z, ok := c.readZset()
	if !ok {
		return
	}
	if z == nil {
		c.out.array(0)
		return
	}
	first, length := clampRange(start, end, z.members.count)
	c.arrayOfNodes(length, withScores)
	if length == 0 {
		return
	}
	if reverse {
		node := z.at(c.mem, z.members.count-1-first)
		for ; length > 0; length-- {
			c.answerNode(node, withScores)
			node = ref(*c.mem.word(node, wordBefore))
		}
		return
	}
	for node := range z.from(c.mem, first) {
		c.answerNode(node, withScores)
		if length--; length == 0 {
			break
		}
	}
}

// scoreBound is one side of a range of scores.
type scoreBound struct {
	value     float64
	exclusive bool
}

// parseBound reads a score, or ( and a score that does not belong to the range.
// Like strtod it takes an empty text for zero, spaces in front, and what is too
// large for infinity.
func parseBound(text []byte) (b scoreBound, ok bool) {
	if len(text) > 0 && text[0] == '(' {
		b.exclusive = true
		text = text[1:]
	}
	if text = cText(text); len(text) == 0 {
		return b, true
	}
	form, ok := cNumber(bytes.TrimLeft(text, " \t\n\v\f\r"))
	if ok {
		b.value, _ = strconv.ParseFloat(form, 64)
	}
	return b, ok
}

func (b scoreBound) isBelow(score float64) bool {
	return b.value < score || b.value == score && !b.exclusive
}

func (b scoreBound) isAbove(score float64) bool {
	return b.value > score || b.value == score && !b.exclusive
}

func cmdZRangeByScore(c *call) {
	lowest, okLow := parseBound(c.args[2])
	highest, okHigh := parseBound(c.args[3])
	withScores := false
	skip, limit := int64(0), int64(-1)
	for i := 4; i < len(c.args); i++ {
		switch word := c.args[i]; {
		case equalFold(word, "WITHSCORES"):
			withScores = true
		case equalFold(word, "LIMIT") && i+2 < len(c.args):
			var ok bool
			if skip, ok = c.integer(i + 1); !ok {
				return
			}
			if limit, ok = c.integer(i + 2); !ok {
				return
			}
			i += 2
		default:
			c.out.fail(textSyntax)
			return
		}
	}
	if !okLow || !okHigh {
		c.out.fail("ERR min or max is not a float")
		return
	}
	z, ok := c.readZset()
	if !ok {
		return
	}
	c.found = c.found[:0]
	if z != nil && skip >= 0 {
		c.found = z.between(c.mem, lowest, highest, skip, limit, c.found)
	}
	c.arrayOfNodes(int64(len(c.found)), withScores)
	for _, node := range c.found {
		c.answerNode(node, withScores)
	}
}

// between collects the nodes of a range of scores; a negative limit is none.
func (z *zset) between(m *arena, lowest, highest scoreBound, skip, limit int64, found []ref) []ref {
	at := z.head
	for level := int(z.height) - 1; level >= 0; level-- {
		for next := m.next(at, level); next != 0 && !lowest.isBelow(m.score(next)); next = m.next(at, level) {
			at = next
		}
	}
	for at = m.next(at, 0); at != 0 && highest.isAbove(m.score(at)) && limit != 0; at = m.next(at, 0) {
		if skip > 0 {
			skip--
			continue
		}
		found = append(found, at)
		limit--
	}
	return found
}
