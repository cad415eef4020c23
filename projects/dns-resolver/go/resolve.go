package main

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"time"
)

const (
	maxProbes      = 10 // questions that hide the whole name, for one question
	mostJobs       = 10_000
	mostWaiting    = 100_000 // clients, for jobs
	servfailTTL    = 2 * time.Second
	exploringShare = 64 // of so many queries one goes to any server, to see whether it became faster
)

var (
	errBudget    = errors.New("too many queries for one question")
	errLame      = errors.New("no server gives an answer")
	errLoop      = errors.New("the question needs its own answer")
	errChain     = errors.New("too many aliases")
	errTooDeep   = errors.New("too many delegations")
	errNotCached = errors.New("not in the cache")
	errServFail  = errors.New("it failed a moment ago")
)

// resolver finds answers: in the cache, or by asking from the root on.
type resolver struct {
	loop      *loop
	settings  *options
	counters  *counters
	cache     *cache
	upstream  *upstream
	hints     *delegation
	jobs      map[question]*job
	exchanges map[exchangeKey]*exchange
	waiting   int
}

// job is a question that is being resolved, and all who asked it.
type job struct {
	question question
	waiting  []func(body)
}

func newResolver(l *loop, settings *options, hints *delegation, c *counters) *resolver {
	return &resolver{
		loop: l, settings: settings, counters: c, cache: newCache(settings.cacheBytes, settings.threads > 1 && settings.bulkPath == "", c),
		upstream: newUpstream(l, settings, c), hints: hints,
		jobs: map[question]*job{}, exchanges: map[exchangeKey]*exchange{},
	}
}

// ask resolves a question that the cache has no answer to; false: there is too much to do.
// Who asks what somebody asks already waits for the same answer.
func (r *resolver) ask(q question, done func(body)) bool {
	if r.waiting >= mostWaiting {
		return false
	}
	if j := r.jobs[q]; j != nil {
		r.waiting++
		r.counters.misses.Add(1)
		j.waiting = append(j.waiting, done)
		return true
	}
	if len(r.jobs) >= mostJobs {
		return false
	}
	r.waiting++
	j := &job{question: q, waiting: []func(body){done}}
	r.jobs[q] = j
	r.loop.spawn(func() { r.run(j) })
	return true
}

// run does a job and tells all who wait for it.
func (r *resolver) run(j *job) {
	w := &work{resolver: r, mayAsk: true}
	b := r.finish(j.question, w)
	if w.queries == 0 && !w.joined {
		r.counters.hits.Add(1)
	} else {
		r.counters.misses.Add(1)
	}
	delete(r.jobs, j.question)
	r.waiting -= len(j.waiting)
	for _, done := range j.waiting {
		done(b)
	}
}

// finish resolves a question and keeps the answer as a whole.
func (r *resolver) finish(q question, w *work) body {
	a, err := w.resolve(q)
	now := r.loop.now
	if err != nil {
		b := body{rcode: rcodeServFail}
		if w.mayAsk {
			r.cache.putAnswer(kindAnswer, q, b, now, servfailTTL)
		}
		return b
	}
	if len(a.records) <= 1 {
		if b, found := r.cache.find(q, now); found {
			return b // it was kept when it came
		}
	}
	b, ttl := encode(q, &a)
	if len(a.records) > 1 {
		r.cache.putAnswer(kindAnswer, q, b, now, time.Duration(ttl)*time.Second)
	}
	return b
}

// fromCache answers a question without asking anybody.
func (r *resolver) fromCache(q question) (body, bool) {
	if b, found := r.cache.find(q, r.loop.now); found {
		return b, true
	}
	w := &work{resolver: r}
	a, err := w.resolve(q)
	if err != nil {
		return body{}, false
	}
	b, _ := encode(q, &a)
	return b, true
}

// work is what is done for one question, with all that it needs to know on the way.
type work struct {
	resolver *resolver
	mayAsk   bool
	queries  int
	joined   bool       // it waited for the query of another
	asked    []question // inside one another
}

