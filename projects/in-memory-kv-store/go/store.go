package main

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// store is the one database: the keyspace and what it knows of time and memory.
type store struct {
	mem      *arena
	keys     table
	volatile table // the entries of keys that have an expiry, the same blocks

	now     int64  // Unix milliseconds of the current batch of commands
	clock   uint32 // of access, from now
	loading bool   // the log is replayed: nothing expires
	log     *appendLog
	watched map[string][]*client

	condemned []condemned
	scratch   []byte // a key whose entry is about to be freed
	seen      uint64 // by warm

	maxMemory   int64 // bytes, 0: no limit
	policy      policy
	clientBytes atomic.Int64 // buffers of clients

	changes      int64 // to keys, ever
	expireCursor uint64
	stats        statistics
}

// statistics are the counters of INFO.
type statistics struct {
	commands, connections, rejected int64
	expired, evicted                int64
	hits, misses                    int64
}

// policy says which keys leave when memory is full.
type policy int

const (
	noEviction policy = iota
	allKeysLRU
	volatileLRU
	allKeysRandom
	volatileTTL
)

var policyNames = []string{"noeviction", "allkeys-lru", "volatile-lru", "allkeys-random", "volatile-ttl"}

func newStore() (*store, error) {
	mem, err := newArena()
	if err != nil {
		return nil, err
	}
	s := &store{mem: mem, watched: map[string][]*client{}}
	s.setTime(time.Now())
	return s, nil
}

// clockMilliseconds is one tick of the access clock; 24 bits of them are 19 days.
const clockMilliseconds = 100

func (s *store) setTime(now time.Time) {
	s.now = now.UnixMilli()
	s.clock = uint32(s.now/clockMilliseconds) & clockMask
}

// find is the slot of a key that is there and not expired, or nil.
func (s *store) find(key []byte) (slot *uint64, hash uint64) {
	hash = s.mem.hash(key)
	slot = s.keys.find(s.mem, key, hash)
	if slot == nil || !s.isExpired(refOf(*slot)) {
		return slot, hash
	}
	s.stats.expired++
	s.delete(key, hash, slot)
	s.logDelete(key)
	return nil, hash
}

func (s *store) isExpired(r ref) bool {
	at := s.mem.expireAt(r)
	return at != 0 && s.now > at && !s.loading
}

// warmKeys is how many keys a table has that is not in the cache anyway.
const warmKeys = 10_000

// warm looks at what the commands of a batch will touch if their first argument
// is a key: all buckets, then all entries. The processor waits for them at the same
// time, and not for one after the other.
func (s *store) warm(batch []placed, args [][]byte) {
	if len(batch) < 2 || s.keys.count < warmKeys {
		return
	}
	m := s.mem
	var hashes [batchCommands]uint64
	seen := uint64(0)
	for i, b := range batch {
		if b.end-b.first > 1 {
			hashes[i] = m.hash(args[b.first+1])
		}
		place := placeOf(hashes[i])
		seen += m.bucketOf(*s.keys.segment(m, place), place)[0]
	}
	for _, hash := range hashes[:len(batch)] {
		place, tag := placeOf(hash), tagOf(hash)
		for _, slot := range m.bucketOf(*s.keys.segment(m, place), place) {
			if slot>>refBits == tag {
				seen += *m.word(refOf(slot), 0)
				break
			}
		}
	}
	s.seen = seen // or the compiler would leave all of it out
}

// copyOfKey is good until the next call.
func (s *store) copyOfKey(r ref) []byte {
	s.scratch = append(s.scratch[:0], s.mem.key(r)...)
	return s.scratch
}

// exists looks without touching.
func (s *store) exists(key []byte) bool {
	slot, _ := s.find(key)
	return slot != nil
}

// insert adds an entry whose key is not there.
func (s *store) insert(hash uint64, r ref) {
	s.mem.touch(r, s.clock)
	s.keys.add(s.mem, hash, r)
	if s.mem.expireAt(r) != 0 {
		s.volatile.add(s.mem, hash, r)
	}
}

// create makes an empty collection.
func (s *store) create(key []byte, hash uint64, k kind) ref {
	r := s.mem.newEntry(k, false, key, 0)
	s.insert(hash, r)
	return r
}

// moved follows an entry to its new block. hadExpiry is what the volatile table knows.
func (s *store) moved(slot *uint64, hash uint64, to ref, hadExpiry bool) {
	setRef(slot, to)
	at := s.mem.expireAt(to)
	switch {
	case hadExpiry && at != 0:
		setRef(s.volatile.find(s.mem, s.mem.key(to), hash), to)
	case hadExpiry:
		s.volatile.remove(s.mem, hash, s.volatile.find(s.mem, s.mem.key(to), hash))
	case at != 0:
		s.volatile.add(s.mem, hash, to)
	}
}

