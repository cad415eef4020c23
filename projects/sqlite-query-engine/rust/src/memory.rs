//! Running out of memory is the machine's failure: one line and exit code 1, not an abort.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::output::exit_at_once;

pub struct Allocator;

fn checked(memory: *mut u8) -> *mut u8 {
    if memory.is_null() { exit_at_once(b"error: out of memory\n") } else { memory }
}

// SAFETY: every call goes unchanged to the system's allocator, which upholds the contract; the only
// change is that a null result ends the process.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        checked(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        checked(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        checked(unsafe { System.realloc(memory, layout, bytes) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
