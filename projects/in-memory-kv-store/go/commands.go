package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Texts that many commands share.
const (
	textWrongType   = "WRONGTYPE Operation against a key holding the wrong kind of value"
	textSyntax      = "ERR syntax error"
	textNotInteger  = "ERR value is not an integer or out of range"
	textNotFloat    = "ERR value is not a valid float"
	textNoKey       = "ERR no such key"
	textOutOfMemory = "OOM command not allowed when used memory > 'maxmemory'."
	textMustBePos   = "ERR value is out of range, must be positive"
	textQueued      = "QUEUED"
)

// commandFlags are what the dispatch and COMMAND INFO know of a command.
type commandFlags uint16

const (
	flagWrite commandFlags = 1 << iota
	flagReadOnly
	flagDenyOOM
	flagAdmin
	flagFast
	flagLoading
	flagStale
	flagNoScript
	flagNotQueued // runs at once between MULTI and EXEC
	flagNoMulti   // is refused there
)

var flagNames = []string{"write", "readonly", "denyoom", "admin", "fast", "loading", "stale", "noscript", "", "no_multi"}

// command is one row of the table.
type command struct {
	name              string // in small letters; a subcommand with its container, as in config|get
	arity             int    // arguments with the name; negative: at least
	flags             commandFlags
	first, last, step int // where the keys are
	run               func(*call)
	subcommands       []command
}

// call is what a command gets: its arguments, its client and where to answer.
// There is one a loop; nothing in it outlives the command.
type call struct {
	*store
	server  *server
	client  *client
	command *command
	args    [][]byte
	out     reply

	instead [][]byte // what the log gets in place of args
	found   []ref    // room for entries
	text    []byte   // room for numbers
}

const (
	ro     = flagReadOnly
	rof    = flagReadOnly | flagFast
	wr     = flagWrite
	wrf    = flagWrite | flagFast
	grow   = flagWrite | flagDenyOOM
	growf  = flagWrite | flagDenyOOM | flagFast
	talk   = flagNoScript | flagLoading | flagStale | flagFast
	admin  = flagAdmin | flagNoScript | flagLoading | flagStale
	unqued = talk | flagNotQueued
)

// commandTable is filled in init: commands that look into it would be a cycle.
var commandTable []command

