//! A byte string with a small header in one allocation behind one word: the fields, members
//! and scores of collections. A boxed slice would take two words and a second allocation.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

use super::table::Keyed;
use crate::memory::footprint;

#[repr(C)]
struct Head<H> {
    extra: Cell<H>,
    shares: Cell<u32>,
    length: u32,
}

/// The owner of a record, or one of its owners: see `share`.
pub struct Record<H: Copy>(NonNull<Head<H>>);

impl<H: Copy> Record<H> {
    /// Joins the parts to one text; together they are shorter than 4 GiB.
    pub fn new(extra: H, parts: [&[u8]; 2]) -> Self {
        let length = parts[0].len() + parts[1].len();
        let layout = Self::layout(length);
        // SAFETY: the layout has at least the size of the head, which is not zero.
        let block = unsafe { alloc(layout) };
        let Some(head) = NonNull::new(block.cast::<Head<H>>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the block is new, aligned for the head, and has room for it and both parts.
        unsafe {
            head.write(Head {
                extra: Cell::new(extra),
                shares: Cell::new(1),
                length: length as u32,
            });
            let text = block.add(size_of::<Head<H>>());
            text.copy_from_nonoverlapping(parts[0].as_ptr(), parts[0].len());
            text.add(parts[0].len())
                .copy_from_nonoverlapping(parts[1].as_ptr(), parts[1].len());
        }
        Self(head)
    }

    fn layout(length: usize) -> Layout {
        let head = Layout::new::<Head<H>>();
        // Lengths are below 4 GiB: the sum cannot overflow.
        Layout::from_size_align(head.size() + length, head.align()).expect("a small size")
    }

    fn head(&self) -> &Head<H> {
        // SAFETY: the block lives as long as one of its owners.
        unsafe { self.0.as_ref() }
    }

    pub fn bytes(&self) -> &[u8] {
        let length = self.head().length as usize;
        // SAFETY: `new` wrote so many bytes behind the head; nothing changes them afterwards.
        unsafe { std::slice::from_raw_parts(self.0.add(1).cast().as_ptr(), length) }
    }

    pub fn extra(&self) -> H {
        self.head().extra.get()
    }

    /// Changes the header for all owners.
    pub fn set_extra(&self, extra: H) {
        self.head().extra.set(extra);
    }

    /// A second owner of the same record. (`clone` makes a record of its own.)
    pub fn share(&self) -> Self {
        let shares = &self.head().shares;
        shares.set(shares.get() + 1); // two owners at most: the table and the order of a zset
        Self(self.0)
    }

    pub fn footprint(&self) -> usize {
        footprint(Self::layout(self.bytes().len()).size())
    }
}

impl<H: Copy> Keyed for Record<H> {
    fn key(&self) -> &[u8] {
        self.bytes()
    }
}

impl<H: Copy> Clone for Record<H> {
    fn clone(&self) -> Self {
        Self::new(self.extra(), [self.bytes(), b""])
    }
}

impl<H: Copy> Drop for Record<H> {
    fn drop(&mut self) {
        let head = self.head();
        let shares = head.shares.get() - 1;
        head.shares.set(shares);
        if shares == 0 {
            let layout = Self::layout(head.length as usize);
            // SAFETY: the last owner goes; the block was made with this layout. `H` is Copy, so
            // the head has nothing to drop.
            unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_see_one_record_and_clones_another() {
        let record = Record::new(1.5, [b"ab", b"c"]);
        let (shared, copy) = (record.share(), record.clone());
        shared.set_extra(2.5);
        drop(shared);
        assert_eq!((record.bytes(), record.extra()), (&b"abc"[..], 2.5));
        assert_eq!((copy.bytes(), copy.extra()), (&b"abc"[..], 1.5));
        assert_eq!(Record::new((), [b"", b""]).bytes(), b"");
    }
}
