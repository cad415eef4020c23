//! Monotonic time in ns, the process's CPU time, and a timer that wakes epoll at an absolute ns.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const NS_PER_SECOND: i64 = 1_000_000_000;

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CPU time of this process, user and system.
#[must_use]
pub fn cpu_ns() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, and both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (time.tv_sec * NS_PER_SECOND + time.tv_nsec) as u64
}

/// A timerfd on the monotonic clock: epoll's own time limit counts milliseconds, which is far too coarse.
///
/// Built for an edge-triggered epoll (mio's): nothing has to be read for the next wake-up to be noticed.
pub struct Timer {
    fd: OwnedFd,
    armed_ns: Cell<u64>,
}

impl Timer {
    /// Make an unarmed timer.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is checked and then owned.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, armed_ns: Cell::new(0) })
    }

    /// Wake at this time; a time in the past wakes at once. Asking again for the same time costs nothing.
    pub fn wake_at(&self, at_ns: u64) {
        if self.armed_ns.replace(at_ns) == at_ns {
            return;
        }
        let at_ns = at_ns.cast_signed();
        let value = libc::timespec { tv_sec: at_ns / NS_PER_SECOND, tv_nsec: (at_ns % NS_PER_SECOND).max(1) };
        let spec = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: the pointer is to an itimerspec of ours; the descriptor is a timerfd.
        unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), libc::TFD_TIMER_ABSTIME, &raw const spec, std::ptr::null_mut())
        };
    }

    /// The wake-up came, and the next one may be for the same time.
    pub fn woke(&self) {
        self.armed_ns.set(0);
    }

    /// For epoll.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
