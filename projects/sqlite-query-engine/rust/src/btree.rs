//! Table and index b-trees: pages, cells, overflow chains, and a cursor that yields runs of cells.
//!
//! Nothing on a page is trusted. The header is checked when the page is entered, each cell pointer
//! when it is followed, and two budgets bound any walk: the depth of the tree, and the number of
//! pages visited against the number of pages in the file. A loop of pages therefore ends in an error.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::pager::{HEADER_BYTES, Pager};
use crate::record::varint;

/// Deeper than any valid tree: the format's limits allow less than 20 levels.
const MAX_DEPTH: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    Table,
    Index,
}

/// One checked b-tree page.
#[derive(Clone, Copy)]
pub struct Page<'m> {
    pub number: u32,
    pub cells: usize,
    is_leaf: bool,
    kind: TreeKind,
    bytes: &'m [u8],
    pointers_at: usize,
    right_child: u32,
    /// A payload of up to so many bytes is wholly on its page, whatever the kind of page.
    always_local: usize,
}

/// One table row or index entry: where it is, and the part of its payload on the page.
#[derive(Clone, Copy)]
pub struct Cell<'m> {
    pub page: u32,
    pub index: usize,
    /// 0 in an index.
    pub rowid: i64,
    pub payload_bytes: usize,
    pub local: &'m [u8],
    first_overflow: u32,
}

impl Cell<'_> {
    pub fn is_whole(&self) -> bool {
        self.local.len() == self.payload_bytes
    }

    #[cold]
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::cell(self.page, self.index, message)
    }
}

impl<'m> Page<'m> {
    fn parse(pager: &'m Pager, number: u32, kind: TreeKind) -> Result<Self> {
        let bytes = pager.page(number)?;
        let header_at = if number == 1 { HEADER_BYTES } else { 0 };
        let header = &bytes[header_at..]; // a page has at least 480 usable bytes
        let (page_kind, is_leaf) = match header[0] {
            2 => (TreeKind::Index, false),
            5 => (TreeKind::Table, false),
            10 => (TreeKind::Index, true),
            13 => (TreeKind::Table, true),
            other => return Err(Error::page(number, format_args!("type {other} is not a b-tree page"))),
        };
        if page_kind != kind {
            return Err(Error::page(number, format_args!("is part of another kind of b-tree than {kind:?}")));
        }
        let cells = u16::from_be_bytes([header[3], header[4]]) as usize;
        let pointers_at = header_at + if is_leaf { 8 } else { 12 };
        if pointers_at + 2 * cells > bytes.len() {
            return Err(Error::page(number, format_args!("{cells} cells do not fit the page")));
        }
        let right_child = if is_leaf { 0 } else { u32_at(header, 8) };
        let always_local = (bytes.len() - 12) * 64 / 255 - 23;
        Ok(Self { number, cells, is_leaf, kind, bytes, pointers_at, right_child, always_local })
    }

    /// Where cell `index` begins; `index` must be below `cells`.
    #[inline]
    fn cell_at(&self, index: usize) -> Result<usize> {
        let pointer = self.pointers_at + 2 * index;
        let at = u16::from_be_bytes([self.bytes[pointer], self.bytes[pointer + 1]]) as usize;
        // Four bytes are the smallest cell, so a child pointer can be read without another check.
        if at < self.pointers_at + 2 * self.cells || at + 4 > self.bytes.len() {
            return Err(Error::cell(
                self.number,
                index,
                format_args!("offset {at} is outside the page's content"),
            ));
        }
        Ok(at)
    }

    fn child(&self, index: usize) -> Result<u32> {
        if index == self.cells {
            return Ok(self.right_child);
        }
        Ok(u32_at(self.bytes, self.cell_at(index)?))
    }

    #[cold]
    fn cut_off(&self, index: usize) -> Error {
        Error::cell(self.number, index, "runs over the end of the page")
    }

    /// The key of a table page's cell: the rowid of a row, or the upper bound of a child.
    #[inline]
    pub fn rowid(&self, index: usize) -> Result<i64> {
        let mut at = self.cell_at(index)?;
        if self.is_leaf {
            let (_, taken) = varint(&self.bytes[at..]).ok_or_else(|| self.cut_off(index))?;
            at += taken;
        } else {
            at += 4;
        }
        let (rowid, _) = varint(&self.bytes[at..]).ok_or_else(|| self.cut_off(index))?;
        Ok(rowid as i64)
    }

