//! What a row does to its group.

use crate::decimal::{Decimal, NotNumber, POW10};
use crate::failure::{escape, quote_value};
use crate::groups::{GroupTable, KeyFields, Probe, push_key};
use crate::plan::{Plan, ValueColumn};
use crate::record::Record;

/// What one group keeps of one aggregated column.
#[derive(Clone, Copy, Default)]
pub struct ColumnState {
    pub sum: i128,  // at scale
    pub count: u64, // values that are not empty
    // As written, each with its own scale: a row costs one comparison of machine words.
    min: i64,
    max: i64,
    pub scale: u8, // the largest seen in this group and column
    min_scale: u8,
    max_scale: u8,
}

/// A sum has left 128 bits.
#[derive(Debug)]
pub struct SumOutOfRange;

impl ColumnState {
    /// Takes one value in.
    #[inline]
    fn add(&mut self, value: Decimal, with_bounds: bool) -> std::result::Result<(), SumOutOfRange> {
        if with_bounds {
            self.widen(value);
        }
        self.count += 1;
        let mut wide = i128::from(value.mantissa);
        if value.scale != self.scale {
            wide = self.rescale(value)?;
        }
        self.sum = self.sum.checked_add(wide).ok_or(SumOutOfRange)?;
        Ok(())
    }

    /// Brings the value and the sum to the larger of their scales.
    #[cold]
    fn rescale(&mut self, value: Decimal) -> std::result::Result<i128, SumOutOfRange> {
        if value.scale < self.scale {
            return Ok(value.at_scale(self.scale));
        }
        let factor = i128::from(POW10[usize::from(value.scale - self.scale)]);
        self.sum = self.sum.checked_mul(factor).ok_or(SumOutOfRange)?;
        self.scale = value.scale;
        Ok(i128::from(value.mantissa))
    }

    #[inline]
    fn widen(&mut self, value: Decimal) {
        let first = self.count == 0;
        if first || value < self.min() {
            (self.min, self.min_scale) = (value.mantissa, value.scale);
        }
        if first || value > self.max() {
            (self.max, self.max_scale) = (value.mantissa, value.scale);
        }
    }

    pub fn min(&self) -> Decimal {
        Decimal {
            mantissa: self.min,
            scale: self.min_scale,
        }
    }

    pub fn max(&self) -> Decimal {
        Decimal {
            mantissa: self.max,
            scale: self.max_scale,
        }
    }
}

/// What is wrong with the numbers of a row whose structure is sound: the column,
/// and why it is no number. The error policy decides.
pub struct BadNumber(pub usize, pub NotNumber);

/// What no policy can skip: where the record starts, and what is wrong.
pub struct Fatal(pub usize, pub String);

/// How many rows wait until their groups are looked up side by side.
const BATCH_ROWS: usize = 16;

/// Filters rows and adds them to their groups.
pub struct Aggregator {
    pub plan: Plan,
    pub table: GroupTable,
    batch: Batch,
}

/// Rows that passed all checks, with their keys and values behind each other.
#[derive(Default)]
struct Batch {
    count: usize,
    rows: [BatchRow; BATCH_ROWS],
    keys: Vec<u8>,
    values: Vec<Option<Decimal>>, // of each row as many as there are columns
}

#[derive(Clone, Copy, Default)]
struct BatchRow {
    start: usize,
    key_start: usize,
    key_end: usize,
}

impl Batch {
    fn clear(&mut self) {
        self.count = 0;
        self.keys.clear();
    }

    fn key(&self, row: usize) -> &[u8] {
        let row = self.rows[row];
        &self.keys[row.key_start..row.key_end]
    }
}

impl Aggregator {
    pub fn new(max_groups: usize) -> Self {
        Self {
            plan: Plan::default(),
            table: GroupTable::new(max_groups),
            batch: Batch::default(),
        }
    }

    /// Starts over with a plan.
    pub fn reset(&mut self, plan: Plan) {
        self.table.reset(plan.value_columns.len());
        self.batch.clear();
        self.batch.values = vec![None; BATCH_ROWS * plan.value_columns.len()];
        self.plan = plan;
    }

