//! Runs a plan: visit the entries, filter, group, sort, limit, render.

use std::ops::ControlFlow;

use hashbrown::HashSet;

use crate::aggregate::Groups;
use crate::btree::{Cell, Cursor, OverflowReader, Page, RowFinder, TreeKind, partition};
use crate::error::Result;
use crate::eval::{ColumnSource, Context, Expr, Layout, Row};
use crate::filter::{Filter, Quick, UNSURE};
use crate::key::{self, SortOrder};
use crate::output::Answer;
use crate::pager::Pager;
use crate::planner::{Access, IndexAccess, Plan};
use crate::record::{BadRecord, Fields, KeyOrder, compare_key, decode_int, header_bytes};
use crate::render::Format;
use crate::schema::{Index, IndexField, Table};
use crate::sorter::Sorter;
use crate::value::Value;

/// Writes the answer of `plan` and returns the number of entries that the scan gave to the filter.
pub fn execute(plan: &Plan<'_>, pager: &Pager, format: Format, answer: &mut Answer) -> Result<u64> {
    if let Some(lines) = &plan.explain {
        format.header(&["detail".to_owned()], &mut answer.buffer);
        for line in lines {
            format.separate(0, &mut answer.buffer);
            format.value(&Value::text(line.as_bytes()), &mut answer.buffer);
            format.end_row(&mut answer.buffer);
        }
        return Ok(0);
    }
    format.header(&plan.names, &mut answer.buffer);
    if plan.limit == Some(0) {
        return Ok(0);
    }
    let mut results = Results::new(plan, format, answer);
    let items = match plan.table {
        None => one_row(plan, &mut results)?,
        Some(table) if plan.is_aggregate => scan_groups(plan, table, pager, &mut results)?,
        Some(table) => scan_rows(plan, table, pager, &mut results)?,
    };
    results.finish()?;
    Ok(items)
}

/// SELECT without FROM: the expressions once, over nothing.
fn one_row(plan: &Plan<'_>, results: &mut Results<'_, '_>) -> Result<u64> {
    let context = Context::Nothing;
    for filter in &plan.filters {
        if !filter.accepts(&context)? {
            if !plan.is_aggregate {
                return Ok(0);
            }
            Groups::new(plan).finish(|group| results.add(group))?;
            return Ok(0);
        }
    }
    if plan.is_aggregate {
        let mut groups = Groups::new(plan);
        groups.add(&context)?;
        groups.finish(|group| results.add(group))?;
    } else {
        let _ = results.add(&context)?;
    }
    Ok(0)
}

fn scan_rows(plan: &Plan<'_>, table: &Table, pager: &Pager, results: &mut Results<'_, '_>) -> Result<u64> {
    scan(plan, table, pager, |row| results.add(&Context::Row(row)))
}

fn scan_groups(plan: &Plan<'_>, table: &Table, pager: &Pager, results: &mut Results<'_, '_>) -> Result<u64> {
    let mut groups = Groups::new(plan);
    let items = if groups.only_count_rows {
        let (items, rows) = count_rows(plan, table, pager)?;
        groups.add_rows(rows);
        items
    } else {
        scan(plan, table, pager, |row| {
            groups.add(&Context::Row(row))?;
            Ok(ControlFlow::Continue(()))
        })?
    };
    groups.finish(|group| results.add(group))?;
    Ok(items)
}

