package main

import "iter"

// task is a piece of work that is written as one sequence and waits in the middle of
// it: a coroutine that its loop resumes.
//
// It is no goroutine of the scheduler. With those, a proxy spends as much time on
// waking threads, and on the watcher that runs as soon as one of them works, as on
// requests; switching to a coroutine is a function call that changes the stack.
type task struct {
	resume    func() (struct{}, bool)
	pause     func(struct{}) bool
	scheduled bool
}

// spawn starts a task: at once when a loop is in its round, before anything else happens.
func (l *loop) spawn(work func()) {
	t := &task{}
	t.resume, _ = iter.Pull(func(pause func(struct{}) bool) {
		t.pause = pause
		work()
	})
	l.schedule(t)
}

// schedule lets a task go on, as soon as the one that runs now pauses. A task looks
// itself why it was resumed, so once too often does no harm.
func (l *loop) schedule(t *task) {
	if t != nil && !t.scheduled {
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
		l.current = t
		t.resume()
	}
	l.scheduled = l.scheduled[:0]
	l.current = nil
}

// pause waits until somebody schedules the current task.
func (l *loop) pause() { l.current.pause(struct{}{}) }

// pauseAt waits at a place, until somebody schedules the current task or until then.
func (l *loop) pauseAt(place *wait, until int64) {
	place.task, place.until = l.current, until
	l.pause()
	place.task = nil
}

// giveWay lets everybody else have a turn.
func (l *loop) giveWay() {
	l.patient = append(l.patient, l.current)
	l.pause()
}