// resolve follows aliases to an answer.
func (w *work) resolve(q question) (whole answer, err error) {
	if len(w.asked) >= w.resolver.settings.maxDepth || slices.Contains(w.asked, q) {
		return whole, errLoop
	}
	w.asked = append(w.asked, q)
	defer func() { w.asked = w.asked[:len(w.asked)-1] }()
	for current := q; ; {
		part, next, err := w.step(current)
		if err != nil {
			return whole, err
		}
		whole.records = append(whole.records, part.records...)
		whole.rcode, whole.soa = part.rcode, part.soa
		if whole.links() > maxLinks {
			return whole, errChain
		}
		if next == "" {
			return whole, nil
		}
		if slices.ContainsFunc(whole.records, func(set rrset) bool { return set.qtype == typeCNAME && set.owner == next }) {
			return whole, errLoop
		}
		current.name = next
	}
}

// step finds what is at one name, or to which other name it leads.
func (w *work) step(q question) (part answer, next name, err error) {
	r := w.resolver
	if b, found := r.cache.find(q, r.loop.now); found {
		if b.rcode == rcodeServFail {
			return part, "", errServFail
		}
		return decode(q, b), "", nil
	}
	alias := question{q.name, typeCNAME}
	if b, found := r.cache.find(alias, r.loop.now); found && q.qtype != typeCNAME {
		part = decode(alias, b)
		if next, found = part.alias(); found {
			return part, next, nil
		}
	}
	if !w.mayAsk {
		return part, "", errNotCached
	}
	return w.iterate(q)
}

// closestCut is the zone that is nearest to a name, of those whose servers we know.
func (r *resolver) closestCut(q question) *delegation {
	zone := q.name
	if q.qtype == typeDS && zone != root {
		zone = zone.parent() // the parent has it
	}
	for ; zone != root; zone = zone.parent() {
		if cut := r.cache.zone(zone, r.loop.now); cut != nil {
			return cut
		}
	}
	return r.hints
}

// iterate goes down from the nearest zone we know. On the way it asks for no more of the name
// than it has to: first whether there is a zone one label further down, by asking for an address.
func (w *work) iterate(q question) (part answer, next name, err error) {
	r := w.resolver
	cut := r.closestCut(q)
	total := q.name.labels()
	labels := cut.labels + 1
	for steps, probes := 0, 0; ; {
		asked := q
		hidden := labels < total && probes < maxProbes
		if hidden {
			asked = question{q.name.last(labels), typeA}
			if b, found := r.cache.find(asked, r.loop.now); found && b.rcode == rcodeNXDomain {
				labels = total // some servers deny names that have others below them
				continue
			} else if found && b.rcode == rcodeNoError {
				labels++ // it is there, and no zone of its own
				continue
			}
		}
		f, err := w.askZone(cut, asked)
		switch {
		case err == errLame && hidden:
			labels = total // some servers do not like such questions
		case err != nil:
			return part, "", err
		case f.cut != nil:
			if steps++; steps > maxDelegations {
				return part, "", errTooDeep
			}
			cut, labels = f.cut, f.cut.labels+1
		case hidden && f.rcode != rcodeNoError:
			labels = total // not the end: some servers deny names that have others below them
		case hidden:
			probes++
			labels++
		case f.complete || q.qtype == typeCNAME && len(f.records) > 0:
			return f.answer, "", nil
		default:
			return f.answer, f.end, nil
		}
	}
}

// askZone asks the servers of a zone, those first whose addresses are known.
func (w *work) askZone(cut *delegation, q question) (*finding, error) {
	addresses, unknown := w.addresses(cut)
	left := &patience{attempts: w.resolver.settings.attempts, timeout: w.resolver.settings.firstTimeout}
	var tried []netip.Addr
	failure := errLame
	for {
		if len(addresses) > 0 {
			f, err := w.exchange(cut, q, addresses, left, len(unknown) > 0)
			if err == nil || err == errBudget {
				return f, err
			}
			failure = err
			tried = append(tried, addresses...)
		}
		if len(unknown) == 0 || left.attempts == 0 {
			return nil, failure
		}
		found, err := w.addressesOf(unknown[0])
		if err == errBudget {
			return nil, err
		}
		unknown = unknown[1:]
		addresses = slices.DeleteFunc(found, func(a netip.Addr) bool { return slices.Contains(tried, a) })
	}
}