    /// The page's bytes and the place of the cell's record in them, if the record is small and whole.
    /// None is no verdict: `cell` finds out what is the matter.
    ///
    /// Free of branches on the lengths, which differ from row to row and would be guessed wrong.
    #[inline(always)] // in the hottest loop
    pub fn small_record(&self, index: usize) -> Option<(&'m [u8], Range<usize>)> {
        const LAST_BYTES: u64 = 0x8080_8080_8080_8080; // a varint ends at a byte without the top bit
        let bytes = self.bytes;
        let pointer = self.pointers_at + 2 * index;
        let at = u16::from_be_bytes([*bytes.get(pointer)?, *bytes.get(pointer + 1)?]) as usize;
        if at < self.pointers_at + 2 * self.cells || !self.is_leaf {
            return None;
        }
        let head = u64::from_le_bytes(*bytes.get(at..at + 8)?.first_chunk()?);
        let ends = !head & LAST_BYTES;
        let size_length = ends.trailing_zeros() as usize / 8 + 1;
        let both_length = (ends & ends.wrapping_sub(1)).trailing_zeros() as usize / 8 + 1;
        let one_byte = (head & 0x7f) as usize;
        let two_bytes = one_byte << 7 | (head >> 8 & 0x7f) as usize;
        let record_bytes = if size_length == 1 { one_byte } else { two_bytes };
        let start = at + if self.kind == TreeKind::Table { both_length } else { size_length };
        let end = start + record_bytes;
        let is_small = (size_length <= 2) & (both_length <= 8) & (record_bytes <= self.always_local);
        if !is_small || record_bytes == 0 || end > bytes.len() {
            return None;
        }
        Some((bytes, start..end))
    }

    /// The row or entry of cell `index`. Interior pages of a table have none.
    #[inline]
    pub fn cell(&self, pager: &Pager, index: usize) -> Result<Cell<'m>> {
        let mut at = self.cell_at(index)?;
        if !self.is_leaf {
            at += 4;
        }
        let (payload_bytes, taken) = varint(&self.bytes[at..]).ok_or_else(|| self.cut_off(index))?;
        at += taken;
        let mut rowid = 0;
        if self.kind == TreeKind::Table {
            let (value, taken) = varint(&self.bytes[at..]).ok_or_else(|| self.cut_off(index))?;
            rowid = value as i64;
            at += taken;
        }
        let rest = &self.bytes[at..];
        if payload_bytes <= self.always_local as u64 {
            let Some(local) = rest.get(..payload_bytes as usize) else { return Err(self.cut_off(index)) };
            return Ok(Cell {
                page: self.number,
                index,
                rowid,
                payload_bytes: local.len(),
                local,
                first_overflow: 0,
            });
        }
        self.large_cell(pager, index, rowid, payload_bytes, rest)
    }

    #[cold]
    fn large_cell(
        &self,
        pager: &Pager,
        index: usize,
        rowid: i64,
        payload_bytes: u64,
        rest: &'m [u8],
    ) -> Result<Cell<'m>> {
        let usable = self.bytes.len();
        if payload_bytes > u64::from(pager.page_count()) * usable as u64 || payload_bytes > i32::MAX as u64 {
            return Err(Error::cell(
                self.number,
                index,
                format_args!("payload of {payload_bytes} bytes is larger than the file"),
            ));
        }
        let payload_bytes = payload_bytes as usize;
        let max_local = match self.kind {
            TreeKind::Table => usable - 35,
            TreeKind::Index => (usable - 12) * 64 / 255 - 23,
        };
        if payload_bytes <= max_local {
            let local = rest.get(..payload_bytes).ok_or_else(|| self.cut_off(index))?;
            return Ok(Cell { page: self.number, index, rowid, payload_bytes, local, first_overflow: 0 });
        }
        let min_local = (usable - 12) * 32 / 255 - 23;
        let wanted = min_local + (payload_bytes - min_local) % (usable - 4);
        let local_bytes = if wanted <= max_local { wanted } else { min_local };
        let local_and_pointer = rest.get(..local_bytes + 4).ok_or_else(|| self.cut_off(index))?;
        let (local, _) = local_and_pointer.split_at(local_bytes);
        let first_overflow = u32_at(local_and_pointer, local_bytes);
        Ok(Cell { page: self.number, index, rowid, payload_bytes, local, first_overflow })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads overflow chains, and keeps count: a chain belongs to one cell, so a walk over a tree
