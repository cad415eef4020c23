package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

const (
	maxLinks       = 12 // CNAMEs in an answer
	maxDelegations = 32 // from the root to an answer
	maxNameServers = 16 // of a zone, that we remember
	maxAddresses   = 8  // of a name server
)

// rrset is the records of one type at one name.
type rrset struct {
	owner name
	qtype uint16
	ttl   uint32
	data  [][]byte
}

// answer is what there is to say to a question.
type answer struct {
	rcode   uint16
	records []rrset // aliases in their order, then what was asked for
	soa     *rrset  // where there is nothing: who says so, and for how long
}

// finding is what a response of a zone's server tells: a delegation, or a part of an answer.
type finding struct {
	cut *delegation
	ttl uint32 // of the delegation
	answer
	end      name // where the aliases lead to
	complete bool // what is at the end was told
}

// reader reads a response to a question that was sent to the servers of a zone. Only what is
// in this zone is believed.
type reader struct {
	message  *message
	zone     name
	question question
	settings *options
}

// read makes sense of a response. It fails where the server is lame: it knows nothing of
// the zone, or answers something else.
func (r *reader) read() (f finding, ok bool) {
	m := r.message
	switch m.rcode {
	case rcodeNoError, rcodeNXDomain, rcodeYXDomain:
	default:
		return f, false
	}
	if m.flags&flagAA == 0 && m.flags&flagRA != 0 {
		return f, false // it asks others
	}
	f.end = r.question.name
	if m.rcode == rcodeNoError && len(m.answer) == 0 && r.readDelegation(&f) {
		return f, true
	}
	if !r.readChain(&f) {
		return f, false
	}
	if !f.complete && m.rcode != rcodeYXDomain && f.links() <= maxLinks {
		r.readNegative(&f)
	}
	return f, f.complete || len(f.records) > 0
}

// readDelegation finds who serves a zone further down, on the way to the question.
func (r *reader) readDelegation(f *finding) bool {
	var d delegation
	for i := range r.message.authority {
		record := &r.message.authority[i]
		if record.qtype == typeSOA && record.class == classIN {
			return false
		}
		if record.qtype != typeNS || record.class != classIN || !r.leadsDown(record.owner) {
			continue
		}
		if d.zone == "" {
			d.zone, f.ttl = record.owner, r.ttl(record.ttl)
		}
		target := name(record.data).lower()
		known := slices.ContainsFunc(d.servers, func(s nameServer) bool { return s.name == target })
		if record.owner == d.zone && !known && len(d.servers) < maxNameServers {
			d.servers = append(d.servers, nameServer{name: target})
			f.ttl = min(f.ttl, r.ttl(record.ttl))
		}
	}
	if d.zone == "" {
		return false
	}
	d.labels = d.zone.labels()
	r.readGlue(f, &d)
	f.cut = &d
	return true
}

// leadsDown tells whether a zone is strictly below the one that was asked, and above the question.
func (r *reader) leadsDown(zone name) bool {
	return len(zone) > len(r.zone) && zone.isUnder(r.zone) && r.question.name.isUnder(zone)
}

// readGlue takes addresses of name servers from a parent that is above them.
func (r *reader) readGlue(f *finding, d *delegation) {
	for i := range r.message.additional {
		record := &r.message.additional[i]
		address, ok := netip.AddrFromSlice(record.data)
		isAddress := ok && record.class == classIN && record.qtype == addressType(address)
		if !isAddress || !r.settings.reaches(address) || !record.owner.isUnder(r.zone) {
			continue
		}
		at := slices.IndexFunc(d.servers, func(s nameServer) bool { return s.name == record.owner })
		if at >= 0 && len(d.servers[at].addresses) < maxAddresses {
			d.servers[at].addresses = append(d.servers[at].addresses, address)
			f.ttl = min(f.ttl, r.ttl(record.ttl))
		}
	}
}

// readChain follows aliases from the question on, as far as the response and the zone go.
func (r *reader) readChain(f *finding) bool {
	for range maxLinks + 1 {
		if !f.end.isUnder(r.zone) {
			return true
		}
		if set, found := r.collect(f.end, r.question.qtype); found {
			f.records = append(f.records, set)
			f.complete = true
			return true
		}
		if dname, found := r.collectDNAME(f.end); found {
			f.records = append(f.records, dname)
			target, fits := substitute(f.end, dname)
			if !fits {
				f.rcode, f.complete = rcodeYXDomain, true
				return true
			}
			f.records = append(f.records, rrset{f.end, typeCNAME, dname.ttl, [][]byte{[]byte(target)}})
			f.end = target.lower()
			continue
		}
		alias, found := r.collect(f.end, typeCNAME)
		if !found {
			return true
		}
		if len(alias.data) != 1 {
			return false
		}
		f.records = append(f.records, alias)
		f.end = name(alias.data[0]).lower()
	}
	return true // more links than anybody follows; who counts them will say so
}

// collect gathers the records of a type at a name. The shortest of their TTLs holds for all.
func (r *reader) collect(owner name, qtype uint16) (set rrset, found bool) {
	for i := range r.message.answer {
		record := &r.message.answer[i]
		if record.qtype != qtype || record.class != classIN || record.owner != owner {
			continue
		}
		ttl := r.ttl(record.ttl)
		if !found {
			set, found = rrset{owner: owner, qtype: qtype, ttl: ttl}, true
		}
		set.ttl = min(set.ttl, ttl)
		set.data = append(set.data, record.data)
	}
	if len(set.data) > 1 {
		set.data = withoutTwins(set.data)
	}
	return set, found
}