func init() {
	commandTable = []command{
		// connection
		{"ping", -1, flagFast, 0, 0, 0, cmdPing, nil},
		{"echo", 2, flagLoading | flagStale | flagFast, 0, 0, 0, cmdEcho, nil},
		{"quit", -1, unqued, 0, 0, 0, cmdQuit, nil},
		{"select", 2, flagLoading | flagStale | flagFast, 0, 0, 0, cmdSelect, nil},
		{"hello", -1, talk, 0, 0, 0, cmdHello, nil},
		{"reset", 1, unqued, 0, 0, 0, cmdReset, nil},
		{"multi", 1, unqued, 0, 0, 0, cmdMulti, nil},
		{"exec", 1, unqued &^ flagFast, 0, 0, 0, cmdExec, nil},
		{"discard", 1, unqued, 0, 0, 0, cmdDiscard, nil},
		{"watch", -2, unqued, 1, -1, 1, cmdWatch, nil},
		{"unwatch", 1, talk, 0, 0, 0, cmdUnwatch, nil},
		{"client", -2, 0, 0, 0, 0, nil, []command{
			{"client|getname", 2, talk &^ flagFast, 0, 0, 0, cmdClientGetName, nil},
			{"client|id", 2, talk &^ flagFast, 0, 0, 0, cmdClientID, nil},
			{"client|list", -2, admin, 0, 0, 0, cmdClientList, nil},
			{"client|no-evict", 3, admin, 0, 0, 0, cmdClientNoEvict, nil},
			{"client|setinfo", 4, talk &^ flagFast, 0, 0, 0, cmdClientSetInfo, nil},
			{"client|setname", 3, talk &^ flagFast, 0, 0, 0, cmdClientSetName, nil},
		}},
		// server
		{"bgrewriteaof", 1, flagAdmin | flagNoScript, 0, 0, 0, cmdRewriteLog, nil},
		{"command", -1, flagLoading | flagStale, 0, 0, 0, cmdCommand, []command{
			{"command|count", 2, flagLoading | flagStale, 0, 0, 0, cmdCommandCount, nil},
			{"command|docs", -2, flagLoading | flagStale, 0, 0, 0, cmdCommandDocs, nil},
			{"command|info", -2, flagLoading | flagStale, 0, 0, 0, cmdCommandInfo, nil},
		}},
		{"config", -2, 0, 0, 0, 0, nil, []command{
			{"config|get", -3, admin, 0, 0, 0, cmdConfigGet, nil},
			{"config|resetstat", 2, admin, 0, 0, 0, cmdConfigResetStat, nil},
			{"config|set", -4, admin, 0, 0, 0, cmdConfigSet, nil},
		}},
		{"dbsize", 1, rof, 0, 0, 0, cmdDBSize, nil},
		{"flushall", -1, wr, 0, 0, 0, cmdFlush, nil},
		{"flushdb", -1, wr, 0, 0, 0, cmdFlush, nil},
		{"info", -1, flagLoading | flagStale, 0, 0, 0, cmdInfo, nil},
		{"shutdown", -1, admin | flagNoMulti, 0, 0, 0, cmdShutdown, nil},
		{"time", 1, flagLoading | flagStale | flagFast, 0, 0, 0, cmdTime, nil},
		{"memory", -2, 0, 0, 0, 0, nil, []command{
			{"memory|usage", -3, ro, 2, 2, 1, cmdMemoryUsage, nil},
		}},
		{"object", -2, 0, 0, 0, 0, nil, []command{
			{"object|encoding", 3, ro, 2, 2, 1, cmdObjectEncoding, nil},
			{"object|idletime", 3, ro, 2, 2, 1, cmdObjectIdleTime, nil},
			{"object|refcount", 3, ro, 2, 2, 1, cmdObjectRefCount, nil},
		}},
		// keys
		{"copy", -3, grow, 1, 2, 1, cmdCopy, nil},
		{"del", -2, wr, 1, -1, 1, cmdDel, nil},
		{"exists", -2, rof, 1, -1, 1, cmdExists, nil},
		{"expire", -3, wrf, 1, 1, 1, cmdExpire, nil},
		{"expireat", -3, wrf, 1, 1, 1, cmdExpireAt, nil},
		{"expiretime", 2, rof, 1, 1, 1, cmdExpireTime, nil},
		{"keys", 2, ro, 0, 0, 0, cmdKeys, nil},
		{"persist", 2, wrf, 1, 1, 1, cmdPersist, nil},
		{"pexpire", -3, wrf, 1, 1, 1, cmdPExpire, nil},
		{"pexpireat", -3, wrf, 1, 1, 1, cmdPExpireAt, nil},
		{"pexpiretime", 2, rof, 1, 1, 1, cmdPExpireTime, nil},
		{"pttl", 2, rof, 1, 1, 1, cmdPTTL, nil},
		{"randomkey", 1, ro, 0, 0, 0, cmdRandomKey, nil},
		{"rename", 3, wr, 1, 2, 1, cmdRename, nil},
		{"renamenx", 3, wrf, 1, 2, 1, cmdRenameNX, nil},
		{"scan", -2, ro, 0, 0, 0, cmdScan, nil},
		{"touch", -2, rof, 1, -1, 1, cmdTouch, nil},
		{"ttl", 2, rof, 1, 1, 1, cmdTTL, nil},
		{"type", 2, rof, 1, 1, 1, cmdType, nil},
		{"unlink", -2, wrf, 1, -1, 1, cmdDel, nil},
		// strings
		{"append", 3, growf, 1, 1, 1, cmdAppend, nil},
		{"decr", 2, growf, 1, 1, 1, cmdDecr, nil},
		{"decrby", 3, growf, 1, 1, 1, cmdDecrBy, nil},
		{"get", 2, rof, 1, 1, 1, cmdGet, nil},
		{"getdel", 2, wrf, 1, 1, 1, cmdGetDel, nil},
		{"getex", -2, wrf, 1, 1, 1, cmdGetEx, nil},
		{"getrange", 4, ro, 1, 1, 1, cmdGetRange, nil},
		{"getset", 3, growf, 1, 1, 1, cmdGetSet, nil},
		{"incr", 2, growf, 1, 1, 1, cmdIncr, nil},
		{"incrby", 3, growf, 1, 1, 1, cmdIncrBy, nil},
		{"incrbyfloat", 3, growf, 1, 1, 1, cmdIncrByFloat, nil},
		{"mget", -2, rof, 1, -1, 1, cmdMGet, nil},
		{"mset", -3, grow, 1, -1, 2, cmdMSet, nil},
		{"msetnx", -3, grow, 1, -1, 2, cmdMSetNX, nil},
		{"psetex", 4, grow, 1, 1, 1, cmdPSetEx, nil},
		{"set", -3, grow, 1, 1, 1, cmdSet, nil},
		{"setex", 4, grow, 1, 1, 1, cmdSetEx, nil},
		{"setnx", 3, growf, 1, 1, 1, cmdSetNX, nil},
		{"setrange", 4, grow, 1, 1, 1, cmdSetRange, nil},
		{"strlen", 2, rof, 1, 1, 1, cmdStrLen, nil},
		// lists
		{"lindex", 3, ro, 1, 1, 1, cmdLIndex, nil},
		{"linsert", 5, grow, 1, 1, 1, cmdLInsert, nil},
		{"llen", 2, rof, 1, 1, 1, cmdLLen, nil},
		{"lmove", 5, grow, 1, 2, 1, cmdLMove, nil},
		{"lpop", -2, wrf, 1, 1, 1, cmdLPop, nil},
		{"lpush", -3, growf, 1, 1, 1, cmdLPush, nil},
		{"lpushx", -3, growf, 1, 1, 1, cmdLPushX, nil},
		{"lrange", 4, ro, 1, 1, 1, cmdLRange, nil},
		{"lrem", 4, wr, 1, 1, 1, cmdLRem, nil},
		{"lset", 4, grow, 1, 1, 1, cmdLSet, nil},
		{"ltrim", 4, wr, 1, 1, 1, cmdLTrim, nil},
		{"rpop", -2, wrf, 1, 1, 1, cmdRPop, nil},
		{"rpoplpush", 3, grow, 1, 2, 1, cmdRPopLPush, nil},
		{"rpush", -3, growf, 1, 1, 1, cmdRPush, nil},
		{"rpushx", -3, growf, 1, 1, 1, cmdRPushX, nil},
		// hashes
		{"hdel", -3, wrf, 1, 1, 1, cmdHDel, nil},
		{"hexists", 3, rof, 1, 1, 1, cmdHExists, nil},
		{"hget", 3, rof, 1, 1, 1, cmdHGet, nil},
		{"hgetall", 2, ro, 1, 1, 1, cmdHGetAll, nil},
		{"hincrby", 4, growf, 1, 1, 1, cmdHIncrBy, nil},
		{"hincrbyfloat", 4, growf, 1, 1, 1, cmdHIncrByFloat, nil},
		{"hkeys", 2, ro, 1, 1, 1, cmdHKeys, nil},
		{"hlen", 2, rof, 1, 1, 1, cmdHLen, nil},
		{"hmget", -3, rof, 1, 1, 1, cmdHMGet, nil},
		{"hmset", -4, growf, 1, 1, 1, cmdHMSet, nil},
		{"hscan", -3, ro, 1, 1, 1, cmdHScan, nil},
		{"hset", -4, growf, 1, 1, 1, cmdHSet, nil},
		{"hsetnx", 4, growf, 1, 1, 1, cmdHSetNX, nil},
		{"hstrlen", 3, rof, 1, 1, 1, cmdHStrLen, nil},
		{"hvals", 2, ro, 1, 1, 1, cmdHVals, nil},
		// sets
		{"sadd", -3, growf, 1, 1, 1, cmdSAdd, nil},
		{"scard", 2, rof, 1, 1, 1, cmdSCard, nil},
		{"sdiff", -2, ro, 1, -1, 1, cmdSDiff, nil},
		{"sinter", -2, ro, 1, -1, 1, cmdSInter, nil},
		{"sismember", 3, rof, 1, 1, 1, cmdSIsMember, nil},
		{"smembers", 2, ro, 1, 1, 1, cmdSMembers, nil},
		{"smismember", -3, rof, 1, 1, 1, cmdSMIsMember, nil},
		{"smove", 4, wrf, 1, 2, 1, cmdSMove, nil},
		{"spop", -2, wrf, 1, 1, 1, cmdSPop, nil},
		{"srandmember", -2, ro, 1, 1, 1, cmdSRandMember, nil},
		{"srem", -3, wrf, 1, 1, 1, cmdSRem, nil},
		{"sscan", -3, ro, 1, 1, 1, cmdSScan, nil},
		{"sunion", -2, ro, 1, -1, 1, cmdSUnion, nil},
		// sorted sets
		{"zadd", -4, growf, 1, 1, 1, cmdZAdd, nil},
		{"zcard", 2, rof, 1, 1, 1, cmdZCard, nil},
		{"zincrby", 4, growf, 1, 1, 1, cmdZIncrBy, nil},
		{"zpopmax", -2, wrf, 1, 1, 1, cmdZPopMax, nil},
		{"zpopmin", -2, wrf, 1, 1, 1, cmdZPopMin, nil},
		{"zrange", -4, ro, 1, 1, 1, cmdZRange, nil},
		{"zrangebyscore", -4, ro, 1, 1, 1, cmdZRangeByScore, nil},
		{"zrank", 3, rof, 1, 1, 1, cmdZRank, nil},
		{"zrem", -3, wrf, 1, 1, 1, cmdZRem, nil},
		{"zrevrange", -4, ro, 1, 1, 1, cmdZRevRange, nil},
		{"zscore", 3, rof, 1, 1, 1, cmdZScore, nil},
	}
	for i := range commandTable {
		commandIndex.add(&commandTable[i])
	}
}