// addresses are those of a zone's servers, each once, and the names of servers without.
func (w *work) addresses(cut *delegation) (known []netip.Addr, unknown []name) {
	for i := range cut.servers {
		server := &cut.servers[i]
		found := server.addresses
		if len(found) == 0 {
			found = w.resolver.cachedAddresses(server.name)
		}
		if len(found) == 0 && !server.name.isUnder(cut.zone) { // where such are could only they themselves say
			unknown = append(unknown, server.name)
		}
		for _, address := range found {
			if !slices.Contains(known, address) {
				known = append(known, address)
			}
		}
	}
	return known, unknown
}

// cachedAddresses are those of a server that we know already.
func (r *resolver) cachedAddresses(server name) (found []netip.Addr) {
	for _, qtype := range r.settings.addressTypes() {
		at := question{server, qtype}
		if b, cached := r.cache.find(at, r.loop.now); cached {
			a := decode(at, b)
			found = append(found, a.addresses(qtype)...)
		}
	}
	return found
}

// addressesOf resolves the name of a server. Where there are addresses of one family it asks for no other.
func (w *work) addressesOf(server name) (found []netip.Addr, err error) {
	for _, qtype := range w.resolver.settings.addressTypes() {
		a, err := w.resolve(question{server, qtype})
		if err == errBudget {
			return nil, err
		}
		if found = a.addresses(qtype); err == nil && len(found) > 0 {
			break
		}
	}
	return found, nil
}

// addresses are those in the last records of an answer.
func (a *answer) addresses(qtype uint16) (found []netip.Addr) {
	last := len(a.records) - 1
	if last < 0 || a.records[last].qtype != qtype {
		return nil
	}
	for _, data := range a.records[last].data {
		if address, ok := netip.AddrFromSlice(data); ok {
			found = append(found, address)
		}
	}
	return found
}

// --- exchanges ---

// exchangeKey is a question to the servers of a zone.
type exchangeKey struct {
	zone     name
	question question
}

// exchange is one that is under way, and the tasks that wait for the same.
//
// It waits for the network only, never for another exchange or job: so none waits for itself.
type exchange struct {
	finding *finding
	err     error
	done    bool
	waiting []*task
}

// patience is how often, and how long, we may still wait in vain for the servers of a zone.
type patience struct {
	attempts int
	timeout  time.Duration
}

// exchange asks servers, or waits until somebody else has.
func (w *work) exchange(cut *delegation, q question, addresses []netip.Addr, p *patience, others bool) (*finding, error) {
	r := w.resolver
	key := exchangeKey{cut.zone, q}
	for x := r.exchanges[key]; x != nil; x = r.exchanges[key] {
		x.waiting = append(x.waiting, r.loop.current)
		w.joined = true
		for !x.done {
			r.loop.pause()
		}
		if x.err != errBudget { // that was the budget of somebody else
			return x.finding, x.err
		}
	}
	x := &exchange{}
	r.exchanges[key] = x
	x.finding, x.err = w.exchangeAlone(cut, q, addresses, p, others)
	x.done = true
	delete(r.exchanges, key)
	for _, t := range x.waiting {
		r.loop.schedule(t)
	}
	return x.finding, x.err
}

// candidate is a server that may be asked.
type candidate struct {
	host  *host
	tries int
	out   bool // it said something useless
}

