package main

import (
	"iter"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	eventsAtOnce = 256
	busyWaitMS   = 1
)

// handler is told when its file descriptor is ready.
type handler interface{ ready(events uint32) }

// loop waits for all sockets of a thread and runs what they wake.
type loop struct {
	epoll     int
	wakeFD    int
	events    [eventsAtOnce]unix.EpollEvent
	handlers  []handler // by file descriptor
	started   time.Time
	now       time.Duration // since started, as of the beginning of the turn
	alarms    alarmHeap
	scheduled []*task
	current   *task
	idle      []*task
	busy      bool   // something came in the last wait
	eager     bool   // there is more to do than to wait
	woken     func() // after a wake
	endTurn   []func()
}

// newLoop makes a loop whose clock began at a time: what is in one cache has one clock.
func newLoop(started time.Time) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, machineFailure("epoll: %v", err)
	}
	wakeFD, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, machineFailure("eventfd: %v", err)
	}
	l := &loop{epoll: epoll, wakeFD: wakeFD, started: started, woken: func() {}}
	if err := l.watch(wakeFD, unix.EPOLLIN, wakeHandler{l}); err != nil {
		return nil, machineFailure("epoll: %v", err)
	}
	return l, nil
}

// watch asks for the events of a file descriptor until it is closed or forgotten.
func (l *loop) watch(fd int, events uint32, h handler) error {
	if fd >= len(l.handlers) {
		l.handlers = append(l.handlers, make([]handler, fd+64-len(l.handlers))...)
	}
	l.handlers[fd] = h
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// change asks for other events.
func (l *loop) change(fd int, events uint32) {
	// The descriptor is watched: there is nothing that could fail.
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// forget ends the events of a descriptor, and closes it.
func (l *loop) forget(fd int) {
	l.handlers[fd] = nil
	unix.Close(fd)
}

// wake interrupts the wait of the loop, from any goroutine.
func (l *loop) wake() {
	one := [8]byte{1}
	// It fails only when it was called 2^64 times in vain.
	_, _ = unix.Write(l.wakeFD, one[:])
}

type wakeHandler struct{ loop *loop }

func (h wakeHandler) ready(uint32) {
	var count [8]byte
	_, _ = unix.Read(h.loop.wakeFD, count[:])
	h.loop.woken()
}

// turn waits until something happens, and does what follows from it.
func (l *loop) turn() {
	count := l.wait()
	l.now = time.Since(l.started)
	for i := range l.events[:count] {
		if h := l.handlers[l.events[i].Fd]; h != nil {
			h.ready(l.events[i].Events)
		}
	}
	l.runTasks()
	// Only now: what has come in time is in time, however late we look.
	l.ring()
	l.runTasks()
	for _, end := range l.endTurn {
		end()
	}
}

// wait returns how many events there are.
//
// A busy loop waits without telling the scheduler, for a millisecond at most: otherwise
// the monitor of the runtime takes the processor away from every longer wait, and gives it
// back, which costs more than many queries. Only where nothing comes for so long the wait
// is one beside which other goroutines run: signals, the garbage collector.
func (l *loop) wait() int {
	if hurry := l.eager || len(l.scheduled) > 0; l.busy || hurry {
		timeout := busyWaitMS
		if hurry {
			timeout = 0
		}
		// The events are part of the loop, which stays alive to the end of the call.
		count, _, code := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), eventsAtOnce,
			uintptr(timeout), 0, 0)
		if code == 0 && (count > 0 || timeout == 0) {
			return int(count)
		}
		l.busy = false
	}
	timeout := -1
	if len(l.alarms) > 0 {
		timeout = int((max(0, l.alarms[0].at-time.Since(l.started)) + time.Millisecond - 1) / time.Millisecond)
	}
	count, err := unix.EpollWait(l.epoll, l.events[:], timeout)
	if err != nil {
		return 0 // interrupted
	}
	l.busy = count > 0
	return count
}

// --- tasks ---

