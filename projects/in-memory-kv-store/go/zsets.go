package main

import (
	"bytes"
	"math"
	"strconv"
)

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
