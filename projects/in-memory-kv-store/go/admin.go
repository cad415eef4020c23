package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// redisVersion is the one whose replies this server gives; clients look at it.
const redisVersion = "7.0.15"

func cmdPing(c *call) {
	switch len(c.args) {
	case 1:
		c.out.simple("PONG")
	case 2:
		c.out.bulk(c.args[1])
	default:
		c.out.fail(wrongArity("ping"))
	}
}

func cmdEcho(c *call) { c.out.bulk(c.args[1]) }

func cmdQuit(c *call) {
	c.out.ok()
	c.client.closing = true
}

func cmdSelect(c *call) {
	if c.selectable(1) {
		c.out.ok()
	}
}

func cmdReset(c *call) {
	c.leaveMulti()
	c.client.name = ""
	c.out.simple("RESET")
}

var shutdownWords = []string{"SAVE", "NOSAVE", "NOW", "FORCE", "ABORT"}

func cmdShutdown(c *call) {
	seen := map[string]bool{}
	for _, word := range c.args[1:] {
		at := slices.IndexFunc(shutdownWords, func(known string) bool { return equalFold(word, known) })
		if at < 0 {
			c.out.fail(textSyntax)
			return
		}
		seen[shutdownWords[at]] = true
	}
	switch {
	case seen["SAVE"] && seen["NOSAVE"], seen["ABORT"] && len(seen) > 1:
		c.out.fail(textSyntax)
	case seen["ABORT"]:
		c.out.fail("ERR No shutdown in progress.")
	default:
		c.client.closing = true
		c.server.shutdown()
	}
}

func cmdHello(c *call) {
	name, named := []byte(nil), false
	if len(c.args) > 1 {
		version, ok := parseInteger(c.args[1])
		if !ok {
			c.out.fail("ERR Protocol version is not an integer or out of range")
			return
		}
		if version != 2 {
			c.out.line('-', "NOPROTO unsupported protocol version")
			return
		}
	}
	for i := 2; i < len(c.args); i++ {
		switch {
		case equalFold(c.args[i], "AUTH") && i+2 < len(c.args): // one user, without a password: any is right
			if string(c.args[i+1]) != "default" {
				c.out.fail("WRONGPASS invalid username-password pair or user is disabled.")
				return
			}
			i += 2
		case equalFold(c.args[i], "SETNAME") && i+1 < len(c.args):
			i++
			name, named = c.args[i], true
			if !validName(name) {
				c.failName()
				return
			}
		default:
			c.out.fail("ERR Syntax error in HELLO option '" + string(cText(c.args[i])) + "'")
			return
		}
	}
	if named {
		c.client.name = string(name)
	}
	c.out.array(14)
	c.out.bulkString("server")
	c.out.bulkString("redis")
	c.out.bulkString("version")
	c.out.bulkString(redisVersion)
	c.out.bulkString("proto")
	c.out.integer(2)
	c.out.bulkString("id")
	c.out.integer(c.client.id)
	c.out.bulkString("mode")
	c.out.bulkString("standalone")
	c.out.bulkString("role")
	c.out.bulkString("master")
	c.out.bulkString("modules")
	c.out.array(0)
}

// --- CLIENT

func cmdClientID(c *call) { c.out.integer(c.client.id) }

func cmdClientGetName(c *call) {
	if c.client.name == "" {
		c.out.null()
	} else {
		c.out.bulkString(c.client.name)
	}
}

// validName keeps CLIENT LIST readable.
func validName(name []byte) bool {
	for _, char := range name {
		if char < '!' || char > '~' {
			return false
		}
	}
	return true
}

func (c *call) failName() {
	c.out.fail("ERR Client names cannot contain spaces, newlines or special characters.")
}

func cmdClientSetName(c *call) {
	if !validName(c.args[2]) {
		c.failName()
		return
	}
	c.client.name = string(c.args[2])
	c.out.ok()
}

// cmdClientSetInfo takes what client libraries say of themselves.
func cmdClientSetInfo(c *call) {
	if !equalFold(c.args[2], "LIB-NAME") && !equalFold(c.args[2], "LIB-VER") {
		c.out.fail("ERR Unrecognized option '" + string(cText(c.args[2])) + "'")
		return
	}
	c.out.ok()
}