// exchangeAlone asks one server after the other until one knows. Where the zone has others, whose
// addresses are not known yet, it is not so patient.
func (w *work) exchangeAlone(cut *delegation, q question, addresses []netip.Addr, p *patience, others bool) (*finding, error) {
	r := w.resolver
	candidates := make([]candidate, len(addresses))
	for i, address := range addresses {
		candidates[i].host = r.upstream.host(address)
	}
	attempts := p.attempts
	if others {
		attempts = min(attempts, max(1, p.attempts/2))
	}
	failure := errLame
	for attempts > 0 {
		c := r.pick(candidates)
		if c == nil {
			break
		}
		m, err := w.converse(c.host, q, p.timeout)
		switch err {
		case nil:
			if f := r.understand(m, cut, q); f != nil {
				return f, nil
			}
			c.out = true
			c.host.punish(r.settings.firstTimeout)
		case errBudget:
			return nil, err
		case errTimeout:
			failure = err
			c.tries++
			c.host.punish(p.timeout)
			attempts--
			p.attempts--
			p.timeout = min(2*p.timeout, longestTimeout)
		default:
			c.out = true
			c.host.punish(r.settings.firstTimeout)
		}
	}
	return nil, failure
}

// pick chooses the server that was tried least, of these the fastest; now and then any that was not tried.
func (r *resolver) pick(candidates []candidate) (best *candidate) {
	if any := int(r.upstream.randomBits()) % (exploringShare * len(candidates)); any < len(candidates) {
		if c := &candidates[any]; !c.out && c.tries == 0 {
			return c
		}
	}
	for i := range candidates {
		c := &candidates[i]
		switch {
		case c.out:
		case best == nil, c.tries < best.tries, c.tries == best.tries && c.host.rtt < best.host.rtt:
			best = c
		}
	}
	return best
}

// converse asks one server, without EDNS if it does not like that, and over TCP if it has more to say.
func (w *work) converse(s *host, q question, timeout time.Duration) (*message, error) {
	u := w.resolver.upstream
	m, err := w.sendOne(func() (*message, error) { return u.ask(s, q, timeout) })
	if err == nil && m.rcode == rcodeFormErr && u.ednsBytes(s) > 0 {
		s.plainUntil = w.resolver.loop.now + forgetPlain
		m, err = w.sendOne(func() (*message, error) { return u.ask(s, q, timeout) })
	}
	if err == nil && m.flags&flagTC != 0 {
		m, err = w.sendOne(func() (*message, error) { return u.askStream(s, q) })
	}
	return m, err
}

// sendOne counts a query.
func (w *work) sendOne(send func() (*message, error)) (*message, error) {
	if w.queries >= w.resolver.settings.maxQueries {
		return nil, errBudget
	}
	w.queries++
	return send()
}

// understand reads a response and keeps what it says; nil: it says nothing useful.
func (r *resolver) understand(m *message, cut *delegation, q question) *finding {
	reading := reader{message: m, zone: cut.zone, question: q, settings: r.settings}
	f, ok := reading.read()
	if !ok {
		return nil
	}
	r.keep(q, &f)
	return &f
}

// keep puts into the cache what a response says: a delegation, each alias, and what is at their end.
func (r *resolver) keep(q question, f *finding) {
	now := r.loop.now
	if f.cut != nil {
		r.cache.putZone(f.cut, now, time.Duration(f.ttl)*time.Second)
		return
	}
	for i := range f.records {
		set := &f.records[i]
		made := set.qtype == typeCNAME && i > 0 && f.records[i-1].qtype == typeDNAME
		if !made {
			r.keepAnswer(kindAnswer, question{set.owner, set.qtype}, &answer{records: f.records[i : i+1]})
		}
	}
	if f.soa != nil {
		k := kindAnswer
		if f.rcode == rcodeNXDomain {
			k = kindNXDomain
		}
		r.keepAnswer(k, question{f.end, q.qtype}, &answer{rcode: f.rcode, soa: f.soa})
	}
}

func (r *resolver) keepAnswer(k kind, q question, a *answer) {
	b, ttl := encode(q, a)
	r.cache.putAnswer(k, q, b, r.loop.now, time.Duration(min(ttl, math.MaxInt32))*time.Second)
}

// forget empties the cache, and forgets which servers are fast.
func (r *resolver) forget() {
	r.cache.clear()
	clear(r.upstream.hosts)
}