// nameIndex finds a command by its name in any case: at most 16 letters, as two
// words, in an open table that is nearly empty.
type nameIndex [1024]struct {
	head, tail uint64
	command    *command
}

var commandIndex nameIndex

const (
	longestName = 16
	smallCase   = 0x2020202020202020 // makes small letters of letters, and letters of nothing else
)

// fold is the name in small letters: its first and its last 8 bytes, or zeros around fewer.
func fold(name []byte) (head, tail uint64) {
	if len(name) >= 8 {
		return binary.LittleEndian.Uint64(name) | smallCase, binary.LittleEndian.Uint64(name[len(name)-8:]) | smallCase
	}
	for i, char := range name {
		head |= uint64(char|0x20) << (8 * i)
	}
	return head, uint64(len(name))
}

func (x *nameIndex) place(head, tail uint64) int {
	const mix = 0x9e3779b97f4a7c15
	return int((head*mix ^ tail) * mix >> (64 - 10))
}

func (x *nameIndex) add(cmd *command) {
	head, tail := fold([]byte(cmd.name))
	at := x.place(head, tail)
	for x[at].command != nil {
		at = (at + 1) % len(x)
	}
	x[at].head, x[at].tail, x[at].command = head, tail, cmd
}

func (x *nameIndex) find(name []byte) *command {
	if len(name) > longestName {
		return nil
	}
	head, tail := fold(name)
	for at := x.place(head, tail); x[at].command != nil; at = (at + 1) % len(x) {
		if x[at].head == head && x[at].tail == tail && len(x[at].command.name) == len(name) {
			return x[at].command
		}
	}
	return nil
}

