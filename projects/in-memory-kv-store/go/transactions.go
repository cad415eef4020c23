package main

// queued is a command between MULTI and EXEC.
type queued struct {
	command *command
	args    [][]byte
}

// enqueue keeps a command for EXEC; its arguments are copied, the buffer they are in is used again.
func (cl *client) enqueue(cmd *command, args [][]byte) {
	total := 0
	for _, arg := range args {
		total += len(arg)
	}
	text := make([]byte, 0, total)
	kept := make([][]byte, len(args))
	for i, arg := range args {
		start := len(text)
		text = append(text, arg...)
		kept[i] = text[start:len(text):len(text)]
	}
	cl.queue = append(cl.queue, queued{cmd, kept})
	cl.queueBytes += total
	cl.queueFlags |= cmd.flags
}

// leaveMulti ends a transaction, whatever became of it.
func (c *call) leaveMulti() {
	cl := c.client
	cl.inMulti, cl.multiFailed, cl.queueFlags = false, false, 0
	cl.queue, cl.queueBytes = nil, 0
	c.unwatch()
}

func cmdMulti(c *call) {
	if c.client.inMulti {
		c.out.fail("ERR MULTI calls can not be nested")
		return
	}
	c.client.inMulti, c.client.multiFailed = true, false
	c.out.ok()
}

func cmdDiscard(c *call) {
	if !c.client.inMulti {
		c.out.fail("ERR DISCARD without MULTI")
		return
	}
	c.leaveMulti()
	c.out.ok()
}

func cmdExec(c *call) {
	cl := c.client
	if !cl.inMulti {
		c.out.fail("ERR EXEC without MULTI")
		return
	}
	for _, key := range cl.watching {
		c.find([]byte(key)) // one that has expired is changed
	}
	switch {
	case cl.multiFailed:
		c.out.fail("EXECABORT Transaction discarded because of previous errors.")
		c.leaveMulti()
		return
	case cl.watchFailed:
		c.out.nullArray()
		c.leaveMulti()
		return
	}
	c.unwatch()
	queue := cl.queue
	cl.inMulti = false // the commands run as if they came alone
	c.out.array(len(queue))
	for _, q := range queue {
		c.args = q.args
		c.run(q.command)
	}
	c.leaveMulti()
}

func cmdWatch(c *call) {
	if c.client.inMulti {
		c.out.fail("ERR WATCH inside MULTI is not allowed")
		return
	}
	for _, key := range c.args[1:] {
		c.find(key) // what has expired already is no change later
		c.watch(string(key))
	}
	c.out.ok()
}

func (c *call) watch(key string) {
	for _, watcher := range c.watched[key] {
		if watcher == c.client {
			return
		}
	}
	c.watched[key] = append(c.watched[key], c.client)
	c.client.watching = append(c.client.watching, key)
}

func cmdUnwatch(c *call) {
	c.unwatch()
	c.out.ok()
}

func (c *call) unwatch() { c.client.unwatch(c.store) }

// unwatch forgets all keys of the client.
func (cl *client) unwatch(s *store) {
	for _, key := range cl.watching {
		watchers := s.watched[key]
		for i, watcher := range watchers {
			if watcher == cl {
				watchers[i] = watchers[len(watchers)-1]
				watchers = watchers[:len(watchers)-1]
				break
			}
		}
		if len(watchers) == 0 {
			delete(s.watched, key)
		} else {
			s.watched[key] = watchers
		}
	}
	cl.watching, cl.watchFailed = nil, false
}
