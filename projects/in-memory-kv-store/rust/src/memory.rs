//! The allocator counts what it hands out. That count is `used_memory`, and what
//! `--maxmemory` bounds: keys, values, tables and client buffers, with nothing
//! forgotten and no bookkeeping beside each structure.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct CountingAllocator;

static USED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What glibc's malloc takes for a request: a word in front, in steps of 16 bytes.
pub const fn footprint(bytes: usize) -> usize {
    let chunk = (bytes + 8 + 15) & !15;
    if chunk < 32 { 32 } else { chunk }
}

/// The most a request can be for the memory it takes anyway.
pub const fn rounded_up(bytes: usize) -> usize {
    footprint(bytes) - 8
}

/// The bytes allocated now.
pub fn used_bytes() -> usize {
    USED_BYTES.load(Ordering::Relaxed)
}

// SAFETY: every call goes to the system's allocator unchanged; only a counter moves beside it.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        USED_BYTES.fetch_add(footprint(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's layout, as it came.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        USED_BYTES.fetch_add(footprint(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's layout, as it came.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED_BYTES.fetch_sub(footprint(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's block and layout, as they came.
        unsafe { System.dealloc(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        USED_BYTES.fetch_add(footprint(new_size), Ordering::Relaxed);
        USED_BYTES.fetch_sub(footprint(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's block, layout and size, as they came.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

/// Asks for a block of up to 64 bytes before it is needed.
pub fn prefetch(block: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LAST_BYTE: usize = 47; // of the usual block, which need not begin a cache line
        // SAFETY: a hint to the cache; nothing is read that the program could see, and any
        // address will do.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(block.cast());
            _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(LAST_BYTE).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = block;
}

/// The resident set of this process, for INFO.
pub fn resident_bytes() -> usize {
    const PAGE_BYTES: usize = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_never_changes_the_chunk() {
        for bytes in 0..2000 {
            assert!(rounded_up(bytes) >= bytes);
            assert_eq!(footprint(rounded_up(bytes)), footprint(bytes));
            assert_ne!(footprint(rounded_up(bytes) + 1), footprint(bytes));
        }
    }
}
