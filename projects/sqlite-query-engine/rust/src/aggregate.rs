//! GROUP BY and the aggregate functions.

use std::hash::BuildHasher;
use std::ops::ControlFlow;

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};

use crate::compile::{Aggregate, AggregateKind};
use crate::error::{Error, Result};
use crate::eval::{Context, Expr};
use crate::key::{self, SortOrder};
use crate::planner::Plan;
use crate::value::{Collation, Value};

/// The running state of one aggregate of one group.
#[derive(Default)]
struct State {
    count: u64,
    int_sum: i64,
    real_sum: f64,
    is_real: bool,
    overflowed: bool,
    best: Option<Value<'static>>,
    seen: Option<Box<HashSet<Vec<u8>>>>,
}

/// All groups so far. States and columns of group `g` are slices of two long vectors.
pub struct Groups<'p> {
    plan: &'p Plan<'p>,
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    keys: Vec<Vec<u8>>,
    states: Vec<State>,
    /// The columns outside of aggregates, from the representative row of each group.
    columns: Vec<Value<'static>>,
    bare_columns: Vec<usize>,
    needs_rowid: bool,
    /// MIN or MAX decides which row represents the group; otherwise it is the first.
    deciding: Option<usize>,
    key: Vec<u8>,
    last: Option<usize>,
    /// The query is `SELECT COUNT(*)` (perhaps with expressions over it).
    pub only_count_rows: bool,
}

impl<'p> Groups<'p> {
    pub fn new(plan: &'p Plan<'p>) -> Self {
        let mut bare_columns = Vec::new();
        let mut needs_rowid = false;
        let order = plan.order_by.iter().map(|term| &term.expr);
        for expr in plan.outputs.iter().chain(&plan.having).chain(order) {
            expr.walk(&mut |e| match e {
                Expr::Column(column) if !bare_columns.contains(column) => bare_columns.push(*column),
                Expr::Rowid => needs_rowid = true,
                _ => {}
            });
        }
        let is_extreme = |a: &Aggregate| matches!(a.kind, AggregateKind::Min | AggregateKind::Max);
        let only_count_rows = plan.group_by.is_empty()
            && bare_columns.is_empty()
            && !needs_rowid
            && plan.aggregates.iter().all(|a| a.kind == AggregateKind::Count && a.argument.is_none());
        Self {
            plan,
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            keys: Vec::new(),
            states: Vec::new(),
            columns: Vec::new(),
            bare_columns,
            needs_rowid,
            deciding: plan.aggregates.iter().rposition(is_extreme),
            key: Vec::new(),
            last: None,
            only_count_rows,
        }
    }

    /// Columns that a group keeps: all of the table's, and the rowid.
    fn width(&self) -> usize {
        self.plan.layout.columns.len() + 1
    }

    /// Counts `rows` rows at once; only for `only_count_rows`.
    pub fn add_rows(&mut self, rows: u64) {
        debug_assert!(self.only_count_rows);
        self.ensure_single_group();
        for state in &mut self.states {
            state.count += rows;
        }
    }

    fn ensure_single_group(&mut self) {
        if self.keys.is_empty() {
            self.new_group();
        }
    }

    fn new_group(&mut self) -> usize {
        self.keys.push(self.key.clone());
        self.states.extend(self.plan.aggregates.iter().map(|_| State::default()));
        if self.keeps_columns() {
            self.columns.extend(std::iter::repeat_n(Value::Null, self.width()));
        }
        self.keys.len() - 1
    }

    fn keeps_columns(&self) -> bool {
        self.needs_rowid || !self.bare_columns.is_empty()
    }

    pub fn add(&mut self, context: &Context<'_>) -> Result<()> {
        let known = self.keys.len();
        let group = self.group_of(context)?;
        let is_first = group == known;
        let mut represents = is_first && self.deciding.is_none();
        let first_state = group * self.plan.aggregates.len();
        for (number, aggregate) in self.plan.aggregates.iter().enumerate() {
            let is_new_best = self.states[first_state + number].add(aggregate, context)?;
            represents |= is_new_best && self.deciding == Some(number);
        }
        if represents && self.keeps_columns() {
            self.keep_columns(group, context);
        }
        Ok(())
    }

    fn group_of(&mut self, context: &Context<'_>) -> Result<usize> {
        if self.plan.group_by.is_empty() {
            self.ensure_single_group();
            return Ok(0);
        }
        self.key.clear();
        for (expr, collation) in &self.plan.group_by {
            key::append(&expr.eval(context)?, SortOrder::ascending(*collation), &mut self.key);
        }
        // Rows of one group often come together.
        if let Some(last) = self.last
            && self.keys[last] == self.key
        {
            return Ok(last);
        }
        let hash = self.hasher.hash_one(self.key.as_slice());
        let found = self.index.find(hash, |&group| self.keys[group] == self.key).copied();
        let group = found.unwrap_or_else(|| {
            let group = self.new_group();
            self.index.insert_unique(hash, group, |&g| self.hasher.hash_one(self.keys[g].as_slice()));
            group
        });
        self.last = Some(group);
        Ok(group)
    }