// setString stores a string; slot is the key's, or nil. expireAt 0 is never.
func (s *store) setString(key []byte, hash uint64, slot *uint64, value []byte, expireAt int64) {
	m := s.mem
	if slot != nil {
		r := refOf(*slot)
		if word := m.expireWord(r); m.kind(r) == kindString && m.fits(r, len(value)) && sameExpiry(word, expireAt) {
			m.setValueBytes(r, len(value))
			copy(m.value(r), value)
			*m.word(r, 0) &^= flagRaw
			if word != nil {
				*word = uint64(expireAt)
			}
			m.touch(r, s.clock)
			return
		}
	}
	r := m.newEntry(kindString, expireAt != 0, key, len(value))
	copy(m.value(r), value)
	if word := m.expireWord(r); word != nil {
		*word = uint64(expireAt)
	}
	if slot == nil {
		s.insert(hash, r)
		return
	}
	old := refOf(*slot)
	m.touch(r, s.clock)
	hadExpiry := m.expireAt(old) != 0
	s.moved(slot, hash, r, hadExpiry)
	s.freeEntry(old)
}

// sameExpiry tells if a time of expiry can be written without a change of layout or of the volatile table.
func sameExpiry(word *uint64, expireAt int64) bool {
	if word == nil {
		return expireAt == 0
	}
	return (*word != 0) == (expireAt != 0)
}

// resize gives a string another length and returns its entry, which may have moved.
func (s *store) resize(slot *uint64, hash uint64, valueBytes int) ref {
	old := refOf(*slot)
	r := s.mem.resize(old, valueBytes)
	if r != old {
		s.moved(slot, hash, r, s.mem.expireAt(r) != 0)
		s.mem.free(old)
	}
	return r
}

// setExpiry gives a key its time, 0 for none.
func (s *store) setExpiry(slot *uint64, hash uint64, at int64) {
	m := s.mem
	r := refOf(*slot)
	word := m.expireWord(r)
	if word == nil {
		if at == 0 {
			return
		}
		wider := m.newEntry(m.kind(r), true, m.key(r), len(m.value(r)))
		m.copyHead(wider, r)
		copy(m.value(wider), m.value(r))
		*m.expireWord(wider) = uint64(at)
		s.moved(slot, hash, wider, false)
		m.free(r)
		return
	}
	hadExpiry := *word != 0
	*word = uint64(at)
	s.moved(slot, hash, r, hadExpiry)
}

// delete takes the key out and frees its value.
func (s *store) delete(key []byte, hash uint64, slot *uint64) {
	r := refOf(*slot)
	s.touched(key)
	s.unlink(hash, slot)
	s.freeEntry(r)
}

// unlink takes an entry out of the tables without freeing it.
func (s *store) unlink(hash uint64, slot *uint64) {
	r := refOf(*slot)
	if s.mem.expireAt(r) != 0 {
		s.volatile.remove(s.mem, hash, s.volatile.find(s.mem, s.mem.key(r), hash))
	}
	s.keys.remove(s.mem, hash, slot)
}

// freeEntry frees the block and all that belongs to the value; a large one is left to freeSome.
func (s *store) freeEntry(r ref) {
	if s.mem.elements(r) > mostFreedAtOnce {
		s.condemned = append(s.condemned, condemned{entry: r})
		return
	}
	switch s.mem.kind(r) {
	case kindList:
		s.mem.list(r).drop(s.mem)
	case kindHash, kindSet:
		s.mem.dropMembers(s.mem.table(r))
	case kindZset:
		s.mem.zset(r).drop(s.mem)
	}
	s.mem.free(r)
}

// elements is how many a collection has, 0 for a string.
func (m *arena) elements(r ref) int64 {
	switch m.kind(r) {
	case kindList:
		return m.list(r).count
	case kindHash, kindSet:
		return m.table(r).count
	case kindZset:
		return m.zset(r).members.count
	}
	return 0
}

// dropMembers frees a table with its entries.
func (m *arena) dropMembers(t *table) {
	for r := range t.all(m) {
		m.free(r)
	}
	t.drop(m)
}

const (
	mostFreedAtOnce = 2000 // elements
	freeBudget      = 2 * time.Millisecond
	stepNodes       = 64 // freed between two looks at the clock
)

// condemned is a large collection that no table knows any more. It is freed in
// parts, so that nobody waits for the end of a million elements.
type condemned struct {
	entry ref
	place uint64 // of its table, what is before it is freed
}

// freeSome goes on freeing for a bounded time; true: there is more to do.
func (s *store) freeSome() bool {
	for started := time.Now(); len(s.condemned) > 0; {
		if time.Since(started) > freeBudget {
			return true
		}
		s.freeStep()
	}
	return false
}

// freeStep frees a part of the last condemned.
func (s *store) freeStep() {
	m := s.mem
	last := &s.condemned[len(s.condemned)-1]
	done := false
	switch m.kind(last.entry) {
	case kindList:
		l := m.list(last.entry)
		for i := 0; i < stepNodes && l.head != 0; i++ {
			l.freeNode(m, l.head)
		}
		done = l.head == 0
	case kindZset:
		z := m.zset(last.entry)
		for i := 0; i < stepNodes && z.head != 0; i++ {
			next := m.next(z.head, 0)
			m.free(z.head)
			z.head = next
		}
		done = z.head == 0 && last.freeMembers(m, &z.members)
	default:
		done = last.freeMembers(m, m.table(last.entry))
	}
	if done {
		m.free(last.entry)
		s.condemned = s.condemned[:len(s.condemned)-1]
	}
}

