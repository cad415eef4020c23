//! What --agg asks for, and the whole request resolved against a header.

use crate::failure::{Result, bad_request, quote_value};
use crate::filter::Condition;
use crate::options::Options;

/// What --agg can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Count,
    Sum,
    Min,
    Max,
    Mean,
}

/// One item of --agg. Only a count goes without a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    pub function: Function,
    label: &'static str,
    column_name: Option<Vec<u8>>,
}

const FUNCTIONS: [(&str, Function); 5] = [
    ("count", Function::Count),
    ("sum", Function::Sum),
    ("min", Function::Min),
    ("max", Function::Max),
    ("mean", Function::Mean),
];

/// Reads count,sum:COL,...
pub fn parse_aggregates(source: &[u8]) -> Result<Vec<Aggregate>> {
    let items = source.split(|&byte| byte == b',');
    items.map(|item| parse_aggregate(source, item)).collect()
}

fn parse_aggregate(source: &[u8], item: &[u8]) -> Result<Aggregate> {
    let wrong = |what: String| bad_request(format!("--agg {}: {what}", quote_value(source)));
    let mut parts = item.splitn(2, |&byte| byte == b':');
    let wanted = parts.next().unwrap_or_default();
    let column_name = parts.next().map(<[u8]>::to_vec);
    let known = FUNCTIONS
        .iter()
        .find(|(label, _)| label.as_bytes() == wanted);
    let Some(&(label, function)) = known else {
        let shown = quote_value(wanted);
        return Err(wrong(format!(
            "unknown function {shown} (count sum min max mean)"
        )));
    };
    match &column_name {
        Some(name) if name.is_empty() => Err(wrong(format!("{label}: without a column"))),
        None if function != Function::Count => {
            Err(wrong(format!("{label} needs a column, as in {label}:COL")))
        }
        _ => Ok(Aggregate {
            function,
            label,
            column_name,
        }),
    }
}

impl Aggregate {
    fn output_name(&self) -> Vec<u8> {
        match &self.column_name {
            None => self.label.into(),
            Some(column) => [self.label.as_bytes(), b"_", column].concat(),
        }
    }
}

/// An aggregate with its place among the group's columns; a count of rows has none.
#[derive(Clone, Copy)]
pub struct PlannedAggregate {
    pub function: Function,
    pub slot: Option<usize>,
}

/// One column that is aggregated, however often.
#[derive(Clone, Copy)]
pub struct ValueColumn {
    pub column: usize,
    pub is_numeric: bool,
    pub needs_bounds: bool,
}

/// The request resolved against the header of one input.
#[derive(Default)]
pub struct Plan {
    pub column_names: Vec<Vec<u8>>,
    pub group_columns: Vec<usize>,
    pub conditions: Vec<Condition>,
    pub value_columns: Vec<ValueColumn>,
    pub aggregates: Vec<PlannedAggregate>,
    pub output_names: Vec<Vec<u8>>,
}

impl Plan {
    /// Finds every named column. The errors name the column, not the file.
    pub fn new(request: &Options, column_names: Vec<Vec<u8>>) -> Result<Self> {
        let mut plan = Self {
            column_names,
            ..Self::default()
        };
        for name in &request.group_by {
            let column = plan.resolve(name)?;
            plan.group_columns.push(column);
            plan.output_names.push(name.clone());
        }
        for wanted in &request.aggregates {
            plan.add_aggregate(wanted)?;
        }
        for wanted in &request.conditions {
            let column = plan.resolve(&wanted.column_name)?;
            plan.conditions.push(Condition {
                column,
                ..wanted.clone()
            });
        }
        Ok(plan)
    }

    fn add_aggregate(&mut self, wanted: &Aggregate) -> Result<()> {
        let slot = match &wanted.column_name {
            None => None,
            Some(name) => Some(self.value_slot(name)?),
        };
        if let Some(slot) = slot {
            let value = &mut self.value_columns[slot];
            value.is_numeric |= wanted.function != Function::Count;
            value.needs_bounds |= matches!(wanted.function, Function::Min | Function::Max);
        }
        self.aggregates.push(PlannedAggregate {
            function: wanted.function,
            slot,
        });
        self.output_names.push(wanted.output_name());
        Ok(())
    }

    /// The place of a column among those aggregated, which it may take only now.
    fn value_slot(&mut self, name: &[u8]) -> Result<usize> {
        let column = self.resolve(name)?;
        let known = self
            .value_columns
            .iter()
            .position(|value| value.column == column);
        Ok(known.unwrap_or_else(|| {
            self.value_columns.push(ValueColumn {
                column,
                is_numeric: false,
                needs_bounds: false,
            });
            self.value_columns.len() - 1
        }))
    }

    /// Finds a column by name; a name that is used must be there once.
    fn resolve(&self, name: &[u8]) -> Result<usize> {
        let mut found = (self.column_names.iter().enumerate())
            .filter(|(_, column_name)| column_name.as_slice() == name)
            .map(|(column, _)| column);
        match (found.next(), found.next()) {
            (None, _) => Err(bad_request(format!(
                "unknown column: {}",
                quote_value(name)
            ))),
            (Some(column), None) => Ok(column),
            _ => Err(bad_request(format!(
                "duplicate column: {}",
                quote_value(name)
            ))),
        }
    }
}

/// The names of columns without a header: 1, 2, ...
pub fn numbered_columns(count: usize) -> Vec<Vec<u8>> {
    (1..=count)
        .map(|number| number.to_string().into_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_are_functions_of_columns() {
        let parsed = parse_aggregates(b"count,count:a,sum:a:b").unwrap();
        let names: Vec<_> = parsed.iter().map(Aggregate::output_name).collect();
        assert_eq!(names, [&b"count"[..], b"count_a", b"sum_a:b"]);
        for source in ["", "median:a", "sum", "sum:", "count,,count", "COUNT"] {
            assert!(parse_aggregates(source.as_bytes()).is_err(), "{source}");
        }
    }
}