// lookup is the row for these arguments, nil if there is none, and why it cannot be called with them.
func lookup(args [][]byte) (*command, string) {
	cmd := commandIndex.find(args[0])
	if cmd == nil {
		return nil, unknownCommand(args)
	}
	if cmd.subcommands != nil && len(args) > 1 {
		container := cmd
		cmd = nil
		for i := range container.subcommands {
			if sub := &container.subcommands[i]; strings.EqualFold(sub.name[len(container.name)+1:], string(args[1])) {
				cmd = sub
			}
		}
		if cmd == nil {
			return nil, fmt.Sprintf("ERR unknown subcommand '%.128s'. Try %s HELP.", cText(args[1]), strings.ToUpper(container.name))
		}
	}
	if cmd.arity > 0 && len(args) != cmd.arity || len(args) < -cmd.arity {
		return cmd, wrongArity(cmd.name)
	}
	return cmd, ""
}

func wrongArity(name string) string {
	return "ERR wrong number of arguments for '" + name + "' command"
}

// unknownCommand shows the start of the name and of the arguments.
func unknownCommand(args [][]byte) string {
	const shown = 128
	var list []byte
	for _, arg := range args[1:] {
		if len(list) >= shown {
			break
		}
		list = fmt.Appendf(list, "'%s' ", cText(arg[:min(len(arg), shown-len(list))]))
	}
	return fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", cText(args[0][:min(len(args[0]), shown)]), list)
}

// execute does one command of a client, or queues it, or refuses it.
func (c *call) execute(args [][]byte) {
	cmd, refusal := lookup(args)
	if refusal == "" {
		refusal = c.refusal(cmd)
	}
	if refusal != "" {
		c.refuse(cmd, refusal)
		return
	}
	c.args, c.client.last = args, cmd
	if c.client.inMulti && cmd.flags&flagNotQueued == 0 {
		c.client.enqueue(cmd, args)
		c.out.simple(textQueued)
		return
	}
	c.run(cmd)
}