// task is a piece of work that is written as one sequence and waits in the middle of it: a
// coroutine that its loop resumes. When its work is done it waits for the next.
//
// It is no goroutine of the scheduler: a switch to a coroutine is a function call that
// changes the stack, and needs neither a lock nor a thread to be woken.
type task struct {
	resume    func() (struct{}, bool)
	pause     func(struct{}) bool
	work      func()
	scheduled bool
	alarm     alarm
}

// spawn starts a piece of work, as soon as what runs now pauses.
func (l *loop) spawn(work func()) {
	var t *task
	if last := len(l.idle) - 1; last >= 0 {
		t, l.idle = l.idle[last], l.idle[:last]
	} else {
		t = l.newTask()
	}
	t.work = work
	l.schedule(t)
}

func (l *loop) newTask() *task {
	t := &task{}
	t.alarm.ring = func() { l.schedule(t) }
	t.resume, _ = iter.Pull(func(pause func(struct{}) bool) {
		t.pause = pause
		for {
			t.work()
			t.work = nil
			l.idle = append(l.idle, t)
			pause(struct{}{})
		}
	})
	return t
}

// schedule lets a task go on. It looks itself why it was resumed, so once too often does no harm.
func (l *loop) schedule(t *task) {
	if !t.scheduled {
		t.scheduled = true
		l.scheduled = append(l.scheduled, t)
	}
}

// runTasks resumes all scheduled tasks, and those that they schedule.
func (l *loop) runTasks() {
	for i := 0; i < len(l.scheduled); i++ {
		t := l.scheduled[i]
		l.scheduled[i] = nil
		t.scheduled = false
		if t.work == nil {
			continue // it has ended before its turn came
		}
		l.current = t
		t.resume()
	}
	l.scheduled, l.current = l.scheduled[:0], nil
}

// pause waits until somebody schedules the current task.
func (l *loop) pause() { l.current.pause(struct{}{}) }

// pauseUntil waits until somebody schedules the current task, or until then.
func (l *loop) pauseUntil(at time.Duration) {
	t := l.current
	l.setAlarm(&t.alarm, at)
	l.pause()
	l.stopAlarm(&t.alarm)
}

// --- alarms ---

// alarm calls a function at a time.
type alarm struct {
	at    time.Duration
	ring  func()
	place int // in the heap, from 1; 0: not set
}

// alarmHeap has the next alarm first.
type alarmHeap []*alarm

func (l *loop) setAlarm(a *alarm, at time.Duration) {
	l.stopAlarm(a)
	a.at = at
	l.alarms = append(l.alarms, a)
	l.alarms.up(len(l.alarms) - 1)
}

func (l *loop) stopAlarm(a *alarm) {
	if a.place == 0 {
		return
	}
	at, last := a.place-1, len(l.alarms)-1
	a.place = 0
	moved := l.alarms[last]
	l.alarms[last] = nil
	l.alarms = l.alarms[:last]
	if at == last {
		return
	}
	l.alarms[at] = moved
	l.alarms.down(at)
	l.alarms.up(moved.place - 1)
}

// ring calls who has waited long enough.
func (l *loop) ring() {
	for len(l.alarms) > 0 && l.alarms[0].at <= l.now {
		due := l.alarms[0]
		l.stopAlarm(due)
		due.ring()
	}
}

func (h alarmHeap) up(at int) {
	a := h[at]
	for at > 0 {
		above := (at - 1) / 2
		if h[above].at <= a.at {
			break
		}
		h.set(at, h[above])
		at = above
	}
	h.set(at, a)
}

func (h alarmHeap) down(at int) {
	a := h[at]
	for {
		below := 2*at + 1
		if below >= len(h) {
			break
		}
		if below+1 < len(h) && h[below+1].at < h[below].at {
			below++
		}
		if a.at <= h[below].at {
			break
		}
		h.set(at, h[below])
		at = below
	}
	h.set(at, a)
}

func (h alarmHeap) set(at int, a *alarm) {
	h[at] = a
	a.place = at + 1
}