// cmdClientNoEvict is accepted: clients are never evicted.
func cmdClientNoEvict(c *call) {
	if equalFold(c.args[2], "ON") || equalFold(c.args[2], "OFF") {
		c.out.ok()
	} else {
		c.out.fail(textSyntax)
	}
}

func cmdClientList(c *call) {
	if len(c.args) > 2 {
		c.out.fail(textSyntax)
		return
	}
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(c.server.clients)) {
		c.describe(&out, c.server.clients[id])
	}
	c.out.bulkString(out.String())
}

func (c *call) describe(out *strings.Builder, cl *client) {
	flags, queued, name := "N", -1, "NULL"
	if cl.inMulti {
		flags, queued = "x", len(cl.queue)
	}
	if cl.last != nil {
		name = cl.last.name
	}
	var in, unsent []byte
	if cl.loop == c.client.loop { // buffers are their loop's own, outside the lock on the store
		in, unsent = cl.in, cl.unsent
	}
	fmt.Fprintf(out, "id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=0 sub=0 psub=0 ssub=0 multi=%d "+
		"qbuf=%d qbuf-free=%d obl=0 oll=%d omem=%d events=r cmd=%s user=default redir=-1 resp=2\n",
		cl.id, cl.address, cl.local, cl.fd, cl.name, (c.now-cl.since)/1000, (c.now-cl.lastUsed)/1000, flags, queued,
		len(in), cap(in)-len(in), min(len(unsent), 1), cap(unsent), name)
}

// --- COMMAND

func cmdCommand(c *call) {
	if len(c.args) > 1 {
		c.out.fail(wrongArity("command"))
		return
	}
	c.out.array(len(commandTable))
	for i := range commandTable {
		c.describeCommand(&commandTable[i])
	}
}

func cmdCommandCount(c *call) { c.out.integer(int64(len(commandTable))) }

func cmdCommandDocs(c *call) { c.out.array(0) }

func cmdCommandInfo(c *call) {
	if len(c.args) == 2 {
		c.out.array(len(commandTable))
		for i := range commandTable {
			c.describeCommand(&commandTable[i])
		}
		return
	}
	c.out.array(len(c.args) - 2)
	for _, name := range c.args[2:] {
		if cmd := commandNamed(name); cmd != nil {
			c.describeCommand(cmd)
		} else {
			c.out.nullArray()
		}
	}
}

// commandNamed also finds config|get.
func commandNamed(name []byte) *command {
	container, _, isSub := strings.Cut(string(name), "|")
	cmd := commandIndex.find([]byte(container))
	if cmd == nil || !isSub {
		return cmd
	}
	for i := range cmd.subcommands {
		if strings.EqualFold(cmd.subcommands[i].name, string(name)) {
			return &cmd.subcommands[i]
		}
	}
	return nil
}

// describeCommand answers what clients use: name, arity, flags, keys, subcommands; categories, tips and key specs are empty.
func (c *call) describeCommand(cmd *command) {
	c.out.array(10)
	c.out.bulkString(cmd.name)
	c.out.integer(int64(cmd.arity))
	names := []string{}
	for i, name := range flagNames {
		if cmd.flags&(1<<i) != 0 && name != "" {
			names = append(names, name)
		}
	}
	c.out.array(len(names))
	for _, name := range names {
		c.out.simple(name)
	}
	c.out.integer(int64(cmd.first))
	c.out.integer(int64(cmd.last))
	c.out.integer(int64(cmd.step))
	for range 3 {
		c.out.array(0)
	}
	c.out.array(len(cmd.subcommands))
	for i := range cmd.subcommands {
		c.describeCommand(&cmd.subcommands[i])
	}
}

// --- CONFIG

// setting is one name of CONFIG.
type setting struct {
	get func(*call) string
	// set checks a value and returns what applies it, or why it is wrong; nil: it cannot change.
	set func(c *call, value string) (apply func(), wrong string)
}