// freeMembers frees the entries of some buckets, and at the end the table; true: that was the end.
func (x *condemned) freeMembers(m *arena, t *table) bool {
	var room [4 * bucketSlots]ref
	for range stepNodes {
		var found []ref
		found, x.place = t.scanBucket(m, x.place, room[:0])
		for _, r := range found {
			m.free(r)
		}
		if x.place == 0 {
			t.drop(m)
			return true
		}
	}
	return false
}

// flush forgets everything.
func (s *store) flush() {
	for key := range s.watched {
		if s.exists([]byte(key)) {
			s.touched([]byte(key))
		}
	}
	s.mem.reset()
	s.keys, s.volatile, s.condemned, s.expireCursor = table{}, table{}, nil, 0
}

// touched tells the transactions that watch a key.
func (s *store) touched(key []byte) {
	if s.log != nil {
		s.log.noteChanged(key)
	}
	if len(s.watched) == 0 {
		return
	}
	for _, watcher := range s.watched[string(key)] {
		watcher.watchFailed = true
	}
}

// changed counts a change of a key by a command.
func (s *store) changed(key []byte) {
	s.changes++
	s.touched(key)
}

// logDelete records a key that left without a command.
func (s *store) logDelete(key []byte) {
	if s.log != nil {
		s.log.command(s, nil, []byte("DEL"), key)
	}
}

// usedMemory is what the data takes, and the buffers of clients.
func (s *store) usedMemory() int64 {
	return s.mem.usedBytes + s.mem.ownBytes() + s.clientBytes.Load()
}

const (
	evictionSamples = 10  // keys compared for one eviction
	evictionsAtOnce = 256 // about half a millisecond; what is left to do goes on at the next command
)

// makeRoom evicts keys until memory is under its limit; false: it cannot.
func (s *store) makeRoom() bool {
	for range evictionsAtOnce {
		if s.usedMemory() <= s.maxMemory {
			return true
		}
		if len(s.condemned) > 0 {
			s.freeStep()
			continue
		}
		victim := s.victim()
		if victim == 0 {
			return false
		}
		key := s.copyOfKey(victim)
		slot, hash := s.find(key)
		if slot == nil {
			continue // it was expired
		}
		s.stats.evicted++
		s.delete(key, hash, slot)
		s.logDelete(key)
	}
	return true
}

// victim is the best to leave among some random keys, or 0.
func (s *store) victim() ref {
	candidates := &s.keys
	if s.policy == volatileLRU || s.policy == volatileTTL {
		candidates = &s.volatile
	}
	if s.policy == noEviction || candidates.count == 0 {
		return 0
	}
	best := candidates.random(s.mem)
	if s.policy == allKeysRandom {
		return best
	}
	for range evictionSamples - 1 {
		if r := candidates.random(s.mem); s.leavesBefore(r, best) {
			best = r
		}
	}
	return best
}

func (s *store) leavesBefore(r, other ref) bool {
	if s.policy == volatileTTL {
		return s.mem.expireAt(r) < s.mem.expireAt(other)
	}
	return s.idleTicks(r) > s.idleTicks(other)
}

func (s *store) idleTicks(r ref) uint32 { return (s.clock - s.mem.clock(r)) & clockMask }

const (
	expireBudget      = 2 * time.Millisecond
	expireBucketsOnce = 16 // looked at between two looks at the clock
)

// expireSome removes expired keys nobody asks for. It goes on while at least a
// tenth of what it sees is expired, for a bounded time; true: there is more to do.
func (s *store) expireSome() bool {
	if s.volatile.count == 0 {
		return false
	}
	started := time.Now()
	var room [4 * bucketSlots]ref
	for {
		seen, expired := 0, 0
		for range expireBucketsOnce {
			var found []ref
			found, s.expireCursor = s.volatile.scanBucket(s.mem, s.expireCursor, room[:0])
			seen += len(found)
			for _, r := range found {
				if s.isExpired(r) {
					s.find(s.copyOfKey(r))
					expired++
				}
			}
			if s.expireCursor == 0 {
				break
			}
		}
		if expired*10 < seen || expired == 0 || s.volatile.count == 0 {
			return false
		}
		if time.Since(started) > expireBudget {
			return true
		}
	}
}

// randomKey is a key that is not expired, or 0.
func (s *store) randomKey() ref {
	for tries := 0; s.keys.count > 0; tries++ {
		r := s.keys.random(s.mem)
		if !s.isExpired(r) {
			return r
		}
		s.find(s.copyOfKey(r))
	}
	return 0
}

// randomIndex is a position in n things.
func randomIndex(n int64) int64 { return rand.Int64N(n) }
