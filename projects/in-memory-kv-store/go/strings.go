package main

import (
	"math"
	"strconv"
)

// setOptions are the words behind SET and GETEX.
type setOptions struct {
	ifAbsent, ifPresent, get, keepTTL, persist bool
	expire                                     expireOption
	expireArg                                  []byte
}

type expireOption int

const (
	expireNone expireOption = iota
	expireEX
	expirePX
	expireEXAT
	expirePXAT
)

// setOptions reads the options of SET or GETEX; false: they contradict, and that was answered.
func (c *call) setOptions(first int, forSet bool) (o setOptions, ok bool) {
	args := c.args
	for i := first; i < len(args); i++ {
		free := !o.keepTTL && !o.persist
		switch {
		case equalFold(args[i], "NX") && forSet && !o.ifPresent:
			o.ifAbsent = true
		case equalFold(args[i], "XX") && forSet && !o.ifAbsent:
			o.ifPresent = true
		case equalFold(args[i], "GET") && forSet:
			o.get = true
		case equalFold(args[i], "KEEPTTL") && forSet && o.expire == expireNone:
			o.keepTTL = true
		case equalFold(args[i], "PERSIST") && !forSet && o.expire == expireNone:
			o.persist = true
		default:
			option := expireOptionOf(args[i])
			if option == expireNone || !free || o.expire != expireNone && o.expire != option || i+1 == len(args) {
				c.out.fail(textSyntax)
				return o, false
			}
			i++
			o.expire, o.expireArg = option, args[i]
		}
	}
	return o, true
}

func expireOptionOf(word []byte) expireOption {
	switch {
	case equalFold(word, "EX"):
		return expireEX
	case equalFold(word, "PX"):
		return expirePX
	case equalFold(word, "EXAT"):
		return expireEXAT
	case equalFold(word, "PXAT"):
		return expirePXAT
	}
	return expireNone
}

// expireMoment is when the option says, in Unix milliseconds.
func (c *call) expireMoment(option expireOption, arg []byte) (at int64, ok bool) {
	value, isInteger := parseInteger(arg)
	if !isInteger {
		c.out.fail(textNotInteger)
		return 0, false
	}
	inSeconds := option == expireEX || option == expireEXAT
	if value <= 0 || inSeconds && value > math.MaxInt64/1000 {
		c.failExpireTime()
		return 0, false
	}
	if inSeconds {
		value *= 1000
	}
	if option == expireEX || option == expirePX {
		value += c.now
	}
	if value <= 0 {
		c.failExpireTime()
		return 0, false
	}
	return value, true
}

func (c *call) failExpireTime() {
	c.out.fail("ERR invalid expire time in '" + c.command.name + "' command")
}

func cmdSet(c *call) {
	var o setOptions
	if len(c.args) > 3 {
		var ok bool
		if o, ok = c.setOptions(3, true); !ok {
			return
		}
	}
	c.set(c.args[2], o)
}

func cmdSetNX(c *call) {
	slot, hash := c.find(c.args[1])
	if slot == nil {
		c.setString(c.args[1], hash, nil, c.args[2], 0)
		c.changed(c.args[1])
	}
	c.out.boolean(slot == nil)
}

func cmdSetEx(c *call)  { c.set(c.args[3], setOptions{expire: expireEX, expireArg: c.args[2]}) }
func cmdPSetEx(c *call) { c.set(c.args[3], setOptions{expire: expirePX, expireArg: c.args[2]}) }

// set is SET with its options.
func (c *call) set(value []byte, o setOptions) {
	key := c.args[1]
	expireAt := int64(0)
	if o.expire != expireNone {
		var ok bool
		if expireAt, ok = c.expireMoment(o.expire, o.expireArg); !ok {
			return
		}
	}
	if o.get && !c.answerString(key) {
		return
	}
	slot, hash := c.find(key)
	if o.ifAbsent && slot != nil || o.ifPresent && slot == nil {
		if !o.get {
			c.out.null()
		}
		return
	}
	if o.keepTTL && slot != nil {
		expireAt = c.mem.expireAt(refOf(*slot))
	}
	c.setString(key, hash, slot, value, expireAt)
	c.changed(key)
	if !o.get {
		c.out.ok()
	}
	if o.expire != expireNone && o.expire != expirePXAT {
		c.logAs([]byte("SET"), key, value, []byte("PXAT"), strconv.AppendInt(nil, expireAt, 10))
	} else if o.get {
		c.logWithoutGet()
	}
}