    fn keep_columns(&mut self, group: usize, context: &Context<'_>) {
        let width = self.width();
        let start = group * width;
        if let Context::Row(row) = context {
            for &column in &self.bare_columns {
                self.columns[start + column] = row.column(column).into_owned();
            }
            if self.needs_rowid {
                self.columns[start + width - 1] = row.rowid().into_owned();
            }
        }
    }

    /// Calls `emit` with the groups in the order of their keys, until it breaks.
    pub fn finish(mut self, mut emit: impl FnMut(&Context<'_>) -> Result<ControlFlow<()>>) -> Result<()> {
        if self.plan.group_by.is_empty() {
            self.ensure_single_group();
        }
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by(|&a, &b| self.keys[a].cmp(&self.keys[b]));
        let per_group = self.plan.aggregates.len();
        let width = if self.keeps_columns() { self.width() } else { 0 };
        let mut aggregates = Vec::with_capacity(per_group);
        for group in order {
            aggregates.clear();
            for (number, aggregate) in self.plan.aggregates.iter().enumerate() {
                aggregates.push(
                    std::mem::take(&mut self.states[group * per_group + number]).result(aggregate.kind)?,
                );
            }
            let columns = &self.columns[group * width..(group + 1) * width];
            if emit(&Context::Group { columns, aggregates: &aggregates })?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl State {
    /// Takes one row in. Tells whether the row holds the new minimum or maximum.
    fn add(&mut self, aggregate: &Aggregate, context: &Context<'_>) -> Result<bool> {
        let Some(argument) = &aggregate.argument else {
            self.count += 1;
            return Ok(false);
        };
        let value = argument.eval(context)?;
        if value.is_null() {
            // As in SQLite, a NULL represents the group until there is a value.
            return Ok(self.best.is_none());
        }
        if aggregate.distinct && !self.is_new(&value, aggregate.collation) {
            return Ok(false);
        }
        self.count += 1;
        match aggregate.kind {
            AggregateKind::Count => {}
            AggregateKind::Sum | AggregateKind::Total | AggregateKind::Average => self.add_number(value),
            AggregateKind::Min | AggregateKind::Max => {
                let is_better = self.best.as_ref().is_none_or(|best| {
                    let order = value.compare(best, aggregate.collation);
                    if aggregate.kind == AggregateKind::Min { order.is_lt() } else { order.is_gt() }
                });
                if is_better {
                    self.best = Some(value.into_owned());
                }
                return Ok(is_better);
            }
        }
        Ok(false)
    }

    fn is_new(&mut self, value: &Value<'_>, collation: Collation) -> bool {
        let mut key = Vec::new();
        key::append(value, SortOrder::ascending(collation), &mut key);
        self.seen.get_or_insert_default().insert(key)
    }

    #[inline]
    fn add_number(&mut self, value: Value<'_>) {
        match value.with_numeric_affinity() {
            Value::Int(i) => {
                self.real_sum += i as f64;
                if !self.is_real && !self.overflowed {
                    match self.int_sum.checked_add(i) {
                        Some(sum) => self.int_sum = sum,
                        None => self.overflowed = true,
                    }
                }
            }
            other => {
                self.real_sum += other.to_real();
                self.is_real = true;
            }
        }
    }

    fn result(self, kind: AggregateKind) -> Result<Value<'static>> {
        Ok(match kind {
            AggregateKind::Count => Value::Int(self.count as i64),
            AggregateKind::Total => Value::real(self.real_sum),
            AggregateKind::Sum | AggregateKind::Average if self.count == 0 => Value::Null,
            AggregateKind::Average => Value::real(self.real_sum / self.count as f64),
            AggregateKind::Sum if self.overflowed => return Err(Error::input("integer overflow")),
            AggregateKind::Sum if self.is_real => Value::real(self.real_sum),
            AggregateKind::Sum => Value::Int(self.int_sum),
            AggregateKind::Min | AggregateKind::Max => self.best.unwrap_or(Value::Null),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[Value<'static>]) -> Result<Value<'static>> {
        let mut state = State::default();
        for value in values {
            state.count += 1;
            state.add_number(value.clone());
        }
        state.result(AggregateKind::Sum)
    }

    #[test]
    fn sums() {
        let int = Value::Int;
        assert_eq!(sum(&[]).unwrap(), Value::Null);
        assert_eq!(sum(&[int(1), int(2)]).unwrap(), int(3));
        assert_eq!(sum(&[int(1), Value::Real(0.5)]).unwrap(), Value::Real(1.5));
        assert_eq!(sum(&[Value::text(&b"2"[..]), int(1)]).unwrap(), int(3));
        assert_eq!(sum(&[Value::text(&b"2x"[..]), int(1)]).unwrap(), Value::Real(3.0));
        assert_eq!(sum(&[int(i64::MAX), int(1)]).unwrap_err().to_string(), "integer overflow");
        assert!(matches!(sum(&[Value::Real(0.0), int(i64::MAX), int(1)]).unwrap(), Value::Real(_)));
        assert!(sum(&[int(i64::MAX), int(1), Value::Real(0.0)]).is_err());
    }
}