    /// Takes one row into the batch. All its numbers are read before that: a bad
    /// row leaves no trace. True when the batch must be flushed.
    #[inline]
    pub fn add(&mut self, row: &Record) -> std::result::Result<bool, BadNumber> {
        for condition in &self.plan.conditions {
            match condition.holds(row) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return Err(BadNumber(condition.column, error)),
            }
        }
        let batch = &mut self.batch;
        let columns = &self.plan.value_columns;
        let values = &mut batch.values[batch.count * columns.len()..][..columns.len()];
        for (value, column) in values.iter_mut().zip(columns) {
            *value = read_value(row, column).map_err(|error| BadNumber(column.column, error))?;
        }
        let key_start = batch.keys.len();
        push_key(row, &self.plan.group_columns, &mut batch.keys);
        batch.rows[batch.count] = BatchRow {
            start: row.start,
            key_start,
            key_end: batch.keys.len(),
        };
        batch.count += 1;
        Ok(batch.count == BATCH_ROWS)
    }

    /// Adds all rows of the batch to their groups, in their order.
    pub fn flush(&mut self) -> std::result::Result<(), Fatal> {
        let count = self.batch.count;
        let mut probes = [Probe::default(); BATCH_ROWS];
        let mut promising = [false; BATCH_ROWS];
        for (row, probe) in probes[..count].iter_mut().enumerate() {
            *probe = self.table.probe(self.batch.key(row));
        }
        for (promising, probe) in promising.iter_mut().zip(&probes[..count]) {
            *promising = self.table.is_promising(probe);
        }
        for row in 0..count {
            let key = self.batch.key(row);
            let found = self.table.finish(key, &probes[row], promising[row]);
            let start = self.batch.rows[row].start;
            let number = found.map_err(|failure| Fatal(start, failure.text))?;
            self.add_values(row, number)
                .map_err(|what| Fatal(start, what))?;
        }
        self.batch.clear();
        Ok(())
    }

    /// Adds the values of one row of the batch to its group.
    #[inline]
    fn add_values(&mut self, row: usize, number: usize) -> std::result::Result<(), String> {
        let columns = &self.plan.value_columns;
        let values = &self.batch.values[row * columns.len()..][..columns.len()];
        let states = self.table.add_row(number);
        for ((state, column), value) in states.iter_mut().zip(columns).zip(values) {
            let Some(value) = *value else { continue };
            if state.add(value, column.needs_bounds).is_err() {
                return Err(self.sum_error(number, column.column));
            }
        }
        Ok(())
    }

    #[cold]
    fn sum_error(&self, number: usize, column: usize) -> String {
        let key = KeyFields::new(self.table.key(number), self.plan.group_columns.len());
        let fields: Vec<_> = key.map(quote_value).collect();
        format!(
            "column {}: sum out of range in group {}",
            escape(&self.plan.column_names[column]),
            fields.join(",")
        )
    }
}

/// The value of a field; of a column that is only counted, any number stands for "not empty".
#[inline]
fn read_value(
    row: &Record,
    column: &ValueColumn,
) -> std::result::Result<Option<Decimal>, NotNumber> {
    if !column.is_numeric {
        let is_empty = row.field(column.column).is_empty();
        return Ok((!is_empty).then(Decimal::default));
    }
    match row.number(column.column) {
        Ok(number) => Ok(Some(number)),
        Err(NotNumber::Empty) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(values: &[&str]) -> std::result::Result<ColumnState, SumOutOfRange> {
        let mut state = ColumnState::default();
        for value in values {
            state.add(crate::decimal::parse(value.as_bytes()).unwrap(), true)?;
        }
        Ok(state)
    }

    #[test]
    fn sums_and_bounds_take_the_largest_scale() {
        let state = state_of(&["1.50", "-3", "2.5", "0.125"]).unwrap();
        assert_eq!((state.sum, state.scale, state.count), (1125, 3, 4));
        assert_eq!(state.min().at_scale(state.scale), -3000);
        assert_eq!(state.max().at_scale(state.scale), 2500);
    }

    #[test]
    fn sums_end_at_128_bits() {
        let most = "999999999999999999";
        let mut values = vec!["0.000000000000000001"];
        values.extend([most; 170]);
        assert!(state_of(&values).is_ok());
        values.push(most);
        assert!(state_of(&values).is_err());
        let mut grown = vec![most; 171];
        assert!(state_of(&grown).is_ok());
        grown.push("0.000000000000000001");
        assert!(state_of(&grown).is_err());
    }
}