// refuse answers why a command was not run. A transaction with such a command cannot be executed.
func (c *call) refuse(cmd *command, why string) {
	c.client.multiFailed = true
	if cmd != nil && cmd.name == "exec" {
		c.leaveMulti()
		why = "EXECABORT Transaction discarded because of: " + strings.TrimPrefix(why, "ERR ")
	}
	c.out.fail(why)
}

// refusal is why a command cannot run now, or empty.
func (c *call) refusal(cmd *command) string {
	isExec := cmd.name == "exec"
	if c.maxMemory > 0 && !c.makeRoom() {
		queueing := c.client.inMulti && cmd.flags&flagNotQueued == 0
		if cmd.flags&flagDenyOOM != 0 || queueing || isExec && c.client.queueFlags&flagDenyOOM != 0 {
			return textOutOfMemory
		}
	}
	if c.log != nil && (cmd.flags&flagWrite != 0 || isExec && c.client.queueFlags&flagWrite != 0) {
		if why := c.log.refusal(); why != "" {
			return why
		}
	}
	if c.client.inMulti && cmd.flags&flagNoMulti != 0 {
		return "ERR Command not allowed inside a transaction"
	}
	return ""
}

// run does a command and logs it if it changed anything.
func (c *call) run(cmd *command) {
	c.command, c.instead = cmd, nil
	c.stats.commands++
	before := c.changes
	cmd.run(c)
	if cmd.flags&flagWrite == 0 || c.changes == before || c.log == nil {
		return
	}
	if c.instead != nil {
		c.log.command(c.store, nil, c.instead...)
	} else {
		c.log.command(c.store, cmd, c.args...)
	}
}

// logAs has the log keep the effect of a command instead of its words. The key is the second word.
func (c *call) logAs(words ...[]byte) {
	if c.log != nil {
		c.instead = append([][]byte(nil), words...)
	}
}

// integer reads a number argument; otherwise it answers and returns false.
func (c *call) integer(index int) (int64, bool) {
	value, ok := parseInteger(c.args[index])
	if !ok {
		c.out.fail(textNotInteger)
	}
	return value, ok
}

// positive reads a count that is not negative.
func (c *call) positive(index int) (int64, bool) {
	value, ok := parseInteger(c.args[index])
	if !ok || value < 0 {
		c.out.fail(textMustBePos)
		return 0, false
	}
	return value, true
}

// read finds a key for a command that only looks: hits and misses are counted.
// The ref is 0 if the key is not there; false: the kind is wrong, and that was answered.
func (c *call) read(key []byte, want kind) (ref, bool) {
	slot, _ := c.find(key)
	if slot == nil {
		c.stats.misses++
		return 0, true
	}
	c.stats.hits++
	r := refOf(*slot)
	c.mem.touch(r, c.clock)
	return r, c.isKind(r, want)
}

// peek is read for commands that leave the access clock alone.
func (c *call) peek(key []byte) ref {
	slot, _ := c.find(key)
	if slot == nil {
		c.stats.misses++
		return 0
	}
	c.stats.hits++
	return refOf(*slot)
}

// write finds a key for a command that may change it; slot is nil if it is not there.
func (c *call) write(key []byte, want kind) (slot *uint64, hash uint64, ok bool) {
	slot, hash = c.find(key)
	if slot == nil {
		return nil, hash, true
	}
	r := refOf(*slot)
	c.mem.touch(r, c.clock)
	return slot, hash, c.isKind(r, want)
}

func (c *call) isKind(r ref, want kind) bool {
	if want != kindAny && c.mem.kind(r) != want {
		c.out.fail(textWrongType)
		return false
	}
	return true
}

// deleteIfEmpty removes a collection that has lost its last element.
func (c *call) deleteIfEmpty(count int64, key []byte, hash uint64, slot *uint64) {
	if count == 0 {
		c.delete(key, hash, slot)
	}
}

// keptElements is how much room of a rare large command stays.
const keptElements = 4096

// trim drops the room that a large command has needed.
func (c *call) trim() {
	if cap(c.text) > keptBufferBytes {
		c.text = nil
	}
	if cap(c.found) > keptElements {
		c.found = nil
	}
	c.args = nil
}