// logWithoutGet logs SET without its option GET, which changes nothing.
func (c *call) logWithoutGet() {
	words := append([][]byte(nil), c.args[:3]...)
	for _, word := range c.args[3:] {
		if !equalFold(word, "GET") {
			words = append(words, word)
		}
	}
	c.logAs(words...)
}

// answerString answers the value of a key, or null; false: it is not a string.
func (c *call) answerString(key []byte) bool {
	r, ok := c.read(key, kindString)
	if ok && r == 0 {
		c.out.null()
	} else if ok {
		c.out.bulk(c.mem.value(r))
	}
	return ok
}

func cmdGet(c *call) { c.answerString(c.args[1]) }

func cmdGetSet(c *call) {
	key := c.args[1]
	if !c.answerString(key) {
		return
	}
	slot, hash := c.find(key)
	c.setString(key, hash, slot, c.args[2], 0)
	c.changed(key)
	c.logAs([]byte("SET"), key, c.args[2])
}

func cmdGetDel(c *call) {
	key := c.args[1]
	if !c.answerString(key) {
		return
	}
	if slot, hash := c.find(key); slot != nil {
		c.delete(key, hash, slot)
		c.changes++
		c.logAs([]byte("DEL"), key)
	}
}

func cmdGetEx(c *call) {
	o, ok := c.setOptions(2, false)
	if !ok {
		return
	}
	key := c.args[1]
	r, ok := c.read(key, kindString)
	if !ok {
		return
	}
	if r == 0 {
		c.out.null()
		return
	}
	at := int64(0)
	if o.expire != expireNone {
		if at, ok = c.expireMoment(o.expire, o.expireArg); !ok {
			return
		}
	}
	c.out.bulk(c.mem.value(r))
	slot, hash := c.find(key)
	switch {
	case o.expire != expireNone:
		c.expireKey(key, hash, slot, at)
	case o.persist && c.mem.expireAt(r) != 0:
		c.setExpiry(slot, hash, 0)
		c.changed(key)
		c.logAs([]byte("PERSIST"), key)
	}
}

func cmdMGet(c *call) {
	c.out.array(len(c.args) - 1)
	for _, key := range c.args[1:] {
		if r, _ := c.read(key, kindAny); r != 0 && c.mem.kind(r) == kindString {
			c.out.bulk(c.mem.value(r))
		} else {
			c.out.null()
		}
	}
}

func cmdMSet(c *call) {
	if len(c.args)%2 == 0 {
		c.out.fail(wrongArity("mset"))
		return
	}
	c.setPairs()
	c.out.ok()
}

func cmdMSetNX(c *call) {
	if len(c.args)%2 == 0 {
		c.out.fail(wrongArity("msetnx"))
		return
	}
	for i := 1; i < len(c.args); i += 2 {
		if c.exists(c.args[i]) {
			c.out.boolean(false)
			return
		}
	}
	c.setPairs()
	c.out.boolean(true)
}

func (c *call) setPairs() {
	for i := 1; i < len(c.args); i += 2 {
		slot, hash := c.find(c.args[i])
		c.setString(c.args[i], hash, slot, c.args[i+1], 0)
		c.changed(c.args[i])
	}
}

func cmdIncr(c *call) { c.increment(1) }
func cmdDecr(c *call) { c.increment(-1) }

func cmdIncrBy(c *call) {
	if by, ok := c.integer(2); ok {
		c.increment(by)
	}
}

func cmdDecrBy(c *call) {
	by, ok := c.integer(2)
	if !ok {
		return
	}
	if by == math.MinInt64 {
		c.out.fail("ERR decrement would overflow")
		return
	}
	c.increment(-by)
}

// addOverflows tells if a+b does not fit.
func addOverflows(a, b int64) bool {
	return b < 0 && a < math.MinInt64-b || b > 0 && a > math.MaxInt64-b
}