/// cannot meet many more overflow pages than the file has.
pub struct OverflowReader<'m> {
    pager: &'m Pager,
    pages_left: u64,
}

impl<'m> OverflowReader<'m> {
    pub fn new(pager: &'m Pager) -> Self {
        // Four times: a filter and a result may each read a row, from an index and from the table.
        Self { pager, pages_left: 4 * u64::from(pager.page_count()) + 64 }
    }

    /// Starts the count anew: for searches, which may meet the same entry many times.
    pub fn reset(&mut self) {
        *self = Self::new(self.pager);
    }

    /// Puts at least the first `wanted_bytes` of the payload into `payload`.
    pub fn read(&mut self, cell: &Cell<'_>, wanted_bytes: usize, payload: &mut Vec<u8>) -> Result<()> {
        payload.clear();
        payload.extend_from_slice(cell.local);
        let mut page = cell.first_overflow;
        while payload.len() < wanted_bytes.min(cell.payload_bytes) {
            if page == 0 {
                return Err(cell.error("overflow chain ends early"));
            }
            self.pages_left = self
                .pages_left
                .checked_sub(1)
                .ok_or_else(|| cell.error("overflow pages are shared or loop"))?;
            let bytes = self
                .pager
                .page(page)
                .map_err(|_| cell.error(format_args!("overflow page {page} is out of range")))?;
            let content = &bytes[4..];
            let missing = cell.payload_bytes - payload.len();
            payload.extend_from_slice(&content[..missing.min(content.len())]);
            page = u32_at(bytes, 0);
        }
        if payload.len() == cell.payload_bytes && page != 0 {
            return Err(cell.error("overflow chain is too long or loops"));
        }
        Ok(())
    }
}

/// Cells `cells` of a page, all of them in key order.
pub struct Run<'m> {
    pub page: Page<'m>,
    pub cells: Range<usize>,
}

struct Level<'m> {
    page: Page<'m>,
    /// In a leaf: cells from here on lie ahead, those before lie behind. In an interior page: the
    /// child that the level below is in.
    at: usize,
}

/// A position in a tree, between two entries, that moves in runs of cells. Runs, because the work
/// per row is so small that one call per row would show.
pub struct Cursor<'m> {
    pager: &'m Pager,
    root: u32,
    kind: TreeKind,
    levels: Vec<Level<'m>>,
    pages_left: u64,
}