// withoutTwins removes what is there twice, and keeps the order.
func withoutTwins(all [][]byte) [][]byte {
	if len(all) <= 16 {
		kept := all[:1]
		for _, data := range all[1:] {
			if !slices.ContainsFunc(kept, func(other []byte) bool { return bytes.Equal(other, data) }) {
				kept = append(kept, data)
			}
		}
		return kept
	}
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(data []byte) bool {
		twin := seen[string(data)]
		seen[string(data)] = true
		return twin
	})
}

// collectDNAME finds an alias of a whole subtree that a name is in.
func (r *reader) collectDNAME(below name) (rrset, bool) {
	for i := range r.message.answer {
		record := &r.message.answer[i]
		if record.qtype == typeDNAME && len(record.owner) < len(below) && below.isUnder(record.owner) && record.owner.isUnder(r.zone) {
			set, found := r.collect(record.owner, typeDNAME)
			return set, found && len(set.data) == 1
		}
	}
	return rrset{}, false
}

// substitute puts the target of a DNAME in the place of its owner, unless that gets too long.
func substitute(n name, dname rrset) (name, bool) {
	target := n[:len(n)-len(dname.owner)] + name(dname.data[0])
	return target, len(target) <= maxNameBytes
}

// readNegative finds that there is nothing at the end of the chain, and who says so.
func (r *reader) readNegative(f *finding) {
	m := r.message
	if !f.end.isUnder(r.zone) {
		return
	}
	for i := range m.authority {
		record := &m.authority[i]
		if record.qtype != typeSOA || record.class != classIN {
			continue
		}
		if !f.end.isUnder(record.owner) || !record.owner.isUnder(r.zone) {
			return // it speaks of another zone
		}
		minimum := binary.BigEndian.Uint32(record.data[len(record.data)-4:])
		ttl := min(serverTTL(record.ttl), serverTTL(minimum), r.settings.maxNegativeTTL, r.settings.maxTTL)
		f.soa = &rrset{record.owner, typeSOA, ttl, [][]byte{record.data}}
		break
	}
	// Without a SOA record it is so for this once, if the server is one that should know. Behind an
	// alias it may mean that the server does not follow aliases.
	if f.soa != nil || m.flags&flagAA != 0 && len(f.records) == 0 && !r.refersSideways() {
		f.complete = true
		f.rcode = m.rcode
	}
}

// refersSideways tells whether a response without an answer points to other servers.
func (r *reader) refersSideways() bool {
	return len(r.message.answer) == 0 && slices.ContainsFunc(r.message.authority, func(record record) bool { return record.qtype == typeNS })
}

// serverTTL is a TTL as a server means it.
func serverTTL(ttl uint32) uint32 {
	if ttl > mostTTL {
		return 0 // RFC 2181, section 8
	}
	return ttl
}

// ttl is how long we keep a record.
func (r *reader) ttl(ttl uint32) uint32 {
	return max(min(serverTTL(ttl), r.settings.maxTTL), r.settings.minTTL)
}

// --- answers in the form in which they are sent ---

// encode writes an answer as it stands behind its question, and says how long it holds.
// An answer that fits into no message is a failure.
func encode(q question, a *answer) (b body, ttl uint32) {
	w := newWriter(q)
	start := len(w.message)
	ttl = mostTTL
	write := func(set *rrset) (count uint16) {
		ttl = min(ttl, set.ttl)
		for _, data := range set.data {
			if len(w.message)+len(data)+maxNameBytes > maxMessage {
				return 0
			}
			at := w.record(set.owner, set.qtype, set.ttl, data)
			b.ttls = binary.BigEndian.AppendUint16(b.ttls, uint16(at-start))
		}
		return uint16(len(set.data))
	}
	b.rcode = uint8(a.rcode)
	for i := range a.records {
		count := write(&a.records[i])
		if count == 0 {
			return body{rcode: rcodeServFail}, 0
		}
		b.answers += count
	}
	if a.soa != nil {
		b.authority = write(a.soa)
	} else if last := len(a.records) - 1; last < 0 || a.records[last].qtype != q.qtype {
		ttl = 0
	}
	b.tail = w.message[start:]
	return b, ttl
}

// decode reads an answer of the cache again.
func decode(q question, b body) answer {
	packet := append(newWriter(q).message, b.tail...)
	packet[3] = b.rcode
	binary.BigEndian.PutUint16(packet[4:], 1)
	binary.BigEndian.PutUint16(packet[6:], b.answers)
	binary.BigEndian.PutUint16(packet[8:], b.authority)
	a := answer{rcode: uint16(b.rcode)}
	m, err := parseMessage(packet)
	if err != nil {
		return answer{rcode: rcodeServFail} // what we wrote we can read: this does not happen
	}
	for _, record := range m.answer {
		last := len(a.records) - 1
		if last >= 0 && a.records[last].owner == record.owner && a.records[last].qtype == record.qtype {
			a.records[last].data = append(a.records[last].data, record.data)
			continue
		}
		a.records = append(a.records, rrset{record.owner, record.qtype, record.ttl - min(b.age, record.ttl), [][]byte{record.data}})
	}
	for _, record := range m.authority {
		a.soa = &rrset{record.owner, record.qtype, record.ttl - min(b.age, record.ttl), [][]byte{record.data}}
	}
	return a
}

// alias is the target of the last record, if it is a CNAME.
func (a *answer) alias() (name, bool) {
	last := len(a.records) - 1
	if last < 0 || a.records[last].qtype != typeCNAME || len(a.records[last].data) != 1 {
		return "", false
	}
	return name(a.records[last].data[0]).lower(), true
}

// links is how many aliases there are.
func (a *answer) links() (count int) {
	for i := range a.records {
		if a.records[i].qtype == typeCNAME {
			count++
		}
	}
	return count
}
