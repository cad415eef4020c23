package main

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"math/rand/v2"
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
