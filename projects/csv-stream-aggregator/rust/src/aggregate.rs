//! What a row does to its group.

use crate::decimal::{Decimal, NotNumber, POW10};
use crate::failure::{Result, escape, quote_value};
use crate::groups::{GroupTable, KeyFields, push_key_field};
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

/// What is wrong with a row whose structure is sound.
pub enum BadRow {
    /// A column that is to be a number is none. The error policy decides.
    Number(usize, NotNumber),
    /// What no policy can skip.
    Fatal(String),
}

/// Filters rows and adds them to their groups.
pub struct Aggregator {
    pub plan: Plan,
    pub table: GroupTable,
    values: Vec<Option<Decimal>>,
    key: Vec<u8>,
}

impl Aggregator {
    pub fn new(max_groups: usize) -> Self {
        Self {
            plan: Plan::default(),
            table: GroupTable::new(max_groups),
            values: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Starts over with a plan.
    pub fn reset(&mut self, plan: Plan) {
        self.table.reset(plan.value_columns.len());
        self.values = vec![None; plan.value_columns.len()];
        self.plan = plan;
    }

    /// All numbers of a row are read before anything is added: a bad row leaves no trace.
    #[inline]
    pub fn add(&mut self, row: &Record) -> std::result::Result<(), BadRow> {
        for condition in &self.plan.conditions {
            match condition.holds(row) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(BadRow::Number(condition.column, error)),
            }
        }
        for (value, column) in self.values.iter_mut().zip(&self.plan.value_columns) {
            *value = read_value(row, column).map_err(|e| BadRow::Number(column.column, e))?;
        }
        let number = self
            .find_group(row)
            .map_err(|failure| BadRow::Fatal(failure.text))?;
        let states = self.table.add_row(number);
        let columns = self.plan.value_columns.iter().zip(&self.values);
        for (state, (column, value)) in states.iter_mut().zip(columns) {
            let Some(value) = *value else { continue };
            if state.add(value, column.needs_bounds).is_err() {
                return Err(BadRow::Fatal(self.sum_error(number, column.column)));
            }
        }
        Ok(())
    }

    #[inline]
    fn find_group(&mut self, row: &Record) -> Result<usize> {
        if let [column] = self.plan.group_columns[..] {
            return self.table.find(&row.field(column));
        }
        self.key.clear();
        let columns = &self.plan.group_columns;
        for (i, &column) in columns.iter().enumerate() {
            push_key_field(&mut self.key, &row.field(column), i + 1 == columns.len());
        }
        self.table.find(&self.key)
    }

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