impl<'m> Cursor<'m> {
    pub fn pager(&self) -> &'m Pager {
        self.pager
    }

    pub fn new(pager: &'m Pager, root: u32, kind: TreeKind) -> Self {
        Self { pager, root, kind, levels: Vec::with_capacity(MAX_DEPTH), pages_left: 0 }
    }

    fn enter(&mut self, number: u32) -> Result<Page<'m>> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(Error::page(
                number,
                format_args!("b-tree is deeper than {MAX_DEPTH} levels, its pages loop"),
            ));
        }
        self.pages_left =
            self.pages_left.checked_sub(1).ok_or_else(|| Error::page(number, "b-tree pages loop"))?;
        Page::parse(self.pager, number, self.kind)
    }

    /// Moves to the first entry for which `is_ahead` holds; it must hold for all later ones too.
    pub fn seek(&mut self, mut is_ahead: impl FnMut(&Page<'m>, usize) -> Result<bool>) -> Result<()> {
        self.levels.clear();
        self.pages_left = u64::from(self.pager.page_count());
        let mut number = self.root;
        loop {
            let page = self.enter(number)?;
            let at = partition(&page, 0..page.cells, |cell| is_ahead(&page, cell))?;
            self.levels.push(Level { page, at });
            if page.is_leaf {
                return Ok(());
            }
            number = page.child(at)?;
        }
    }

    pub fn seek_first(&mut self) -> Result<()> {
        self.seek(|_, _| Ok(true))
    }

    pub fn seek_end(&mut self) -> Result<()> {
        self.seek(|_, _| Ok(false))
    }

    /// The entries ahead that are together on one page, or None at the end.
    pub fn next_run(&mut self) -> Result<Option<Run<'m>>> {
        while let Some(level) = self.levels.last_mut() {
            let (page, at) = (level.page, level.at);
            if page.is_leaf {
                self.levels.pop();
                if at < page.cells {
                    return Ok(Some(Run { page, cells: at..page.cells }));
                }
            } else if at == page.cells {
                self.levels.pop();
            } else {
                level.at += 1;
                if at + 2 <= page.cells {
                    self.pager.prefetch(page.child(at + 2)?);
                }
                self.descend(page.child(at + 1)?, false)?;
                if self.kind == TreeKind::Index {
                    return Ok(Some(Run { page, cells: at..at + 1 }));
                }
            }
        }
        Ok(None)
    }

    /// The entries behind that are together on one page; the caller walks them backwards.
    pub fn previous_run(&mut self) -> Result<Option<Run<'m>>> {
        while let Some(level) = self.levels.last_mut() {
            let (page, at) = (level.page, level.at);
            if page.is_leaf {
                self.levels.pop();
                if at > 0 {
                    return Ok(Some(Run { page, cells: 0..at }));
                }
            } else if at == 0 {
                self.levels.pop();
            } else {
                level.at -= 1;
                self.descend(page.child(at - 1)?, true)?;
                if self.kind == TreeKind::Index {
                    return Ok(Some(Run { page, cells: at - 1..at }));
                }
            }
        }
        Ok(None)
    }

    fn descend(&mut self, mut number: u32, to_end: bool) -> Result<()> {
        loop {
            let page = self.enter(number)?;
            let at = if to_end { page.cells } else { 0 };
            self.levels.push(Level { page, at });
            if page.is_leaf {
                return Ok(());
            }
            number = page.child(at)?;
        }
    }
}

/// The first cell of the range for which `is_ahead` holds, or the range's end.
pub fn partition(
    page: &Page<'_>,
    cells: Range<usize>,
    mut is_ahead: impl FnMut(usize) -> Result<bool>,
) -> Result<usize> {
    debug_assert!(cells.end <= page.cells);
    let (mut low, mut high) = (cells.start, cells.end);
    while low < high {
        let middle = low.midpoint(high);
        if is_ahead(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// Finds single rows of a table. Remembers the last leaf, since neighbours are often asked for.
pub struct RowFinder<'m> {
    pager: &'m Pager,
    root: u32,
    last_leaf: Option<(Page<'m>, i64, i64)>,
}

impl<'m> RowFinder<'m> {
    pub fn new(pager: &'m Pager, root: u32) -> Self {
        Self { pager, root, last_leaf: None }
    }

    pub fn find(&mut self, rowid: i64) -> Result<Option<Cell<'m>>> {
        let leaf = match self.last_leaf {
            Some((page, first, last)) if first <= rowid && rowid <= last => page,
            _ => self.leaf_of(rowid)?,
        };
        let at = partition(&leaf, 0..leaf.cells, |cell| Ok(leaf.rowid(cell)? >= rowid))?;
        if at == leaf.cells || leaf.rowid(at)? != rowid {
            return Ok(None);
        }
        leaf.cell(self.pager, at).map(Some)
    }

    fn leaf_of(&mut self, rowid: i64) -> Result<Page<'m>> {
        let mut number = self.root;
        for _ in 0..MAX_DEPTH {
            let page = Page::parse(self.pager, number, TreeKind::Table)?;
            if page.is_leaf {
                if page.cells > 0 {
                    self.last_leaf = Some((page, page.rowid(0)?, page.rowid(page.cells - 1)?));
                }
                return Ok(page);
            }
            let at = partition(&page, 0..page.cells, |cell| Ok(page.rowid(cell)? >= rowid))?;
            number = page.child(at)?;
        }
        Err(Error::page(number, format_args!("b-tree is deeper than {MAX_DEPTH} levels, its pages loop")))
    }
}