/// The number of entries that the scan visits, and of those that pass the filter.
fn count_rows(plan: &Plan<'_>, table: &Table, pager: &Pager) -> Result<(u64, u64)> {
    let scan = Scan::new(plan, table, pager);
    let mut steps = RowSteps::new(plan, pager);
    let (mut items, mut rows) = (0, 0);
    if !scan.is_direct() {
        scan.for_each(|cell| {
            items += 1;
            let verdict = steps.filter.quick(cell);
            rows += u64::from(steps.keeps(cell, verdict)?);
            Ok(ControlFlow::Continue(()))
        })?;
        return Ok((items, rows));
    }
    let mut selected = Vec::new();
    scan.for_each_run(|page, cells| {
        items += cells.len() as u64;
        if steps.filter.is_empty() {
            rows += cells.len() as u64; // whole pages are counted, cells not looked at
            return Ok(ControlFlow::Continue(()));
        }
        steps.filter.select(page, cells, &mut selected);
        if steps.filter.is_quick() && selected.iter().all(|&mark| mark < UNSURE) {
            rows += selected.len() as u64;
            return Ok(ControlFlow::Continue(()));
        }
        for &mark in &selected {
            let (index, verdict) = unmark(mark);
            rows += u64::from(steps.keeps(&page.cell(pager, index)?, verdict)?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((items, rows))
}

/// Calls `keep` with every row that passes the filter, until it breaks. Returns the number of entries
/// that the filter was asked about.
fn scan(
    plan: &Plan<'_>,
    table: &Table,
    pager: &Pager,
    mut keep: impl FnMut(Row<'_>) -> Result<ControlFlow<()>>,
) -> Result<u64> {
    let scan = Scan::new(plan, table, pager);
    let mut steps = RowSteps::new(plan, pager);
    let mut items = 0;
    if !scan.is_direct() {
        scan.for_each(|cell| {
            items += 1;
            let verdict = steps.filter.quick(cell);
            if steps.keeps(cell, verdict)? { keep(steps.row(cell)?) } else { Ok(ControlFlow::Continue(())) }
        })?;
        return Ok(items);
    }
    let mut selected = Vec::new();
    scan.for_each_run(|page, cells| {
        steps.filter.select(page, cells.clone(), &mut selected);
        let mut visit = |&mark: &u16| {
            let (index, verdict) = unmark(mark);
            let cell = page.cell(pager, index)?;
            if !steps.keeps(&cell, verdict)? || keep(steps.row(&cell)?)?.is_continue() {
                return Ok(ControlFlow::Continue(()));
            }
            // The rows after this one were never asked for.
            items += if plan.reverse { cells.end - index } else { index + 1 - cells.start } as u64;
            Ok(ControlFlow::Break(()))
        };
        let flow = in_direction(selected.iter(), plan.reverse, &mut visit)?;
        items += if flow.is_continue() { cells.len() as u64 } else { 0 };
        Ok(flow)
    })?;
    Ok(items)
}

fn unmark(mark: u16) -> (usize, Quick) {
    let verdict = if mark < UNSURE { Quick::Passed } else { Quick::Unsure };
    ((mark & !UNSURE) as usize, verdict)
}

/// What happens to a row that the field tests did not reject.
struct RowSteps<'m, 'p> {
    filter: Filter<'p>,
    needs: StepNeeds,
    reader: RowReader<'m, 'p>,
}

impl<'m, 'p> RowSteps<'m, 'p>
where
    'm: 'p,
{
    fn new(plan: &'p Plan<'_>, pager: &'m Pager) -> Self {
        let needs = Needs::of(plan);
        let reader = RowReader::new(pager, &plan.layout, needs.all.count);
        Self { filter: Filter::new(&plan.filters, &plan.layout), needs, reader }
    }

    /// Whether the row passes the conditions that the field tests left open.
    #[inline]
    fn keeps(&mut self, cell: &Cell<'m>, verdict: Quick) -> Result<bool> {
        self.reader.start(cell)?;
        match verdict {
            Quick::Rejected => Ok(false),
            Quick::Passed if self.filter.is_quick() => Ok(true),
            Quick::Passed => self.filter.accepts_rest(&self.reader.row(cell, &self.needs.filters)?),
            Quick::Unsure if self.filter.is_empty() => Ok(true),
            Quick::Unsure => self.filter.accepts(&self.reader.row(cell, &self.needs.filters)?),
        }
    }

    /// The row of the cell given to `keeps`, with everything that the query needs.
    #[inline]
    fn row(&mut self, cell: &Cell<'m>) -> Result<Row<'_>> {
        self.reader.row(cell, &self.needs.all)
    }
}

/// The fields that a step needs from each record.
struct Needs {
    /// Fields of the header to walk.
    count: usize,
    /// Fields whose content is looked at.
    content: Vec<usize>,
}

struct StepNeeds {
    filters: Needs,
    all: Needs,
}

impl Needs {
    fn of(plan: &Plan<'_>) -> StepNeeds {
        let mut filters = Self { count: 0, content: Vec::new() };
        for filter in &plan.filters {
            filters.add(filter, &plan.layout);
        }
        let mut all = Self { count: filters.count, content: filters.content.clone() };
        plan.walk_after_filter(&mut |e| all.add_one(e, &plan.layout));
        StepNeeds { filters, all }
    }

    fn add(&mut self, expr: &Expr, layout: &Layout) {
        expr.walk(&mut |e| self.add_one(e, layout));
    }

    fn add_one(&mut self, expr: &Expr, layout: &Layout) {
        let source = match expr {
            Expr::Column(column) => &layout.columns[*column],
            Expr::Rowid => &layout.rowid,
            _ => return,
        };
        if let ColumnSource::Field { index, .. } = source {
            self.count = self.count.max(index + 1);
            if !self.content.contains(index) {
                self.content.push(*index);
            }
        }
    }
}

/// Decodes records as far as a step needs them; buffers are reused from row to row.
struct RowReader<'m, 'p> {
    layout: &'p Layout,
    fields: Fields,
    overflow: OverflowReader<'m>,
    payload: Vec<u8>,
}

impl<'m, 'p> RowReader<'m, 'p> {
    fn new(pager: &'m Pager, layout: &'p Layout, fields: usize) -> Self {
        Self {
            layout,
            fields: Fields::with_capacity(fields),
            overflow: OverflowReader::new(pager),
            payload: Vec::new(),
        }
    }

    #[inline]
    fn start(&mut self, cell: &Cell<'m>) -> Result<()> {
        if !cell.is_whole() {
            return self.start_large(cell);
        }
        self.fields.start(cell.local, cell.payload_bytes).map_err(|e| cell.error(e.0))
    }

    #[cold]
    fn start_large(&mut self, cell: &Cell<'m>) -> Result<()> {
        let header_bytes = header_bytes(cell.local).ok_or_else(|| cell.error("record is empty"))?;
        self.overflow.read(cell, header_bytes, &mut self.payload)?;
        self.fields.start(&self.payload, cell.payload_bytes).map_err(|e| cell.error(e.0))
    }

    /// The row of the cell given to `start`, decoded for `needs`.
    #[inline]
    fn row(&mut self, cell: &Cell<'m>, needs: &Needs) -> Result<Row<'_>>
    where
        'm: 'p,
    {
        let payload = if cell.is_whole() {
            self.fields.extend(cell.local, cell.payload_bytes, needs.count).map_err(|e| cell.error(e.0))?;
            cell.local
        } else {
            self.extend_large(cell, needs)?;
            &self.payload
        };
        Ok(Row {
            layout: self.layout,
            types: &self.fields.types,
            starts: &self.fields.starts,
            payload,
            rowid: cell.rowid,
        })
    }

    #[cold]
    fn extend_large(&mut self, cell: &Cell<'m>, needs: &Needs) -> Result<()> {
        self.fields.extend(&self.payload, cell.payload_bytes, needs.count).map_err(|e| cell.error(e.0))?;
        let wanted = needs.content.iter().map(|&field| self.fields.end_of(field)).max().unwrap_or(0);
        if wanted > self.payload.len() {
            self.overflow.read(cell, wanted, &mut self.payload)?;
        }
        Ok(())
    }
}

/// The entries of a plan's access, one after the other.
struct Scan<'m, 'p> {
    plan: &'p Plan<'p>,
    table: &'p Table,
    pager: &'m Pager,
}

impl<'m, 'p> Scan<'m, 'p> {
    fn new(plan: &'p Plan<'p>, table: &'p Table, pager: &'m Pager) -> Self {
        Self { plan, table, pager }
    }

    fn for_each(&self, mut visit: impl FnMut(&Cell<'m>) -> Result<ControlFlow<()>>) -> Result<()> {
        match &self.plan.access {
            Access::OneRow => Ok(()),
            Access::Rowids(rowids) => {
                let mut finder = RowFinder::new(self.pager, self.table.root);
                let mut visit = |rowid: i64| match finder.find(rowid)? {
                    Some(cell) => visit(&cell),
                    None => Ok(ControlFlow::Continue(())),
                };
                let _ = in_direction(rowids.iter().copied(), self.plan.reverse, &mut visit)?;
                Ok(())
            }
            Access::Index(access) if !access.is_covering => self.for_each_row_of_index(access, visit),
            _ => self.for_each_run(|page, cells| {
                let mut visit = |index: usize| visit(&page.cell(self.pager, index)?);
                in_direction(cells, self.plan.reverse, &mut visit)
            }),
        }
    }

    /// The records that the query reads are those of the tree that is walked.
    fn is_direct(&self) -> bool {
        match &self.plan.access {
            Access::OneRow | Access::Rowids(_) => false,
            Access::RowidRange { .. } => true,
            Access::Index(access) => access.is_covering,
        }
    }

    /// Looks up the table's row for every entry of an index that does not cover the query.
    fn for_each_row_of_index(
        &self,
        access: &IndexAccess,
        mut visit: impl FnMut(&Cell<'m>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let index = &self.table.indexes[access.index];
        let mut entries = EntryReader::new(self.pager);
        let mut rows = RowFinder::new(self.pager, self.table.root);
        let mut primary = Cursor::new(self.pager, self.table.root, TreeKind::Index);
        let mut primary_entries = EntryReader::new(self.pager);
        self.for_each_run(|page, cells| {
            let mut visit =
                |number: usize| {
                    let entry = page.cell(self.pager, number)?;
                    let found = if self.table.without_rowid {
                        let key = entries.primary_key(&entry, index, &self.table.indexes[0])?;
                        primary_entries.find(&mut primary, &key, &self.table.indexes[0].order)?
                    } else {
                        rows.find(entries.rowid(&entry, index.fields.len())?)?
                    };
                    match found {
                        Some(cell) => visit(&cell),
                        None => Err(entry
                            .error(format_args!("index {} points to a row that does not exist", index.name))),
                    }
                };
            in_direction(cells, self.plan.reverse, &mut visit)
        })
    }

    /// Calls `visit` with every run of entries inside the bounds, in the plan's direction.
    fn for_each_run(
        &self,
        mut visit: impl FnMut(&Page<'m>, std::ops::Range<usize>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        match &self.plan.access {
            Access::RowidRange { low, high, .. } => {
                let mut cursor = Cursor::new(self.pager, self.table.root, TreeKind::Table);
                let bounds = Bounds {
                    is_inside: |page: &Page<'m>, cell: usize| Ok(page.rowid(cell)? >= *low),
                    is_beyond: |page: &Page<'m>, cell: usize| Ok(page.rowid(cell)? > *high),
                    has_start: *low != i64::MIN,
                    has_end: *high != i64::MAX,
                };
                if low <= high {
                    let _ = bounds.walk(&mut cursor, self.plan.reverse, &mut visit)?;
                }
                Ok(())
            }
            Access::Index(access) => {
                let index = &self.table.indexes[access.index];
                let mut cursor = Cursor::new(self.pager, index.root, TreeKind::Index);
                let mut visit = |prefix: &Vec<Value<'static>>| {
                    self.walk_prefix(&mut cursor, access, index, prefix, &mut visit)
                };
                let _ = in_direction(access.prefixes.iter(), self.plan.reverse, &mut visit)?;
                Ok(())
            }
            Access::OneRow | Access::Rowids(_) => Ok(()),
        }
    }

    fn walk_prefix(
        &self,
        cursor: &mut Cursor<'m>,
        access: &IndexAccess,
        index: &Index,
        prefix: &[Value<'static>],
        visit: &mut impl FnMut(&Page<'m>, std::ops::Range<usize>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let (start, end) = key_bounds(access, index, prefix);
        let entries = std::cell::RefCell::new(EntryReader::new(self.pager));
        let compare = |page: &Page<'m>, cell: usize, key: &[Value<'_>]| {
            entries.borrow_mut().compare(&page.cell(self.pager, cell)?, key, &index.order)
        };
        let bounds = Bounds {
            is_inside: |page: &Page<'m>, cell: usize| {
                let order = compare(page, cell, &start.key)?;
                Ok(if start.is_inclusive { order.is_ge() } else { order.is_gt() })
            },
            is_beyond: |page: &Page<'m>, cell: usize| {
                let order = compare(page, cell, &end.key)?;
                Ok(if end.is_inclusive { order.is_gt() } else { order.is_ge() })
            },
            has_start: !start.key.is_empty(),
            has_end: !end.key.is_empty(),
        };
        bounds.walk(cursor, self.plan.reverse, visit)
    }
}

/// Calls `visit` for each element, forwards or backwards, until it breaks.
#[inline]
fn in_direction<T>(
    elements: impl DoubleEndedIterator<Item = T>,
    reverse: bool,
    visit: &mut impl FnMut(T) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    if reverse {
        for element in elements.rev() {
            if visit(element)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    } else {
        for element in elements {
            if visit(element)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// One end of an index range. An empty key is no bound.
struct KeyBound<'k> {
    key: Vec<Value<'k>>,
    is_inclusive: bool,
}

/// Both ends of the range, in the order of the index.
fn key_bounds<'k>(
    access: &'k IndexAccess,
    index: &Index,
    prefix: &'k [Value<'static>],
) -> (KeyBound<'k>, KeyBound<'k>) {
    let end_of = |bound: &'k Option<(Value<'static>, bool)>| {
        let mut key: Vec<Value<'k>> = prefix.iter().map(Value::borrowed).collect();
        let mut is_inclusive = true;
        if let Some((value, inclusive)) = bound {
            key.push(value.borrowed());
            is_inclusive = *inclusive;
        }
        KeyBound { key, is_inclusive }
    };
    let mut low = end_of(&access.lower);
    let high = end_of(&access.upper);
    if access.lower.is_none() && access.upper.is_some() {
        // NULLs sort below every value, and are not less than any.
        low.key.push(Value::Null);
        low.is_inclusive = false;
    }
    let is_descending = index.order.get(prefix.len()).is_some_and(|order| order.descending);
    if is_descending { (high, low) } else { (low, high) }
}

/// A range of a tree, as two conditions that each become true once and stay so.
struct Bounds<S, E> {
    /// True from the first entry of the range on.
    is_inside: S,
    /// True from the first entry after the range on.
    is_beyond: E,
    has_start: bool,
    has_end: bool,
}

impl<'m, S, E> Bounds<S, E>
where
    S: FnMut(&Page<'m>, usize) -> Result<bool>,
    E: FnMut(&Page<'m>, usize) -> Result<bool>,
{
    fn walk(
        mut self,
        cursor: &mut Cursor<'m>,
        reverse: bool,
        visit: &mut impl FnMut(&Page<'m>, std::ops::Range<usize>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if reverse { self.walk_backwards(cursor, visit) } else { self.walk_forwards(cursor, visit) }
    }

    fn walk_forwards(
        &mut self,
        cursor: &mut Cursor<'m>,
        visit: &mut impl FnMut(&Page<'m>, std::ops::Range<usize>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if self.has_start {
            cursor.seek(&mut self.is_inside)?;
        } else {
            cursor.seek_first()?;
        }
        while let Some(run) = cursor.next_run()? {
            let mut cells = run.cells;
            let mut is_last = false;
            // Only the last entry of a run needs a look, unless the range ends here.
            if self.has_end && (self.is_beyond)(&run.page, cells.end - 1)? {
                is_last = true;
                cells.end = partition(&run.page, cells.clone(), |cell| (self.is_beyond)(&run.page, cell))?;
            }
            if visit(&run.page, cells)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if is_last {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn walk_backwards(
        &mut self,
        cursor: &mut Cursor<'m>,
        visit: &mut impl FnMut(&Page<'m>, std::ops::Range<usize>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if self.has_end {
            cursor.seek(&mut self.is_beyond)?;
        } else {
            cursor.seek_end()?;
        }
        while let Some(run) = cursor.previous_run()? {
            let mut cells = run.cells;
            let mut is_last = false;
            if self.has_start && !(self.is_inside)(&run.page, cells.start)? {
                is_last = true;
                cells.start = partition(&run.page, cells.clone(), |cell| (self.is_inside)(&run.page, cell))?;
            }
            if visit(&run.page, cells)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if is_last {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Reads whole index entries.
struct EntryReader<'m> {
    overflow: OverflowReader<'m>,
    payload: Vec<u8>,
    fields: Fields,
}

impl<'m> EntryReader<'m> {
    fn new(pager: &'m Pager) -> Self {
        Self { overflow: OverflowReader::new(pager), payload: Vec::new(), fields: Fields::default() }
    }

    fn load<'s>(&'s mut self, entry: &Cell<'m>) -> Result<&'s [u8]>
    where
        'm: 's,
    {
        if entry.is_whole() {
            return Ok(entry.local);
        }
        self.overflow.read(entry, entry.payload_bytes, &mut self.payload)?;
        Ok(&self.payload)
    }

    fn compare(
        &mut self,
        entry: &Cell<'m>,
        key: &[Value<'_>],
        order: &[KeyOrder],
    ) -> Result<std::cmp::Ordering> {
        // The fields of the key are at the front, most often before the overflow.
        if let Ok(found) = compare_key(entry.local, key, order) {
            return Ok(found);
        }
        self.overflow.reset();
        compare_key(self.load(entry)?, key, order).map_err(|e| entry.error(e.0))
    }

    /// The last field of an index on a rowid table.
    fn rowid(&mut self, entry: &Cell<'m>, fields: usize) -> Result<i64> {
        let row = self.decode(entry, fields)?;
        let rowid = row.types.last().filter(|_| row.types.len() == fields).and_then(|&serial_type| {
            let start = row.starts[fields - 1] as usize;
            decode_int(serial_type, row.payload.get(start..)?)
        });
        rowid.ok_or_else(|| entry.error("index entry has no rowid"))
    }

    fn decode<'s>(&'s mut self, entry: &Cell<'m>, fields: usize) -> Result<Record<'s>>
    where
        'm: 's,
    {
        let bad = |e: BadRecord| entry.error(e.0);
        if !entry.is_whole() {
            self.overflow.read(entry, entry.payload_bytes, &mut self.payload)?;
        }
        let payload = if entry.is_whole() { entry.local } else { &self.payload };
        self.fields.start(payload, payload.len()).map_err(bad)?;
        self.fields.extend(payload, payload.len(), fields).map_err(bad)?;
        Ok(Record { types: &self.fields.types, starts: &self.fields.starts, payload })
    }

    /// The primary key that an entry of a secondary index carries.
    fn primary_key(
        &mut self,
        entry: &Cell<'m>,
        index: &Index,
        primary: &Index,
    ) -> Result<Vec<Value<'static>>> {
        let record = self.decode(entry, index.fields.len())?;
        let field_of = |column: &usize| index.fields.iter().position(|f| *f == IndexField::Column(*column));
        let values = primary.key.iter().map(|column| {
            let field = field_of(column).filter(|&f| f < record.types.len());
            let field = field.ok_or_else(|| entry.error("index entry has too few fields"))?;
            let bytes = record.payload.get(record.starts[field] as usize..).unwrap_or_default();
            Ok(crate::record::decode(record.types[field], bytes).into_owned())
        });
        values.collect()
    }

    /// The entry with exactly this key.
    fn find(
        &mut self,
        cursor: &mut Cursor<'m>,
        key: &[Value<'_>],
        order: &[KeyOrder],
    ) -> Result<Option<Cell<'m>>> {
        let pager = cursor.pager();
        cursor.seek(|page, cell| Ok(self.compare(&page.cell(pager, cell)?, key, order)?.is_ge()))?;
        let Some(run) = cursor.next_run()? else { return Ok(None) };
        let cell = run.page.cell(pager, run.cells.start)?;
        Ok(self.compare(&cell, key, order)?.is_eq().then_some(cell))
    }
}

struct Record<'s> {
    types: &'s [u32],
    starts: &'s [u32],
    payload: &'s [u8],
}

/// The way of a result row to the answer: HAVING, DISTINCT, ORDER BY, OFFSET and LIMIT.
struct Results<'p, 'o> {
    plan: &'p Plan<'p>,
    format: Format,
    answer: &'o mut Answer,
    distinct: Option<HashSet<Vec<u8>>>,
    sorter: Option<Sorter>,
    to_skip: u64,
    to_emit: u64,
    key: Vec<u8>,
}

impl<'p, 'o> Results<'p, 'o> {
    fn new(plan: &'p Plan<'p>, format: Format, answer: &'o mut Answer) -> Self {
        let to_emit = plan.limit.unwrap_or(u64::MAX);
        let sorter = (!plan.order_by.is_empty())
            .then(|| Sorter::new(plan.limit.map(|n| n.saturating_add(plan.offset))));
        Self {
            plan,
            format,
            answer,
            distinct: plan.distinct.then(HashSet::new),
            sorter,
            to_skip: plan.offset,
            to_emit,
            key: Vec::new(),
        }
    }

    /// Takes one row (or group); breaks when no more rows are wanted.
    #[inline]
    fn add(&mut self, context: &Context<'_>) -> Result<ControlFlow<()>> {
        if let Some(having) = &self.plan.having
            && !having.accepts(context)?
        {
            return Ok(ControlFlow::Continue(()));
        }
        if self.distinct.is_some() && !self.is_new(context)? {
            return Ok(ControlFlow::Continue(()));
        }
        if let Some(sorter) = &mut self.sorter {
            self.key.clear();
            for term in &self.plan.order_by {
                key::append(&term.expr.eval(context)?, term.order, &mut self.key);
            }
            if let Some(row) = sorter.slot(&self.key) {
                render(self.plan, self.format, context, row)?;
                sorter.fill();
            }
            return Ok(ControlFlow::Continue(()));
        }
        if self.to_skip > 0 {
            self.to_skip -= 1;
            return Ok(ControlFlow::Continue(()));
        }
        render(self.plan, self.format, context, &mut self.answer.buffer)?;
        self.answer.flush_if_full()?;
        self.to_emit -= 1;
        Ok(if self.to_emit == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn is_new(&mut self, context: &Context<'_>) -> Result<bool> {
        let Some(seen) = &mut self.distinct else { return Ok(true) };
        self.key.clear();
        for (output, collation) in self.plan.outputs.iter().zip(&self.plan.output_collations) {
            key::append(&output.eval(context)?, SortOrder::ascending(*collation), &mut self.key);
        }
        if seen.contains(self.key.as_slice()) {
            return Ok(false);
        }
        seen.insert(self.key.clone());
        Ok(true)
    }

    fn finish(self) -> Result<()> {
        let Some(sorter) = self.sorter else { return Ok(()) };
        let answer = self.answer;
        let first = usize::try_from(self.to_skip).unwrap_or(usize::MAX);
        let count = usize::try_from(self.to_emit).unwrap_or(usize::MAX);
        sorter.for_each_sorted(first, count, |row| {
            answer.buffer.extend_from_slice(row);
            answer.flush_if_full()
        })
    }
}

#[inline]
fn render(plan: &Plan<'_>, format: Format, context: &Context<'_>, out: &mut Vec<u8>) -> Result<()> {
    for (i, output) in plan.outputs.iter().enumerate() {
        format.separate(i, out);
        format.value(&output.eval(context)?, out);
    }
    format.end_row(out);
    Ok(())
}