func (c *call) increment(by int64) {
	key := c.args[1]
	slot, hash, ok := c.write(key, kindString)
	if !ok {
		return
	}
	value := int64(0)
	if slot != nil {
		if value, ok = parseInteger(c.mem.value(refOf(*slot))); !ok {
			c.out.fail(textNotInteger)
			return
		}
	}
	if addOverflows(value, by) {
		c.out.fail("ERR increment or decrement would overflow")
		return
	}
	c.text = strconv.AppendInt(c.text[:0], value+by, 10)
	c.setString(key, hash, slot, c.text, c.lifeOf(slot))
	c.changed(key)
	c.out.integer(value + by)
}

// lifeOf is the expiry that a changed value keeps.
func (c *call) lifeOf(slot *uint64) int64 {
	if slot == nil {
		return 0
	}
	return c.mem.expireAt(refOf(*slot))
}

func cmdIncrByFloat(c *call) {
	key := c.args[1]
	slot, hash, ok := c.write(key, kindString)
	if !ok {
		return
	}
	text := []byte("0")
	if slot != nil {
		text = c.mem.value(refOf(*slot))
	}
	value, isNumber := parseLongDouble(text)
	by, byIsNumber := parseLongDouble(c.args[2])
	if !isNumber || !byIsNumber {
		c.out.fail(textNotFloat)
		return
	}
	sum, finite := addLongDouble(value, by)
	if !finite {
		c.out.fail("ERR increment would produce NaN or Infinity")
		return
	}
	c.text = appendLongDouble(c.text[:0], sum)
	c.setString(key, hash, slot, c.text, c.lifeOf(slot))
	c.changed(key)
	c.out.bulk(c.text)
	c.logAs([]byte("SET"), key, c.text, []byte("KEEPTTL"))
}

// lengthFits answers an error if a string would become longer than a bulk may be.
func (c *call) lengthFits(length int64) bool {
	if length > maxBulkBytes {
		c.out.fail("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
		return false
	}
	return true
}

func cmdAppend(c *call) {
	key, tail := c.args[1], c.args[2]
	slot, hash, ok := c.write(key, kindString)
	if !ok {
		return
	}
	length := len(tail)
	if slot == nil {
		c.setString(key, hash, nil, tail, 0)
	} else {
		old := len(c.mem.value(refOf(*slot)))
		length += old
		if !c.lengthFits(int64(length)) {
			return
		}
		r := c.resize(slot, hash, length)
		copy(c.mem.value(r)[old:], tail)
		*c.mem.word(r, 0) |= flagRaw
	}
	c.changed(key)
	c.out.integer(int64(length))
}

func cmdStrLen(c *call) {
	if r, ok := c.read(c.args[1], kindString); ok && r == 0 {
		c.out.integer(0)
	} else if ok {
		c.out.integer(int64(len(c.mem.value(r))))
	}
}

func cmdGetRange(c *call) {
	start, ok := c.integer(2)
	if !ok {
		return
	}
	end, ok := c.integer(3)
	if !ok {
		return
	}
	r, ok := c.read(c.args[1], kindString)
	if !ok {
		return
	}
	var value []byte
	if r != 0 {
		value = c.mem.value(r)
	}
	length := int64(len(value))
	if start < 0 && end < 0 && start > end || length == 0 {
		c.out.bulk(nil)
		return
	}
	if start < 0 {
		start = max(0, start+length)
	}
	if end < 0 {
		end = max(0, end+length)
	}
	end = min(end, length-1)
	if start > end {
		c.out.bulk(nil)
		return
	}
	c.out.bulk(value[start : end+1])
}

func cmdSetRange(c *call) {
	offset, ok := c.integer(2)
	if !ok {
		return
	}
	if offset < 0 {
		c.out.fail("ERR offset is out of range")
		return
	}
	key, part := c.args[1], c.args[3]
	slot, hash, ok := c.write(key, kindString)
	if !ok {
		return
	}
	old := 0
	if slot != nil {
		old = len(c.mem.value(refOf(*slot)))
	}
	if len(part) == 0 {
		c.out.integer(int64(old))
		return
	}
	if !c.lengthFits(min(offset, maxBulkBytes) + int64(len(part))) {
		return
	}
	if slot == nil {
		c.setString(key, hash, nil, nil, 0)
		slot, _ = c.find(key)
	}
	length := max(old, int(offset)+len(part))
	r := c.resize(slot, hash, length)
	value := c.mem.value(r)
	clear(value[old:])
	copy(value[offset:], part)
	*c.mem.word(r, 0) |= flagRaw
	c.changed(key)
	c.out.integer(int64(length))
}