var settings = map[string]setting{
	"maxmemory": {
		get: func(c *call) string { return strconv.FormatInt(c.maxMemory, 10) },
		set: func(c *call, value string) (func(), string) {
			bytes, ok := parseMemory(value)
			if !ok {
				return nil, "argument must be a memory value"
			}
			return func() { c.maxMemory = bytes }, ""
		},
	},
	"maxmemory-policy": {
		get: func(c *call) string { return policyNames[c.policy] },
		set: func(c *call, value string) (func(), string) {
			chosen, wrong := oneOfFold(value, policyNames)
			return func() { c.policy = policy(chosen) }, wrong
		},
	},
	"appendfsync": {
		get: func(c *call) string {
			if c.log != nil {
				return fsyncNames[c.log.policy]
			}
			return fsyncNames[c.server.options.fsync]
		},
		set: func(c *call, value string) (func(), string) {
			chosen, wrong := oneOfFold(value, fsyncNames)
			return func() {
				c.server.options.fsync = fsyncPolicy(chosen)
				if c.log != nil {
					c.log.policy = fsyncPolicy(chosen)
				}
			}, wrong
		},
	},
	"appendonly":         {get: func(c *call) string { return yesNo(c.log != nil) }},
	"databases":          {get: func(*call) string { return "1" }},
	"maxclients":         {get: func(c *call) string { return strconv.Itoa(c.server.limit) }},
	"maxmemory-samples":  {get: func(*call) string { return strconv.Itoa(evictionSamples) }},
	"proto-max-bulk-len": {get: func(*call) string { return strconv.Itoa(maxBulkBytes) }},
	"save":               {get: func(*call) string { return "" }},
	"timeout":            {get: func(*call) string { return "0" }},
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func oneOfFold(value string, allowed []string) (int, string) {
	for i, word := range allowed {
		if strings.EqualFold(value, word) {
			return i, ""
		}
	}
	return 0, "argument(s) must be one of the following: " + strings.Join(allowed, ", ")
}

func cmdConfigGet(c *call) {
	found := map[string]string{} // the names as they were asked for
	for _, pattern := range c.args[2:] {
		if !bytes.ContainsAny(pattern, "[*?") {
			if known, ok := settings[strings.ToLower(string(pattern))]; ok {
				found[string(pattern)] = known.get(c)
			}
			continue
		}
		for name, known := range settings {
			if globMatch(pattern, []byte(name), true) {
				found[name] = known.get(c)
			}
		}
	}
	c.out.array(2 * len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c.out.bulkString(name)
		c.out.bulkString(found[name])
	}
}

func cmdConfigSet(c *call) {
	if len(c.args)%2 == 1 {
		c.out.fail(textSyntax)
		return
	}
	changes := map[string]func(){}
	for i := 2; i < len(c.args); i += 2 {
		name := strings.ToLower(string(c.args[i]))
		known, ok := settings[name]
		if !ok {
			c.out.fail("ERR Unknown option or number of arguments for CONFIG SET - '" + string(cText(c.args[i])) + "'")
			return
		}
		apply, wrong := (func())(nil), "can't set immutable config"
		if known.set != nil {
			apply, wrong = known.set(c, string(c.args[i+1]))
		}
		if _, twice := changes[name]; twice {
			wrong = "duplicate parameter"
		}
		if wrong != "" {
			c.out.fail("ERR CONFIG SET failed (possibly related to argument '" + string(cText(c.args[i])) + "') - " + wrong)
			return
		}
		changes[name] = apply
	}
	for _, apply := range changes {
		apply()
	}
	c.out.ok()
}

func cmdConfigResetStat(c *call) {
	c.stats = statistics{}
	c.out.ok()
}

// --- INFO

var infoSections = []struct {
	name string
	text func(*call, *strings.Builder)
}{
	{"server", infoServer},
	{"clients", infoClients},
	{"memory", infoMemory},
	{"persistence", infoPersistence},
	{"stats", infoStats},
	{"cpu", infoCPU},
	{"keyspace", infoKeyspace},
}

func cmdInfo(c *call) {
	wanted := map[string]bool{}
	for _, arg := range c.args[1:] {
		wanted[strings.ToLower(string(arg))] = true
	}
	all := len(wanted) == 0 || wanted["all"] || wanted["default"] || wanted["everything"]
	var out strings.Builder
	for _, section := range infoSections {
		if !all && !wanted[section.name] {
			continue
		}
		if out.Len() > 0 {
			out.WriteString("\r\n")
		}
		title := strings.ToUpper(section.name[:1]) + section.name[1:]
		if section.name == "cpu" {
			title = "CPU"
		}
		out.WriteString("# " + title + "\r\n")
		section.text(c, &out)
	}
	c.out.bulkString(out.String())
}

func field(out *strings.Builder, name string, value any) { fmt.Fprintf(out, "%s:%v\r\n", name, value) }

func infoServer(c *call, out *strings.Builder) {
	uptime := int64(time.Since(c.server.started).Seconds())
	port := 0
	for _, from := range c.server.loops[0].listeners {
		if i := strings.LastIndexByte(from.shown, ':'); from.isTCP() && port == 0 {
			port, _ = strconv.Atoi(from.shown[i+1:])
		}
	}
	field(out, "redis_version", redisVersion)
	field(out, "redis_mode", "standalone")
	field(out, "server_name", slug+" go")
	field(out, "os", "Linux "+runtime.GOARCH)
	field(out, "arch_bits", strconv.IntSize)
	field(out, "multiplexing_api", "epoll")
	field(out, "process_id", os.Getpid())
	field(out, "tcp_port", port)
	field(out, "server_time_usec", time.Now().UnixMicro())
	field(out, "uptime_in_seconds", uptime)
	field(out, "uptime_in_days", uptime/86_400)
	field(out, "io_threads_active", len(c.server.loops))
}

func infoClients(c *call, out *strings.Builder) {
	field(out, "connected_clients", len(c.server.clients))
	field(out, "maxclients", c.server.limit)
	field(out, "blocked_clients", 0)
}

func infoMemory(c *call, out *strings.Builder) {
	used, resident := c.usedMemory(), residentBytes()
	field(out, "used_memory", used)
	field(out, "used_memory_human", human(used))
	field(out, "used_memory_rss", resident)
	field(out, "used_memory_rss_human", human(resident))
	field(out, "used_memory_dataset", c.mem.usedBytes)
	field(out, "mem_clients_normal", c.clientBytes.Load())
	field(out, "maxmemory", c.maxMemory)
	field(out, "maxmemory_human", human(c.maxMemory))
	field(out, "maxmemory_policy", policyNames[c.policy])
	field(out, "mem_fragmentation_ratio", fmt.Sprintf("%.2f", float64(resident)/float64(max(used, 1))))
	field(out, "mem_allocator", "arena")
}

// residentBytes is what the kernel says this process has.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// human is a number of bytes as Redis shows it.
func human(bytes int64) string {
	size, units := float64(bytes), "BKMGT"
	for size >= 1024 && len(units) > 1 {
		size, units = size/1024, units[1:]
	}
	if units[0] == 'B' {
		return fmt.Sprintf("%dB", bytes)
	}
	return fmt.Sprintf("%.2f%c", size, units[0])
}

func infoPersistence(c *call, out *strings.Builder) {
	l := c.log
	field(out, "loading", 0)
	field(out, "rdb_bgsave_in_progress", 0)
	field(out, "aof_enabled", number01(l != nil))
	field(out, "aof_rewrite_in_progress", number01(l != nil && l.rewrite != nil))
	field(out, "aof_rewrite_scheduled", 0)
	if l == nil {
		return
	}
	status := "ok"
	if l.refusal() != "" {
		status = "err"
	}
	field(out, "aof_last_write_status", status)
	field(out, "aof_current_size", l.size)
	field(out, "aof_buffer_length", len(l.buffer))
	field(out, "aof_pending_bio_fsync", number01(l.synced != nil))
}

func number01(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func infoStats(c *call, out *strings.Builder) {
	field(out, "total_connections_received", c.stats.connections)
	field(out, "total_commands_processed", c.stats.commands)
	field(out, "rejected_connections", c.stats.rejected)
	field(out, "expired_keys", c.stats.expired)
	field(out, "evicted_keys", c.stats.evicted)
	field(out, "keyspace_hits", c.stats.hits)
	field(out, "keyspace_misses", c.stats.misses)
}

func infoCPU(_ *call, out *strings.Builder) {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return
	}
	field(out, "used_cpu_sys", fmt.Sprintf("%d.%06d", usage.Stime.Sec, usage.Stime.Usec))
	field(out, "used_cpu_user", fmt.Sprintf("%d.%06d", usage.Utime.Sec, usage.Utime.Usec))
}

func infoKeyspace(c *call, out *strings.Builder) {
	if c.keys.count > 0 {
		fmt.Fprintf(out, "db0:keys=%d,expires=%d,avg_ttl=0\r\n", c.keys.count, c.volatile.count)
	}
}
