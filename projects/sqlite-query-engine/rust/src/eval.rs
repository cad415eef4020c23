//! Compiled expressions and their evaluation over one row.
//!
//! Values borrow from the mapped file or from the expression itself, so evaluating allocates only
//! where a new text is made.

use std::borrow::Cow;
use std::cmp::Ordering;

use hashbrown::HashSet;

use crate::error::{Error, Result};
use crate::functions::{Function, call};
use crate::key::{self, SortOrder};
use crate::like::Pattern;
use crate::record::decode;
use crate::value::{Affinity, Arithmetic, Collation, Value, arithmetic, shift_left};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Is,
    IsNot,
}

impl Comparison {
    #[inline]
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal | Self::Is => order.is_eq(),
            Self::NotEqual | Self::IsNot => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
        }
    }

    /// The comparison that holds for (b, a) when this one holds for (a, b).
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }
}

/// How two values are brought together before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub affinity: Affinity,
    pub collation: Collation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOp {
    And,
    Or,
    ShiftLeft,
    ShiftRight,
}

#[derive(Debug)]
pub enum Expr {
    Constant(Value<'static>),
    Column(usize),
    Rowid,
    /// The result of the query's aggregate with this number.
    Aggregate(usize),
    /// The same value; but `+column` is no column to the planner, which is what it is written for.
    Plus(Box<Expr>),
    Not(Box<Expr>),
    BitNot(Box<Expr>),
    Arithmetic(Arithmetic, Box<[Expr; 2]>),
    Bits(BitOp, Box<[Expr; 2]>),
    Concat(Box<[Expr; 2]>),
    Compare(Comparison, Terms, Box<[Expr; 2]>),
    /// The value and its two bounds, each compared in its own terms.
    Between([Terms; 2], Box<[Expr; 3]>),
    And(Box<[Expr; 2]>),
    Or(Box<[Expr; 2]>),
    IsNull {
        value: Box<Expr>,
        negated: bool,
    },
    /// `x IS [NOT] TRUE|FALSE`
    IsTruth {
        value: Box<Expr>,
        wanted: bool,
        negated: bool,
    },
    In(Box<InList>),
    Like(Box<Like>),
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// `CASE base WHEN ...`: each branch compares in its own terms.
    CaseOf {
        base: Box<Expr>,
        branches: Vec<(Terms, Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast(Affinity, Box<Expr>),
    Call {
        function: Function,
        collation: Collation,
        arguments: Vec<Expr>,
    },
}

#[derive(Debug)]
pub struct InList {
    pub value: Expr,
    pub list: Vec<Expr>,
    pub terms: Terms,
    pub negated: bool,
    /// The keys of the list's values, when all are constant and there are many.
    pub keys: Option<HashSet<Vec<u8>>>,
}

#[derive(Debug)]
pub struct Like {
    pub value: Expr,
    pub pattern: Expr,
    pub escape: Option<Expr>,
    pub glob: bool,
    pub negated: bool,
    /// Set when pattern and escape are constant.
    pub compiled: Option<Pattern>,
}

/// Where a column's value is found in the records of the chosen scan.
#[derive(Debug)]
pub enum ColumnSource {
    Rowid,
    Field {
        index: usize,
        is_real: bool,
        default: Value<'static>,
    },
    /// Not needed by the query, so not available.
    Absent,
}

/// Where each column of the table, and its rowid, is found.
#[derive(Debug)]
pub struct Layout {
    pub columns: Vec<ColumnSource>,
    pub rowid: ColumnSource,
}

/// One decoded record; `payload` reaches at least to the end of every column that is asked for.
#[derive(Clone, Copy)]
pub struct Row<'r> {
    pub layout: &'r Layout,
    pub types: &'r [u32],
    pub starts: &'r [u32],
    pub payload: &'r [u8],
    pub rowid: i64,
}

impl<'r> Row<'r> {
    #[inline]
    pub fn column(&self, column: usize) -> Value<'r> {
        self.value_of(&self.layout.columns[column])
    }

    #[inline]
    pub fn rowid(&self) -> Value<'r> {
        self.value_of(&self.layout.rowid)
    }

    #[inline]
    fn value_of(&self, source: &'r ColumnSource) -> Value<'r> {
        match source {
            ColumnSource::Rowid => Value::Int(self.rowid),
            ColumnSource::Field { index, is_real, default } => match self.types.get(*index) {
                Some(&serial_type) => {
                    let bytes = self.payload.get(self.starts[*index] as usize..).unwrap_or_default();
                    match decode(serial_type, bytes) {
                        Value::Int(i) if *is_real => Value::Real(i as f64),
                        value => value,
                    }
                }
                None => default.borrowed(),
            },
            ColumnSource::Absent => Value::Null,
        }
    }

    /// Needs only the record's header, never the content.
    fn is_null(&self, column: usize) -> bool {
        match &self.layout.columns[column] {
            ColumnSource::Field { index, .. } if self.types.get(*index).is_some_and(|&t| t != 7) => {
                matches!(self.types[*index], 0 | 10 | 11)
            }
            source => self.value_of(source).is_null(),
        }
    }
}

/// What an expression may refer to.
#[derive(Clone, Copy)]
pub enum Context<'r> {
    /// A row of the scan.
    Row(Row<'r>),
    /// A finished group: the columns of its representative row (the rowid comes last) and its aggregates.
    Group { columns: &'r [Value<'static>], aggregates: &'r [Value<'static>] },
    /// No table at all.
    Nothing,
}

impl Expr {
    /// Columns and constants are most of what is evaluated, so they cost no call.
    #[inline]
    pub fn eval<'r>(&'r self, context: &Context<'r>) -> Result<Value<'r>> {
        match (self, context) {
            (Self::Column(column), Context::Row(row)) => Ok(row.column(*column)),
            (Self::Constant(value), _) => Ok(value.borrowed()),
            _ => self.eval_operator(context),
        }
    }

    #[inline(never)]
    fn eval_operator<'r>(&'r self, context: &Context<'r>) -> Result<Value<'r>> {
        Ok(match self {
            Self::Constant(value) => value.borrowed(),
            Self::Column(column) => match context {
                Context::Row(row) => row.column(*column),
                Context::Group { columns, .. } => columns.get(*column).map_or(Value::Null, Value::borrowed),
                Context::Nothing => Value::Null,
            },
            Self::Rowid => match context {
                Context::Row(row) => row.rowid(),
                Context::Group { columns, .. } => columns.last().map_or(Value::Null, Value::borrowed),
                Context::Nothing => Value::Null,
            },
            Self::Aggregate(number) => match context {
                Context::Group { aggregates, .. } => aggregates[*number].borrowed(),
                _ => Value::Null,
            },
            Self::Compare(op, terms, sides) => {
                let left = sides[0].eval(context)?;
                let right = sides[1].eval(context)?;
                compare(*op, *terms, left, right)
            }
            Self::And(sides) => match sides[0].eval(context)?.truth() {
                Some(false) => Value::Int(0),
                left => match (left, sides[1].eval(context)?.truth()) {
                    (_, Some(false)) => Value::Int(0),
                    (Some(true), Some(true)) => Value::Int(1),
                    _ => Value::Null,
                },
            },
            Self::Or(sides) => match sides[0].eval(context)?.truth() {
                Some(true) => Value::Int(1),
                left => match (left, sides[1].eval(context)?.truth()) {
                    (_, Some(true)) => Value::Int(1),
                    (Some(false), Some(false)) => Value::Int(0),
                    _ => Value::Null,
                },
            },
            Self::Not(value) => value.eval(context)?.truth().map_or(Value::Null, |t| Value::bool(!t)),
            Self::Arithmetic(op, sides) => {
                arithmetic(*op, &sides[0].eval(context)?, &sides[1].eval(context)?)
            }
            Self::IsNull { value, negated } => {
                let is_null = match (&**value, context) {
                    (Self::Column(column), Context::Row(row)) => row.is_null(*column),
                    (other, _) => other.eval(context)?.is_null(),
                };
                Value::bool(is_null != *negated)
            }
            _ => return self.eval_rare(context),
        })
    }

    /// Apart, so that the frames of deep AND and OR chains stay small.
    #[inline(never)]
    fn eval_rare<'r>(&'r self, context: &Context<'r>) -> Result<Value<'r>> {
        Ok(match self {
            Self::Plus(value) => return value.eval(context),
            Self::BitNot(value) => match value.eval(context)? {
                Value::Null => Value::Null,
                value => Value::Int(!value.to_int()),
            },
            Self::Bits(op, sides) => bits(*op, &sides[0].eval(context)?, &sides[1].eval(context)?),
            Self::Concat(sides) => concat(sides[0].eval(context)?, &sides[1].eval(context)?)?,
            Self::IsTruth { value, wanted, negated } => {
                let truth = value.eval(context)?.truth();
                Value::bool((truth == Some(*wanted)) != *negated)
            }
            Self::Between(terms, parts) => {
                let [value, low, high] = &**parts;
                let value = value.eval(context)?;
                let above = compare(Comparison::GreaterEqual, terms[0], value.clone(), low.eval(context)?);
                if above.truth() == Some(false) {
                    return Ok(above);
                }
                let below = compare(Comparison::LessEqual, terms[1], value, high.eval(context)?);
                if below.truth() == Some(false) || above.truth() == Some(true) { below } else { above }
            }
            Self::In(list) => list.eval(context)?,
            Self::Like(like) => like.eval(context)?,
            Self::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    if condition.eval(context)?.truth() == Some(true) {
                        return result.eval(context);
                    }
                }
                return otherwise.as_ref().map_or(Ok(Value::Null), |e| e.eval(context));
            }
            Self::CaseOf { base, branches, otherwise } => {
                let base = base.eval(context)?;
                for (terms, candidate, result) in branches {
                    let candidate = candidate.eval(context)?;
                    if compare(Comparison::Equal, *terms, base.clone(), candidate).truth() == Some(true) {
                        return result.eval(context);
                    }
                }
                return otherwise.as_ref().map_or(Ok(Value::Null), |e| e.eval(context));
            }
            Self::Cast(affinity, value) => value.eval(context)?.cast(*affinity),
            Self::Call { function, collation, arguments } => call(*function, *collation, arguments, context)?,
            _ => unreachable!("handled by eval_operator"),
        })
    }

    /// Whether a WHERE or HAVING keeps the row: NULL does not.
    pub fn accepts(&self, context: &Context<'_>) -> Result<bool> {
        Ok(self.eval(context)?.truth() == Some(true))
    }

    /// Calls `visit` for this expression and all below.
    pub fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        match self {
            Self::Constant(_) | Self::Column(_) | Self::Rowid | Self::Aggregate(_) => {}
            Self::Plus(e)
            | Self::Not(e)
            | Self::BitNot(e)
            | Self::Cast(_, e)
            | Self::IsNull { value: e, .. }
            | Self::IsTruth { value: e, .. } => {
                e.walk(visit);
            }
            Self::Arithmetic(_, sides)
            | Self::Bits(_, sides)
            | Self::Concat(sides)
            | Self::Compare(_, _, sides)
            | Self::And(sides)
            | Self::Or(sides) => sides.iter().for_each(|e| e.walk(visit)),
            Self::Between(_, parts) => parts.iter().for_each(|e| e.walk(visit)),
            Self::In(list) => {
                list.value.walk(visit);
                list.list.iter().for_each(|e| e.walk(visit));
            }
            Self::Like(like) => {
                like.value.walk(visit);
                like.pattern.walk(visit);
                like.escape.iter().for_each(|e| e.walk(visit));
            }
            Self::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    condition.walk(visit);
                    result.walk(visit);
                }
                if let Some(e) = otherwise {
                    e.walk(visit);
                }
            }
            Self::CaseOf { base, branches, otherwise } => {
                base.walk(visit);
                for (_, candidate, result) in branches {
                    candidate.walk(visit);
                    result.walk(visit);
                }
                if let Some(e) = otherwise {
                    e.walk(visit);
                }
            }
            Self::Call { arguments, .. } => arguments.iter().for_each(|e| e.walk(visit)),
        }
    }
}

#[inline]
pub fn compare<'r>(op: Comparison, terms: Terms, left: Value<'r>, right: Value<'r>) -> Value<'r> {
    if left.is_null() || right.is_null() {
        let both = left.is_null() && right.is_null();
        return match op {
            Comparison::Is => Value::bool(both),
            Comparison::IsNot => Value::bool(!both),
            _ => Value::Null,
        };
    }
    let left = left.for_comparison(terms.affinity);
    let right = right.for_comparison(terms.affinity);
    Value::bool(op.holds(left.compare(&right, terms.collation)))
}

fn bits(op: BitOp, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    if left.is_null() || right.is_null() {
        return Value::Null;
    }
    let (a, b) = (left.to_int(), right.to_int());
    Value::Int(match op {
        BitOp::And => a & b,
        BitOp::Or => a | b,
        BitOp::ShiftLeft => shift_left(a, b),
        BitOp::ShiftRight => shift_left(a, b.saturating_neg()),
    })
}

fn concat<'r>(left: Value<'r>, right: &Value<'_>) -> Result<Value<'r>> {
    let (Some(left), Some(right)) = (left.into_bytes(), right.to_bytes()) else { return Ok(Value::Null) };
    check_length(left.len() + right.len())?;
    let mut joined = left.into_owned();
    joined.extend_from_slice(&right);
    Ok(Value::Text(Cow::Owned(joined)))
}

/// SQLite's limit on the size of one value.
pub fn check_length(bytes: usize) -> Result<()> {
    if bytes > 1_000_000_000 { Err(Error::input("string or blob too big")) } else { Ok(()) }
}

impl InList {
    fn eval<'r>(&'r self, context: &Context<'r>) -> Result<Value<'r>> {
        if self.list.is_empty() {
            return Ok(Value::bool(self.negated));
        }
        let value = self.value.eval(context)?;
        if value.is_null() {
            return Ok(Value::Null);
        }
        let value = value.for_comparison(self.terms.affinity);
        if let Some(keys) = &self.keys {
            let mut key = Vec::with_capacity(32);
            key::append(&value, SortOrder::ascending(self.terms.collation), &mut key);
            if keys.contains(&key) {
                return Ok(Value::bool(!self.negated));
            }
        }
        let mut saw_null = false;
        for candidate in &self.list {
            // With keys, the list is constant and only its NULLs are still of interest.
            if self.keys.is_some() {
                saw_null |= matches!(candidate, Expr::Constant(Value::Null));
                continue;
            }
            match candidate.eval(context)? {
                Value::Null => saw_null = true,
                candidate => {
                    let candidate = candidate.for_comparison(self.terms.affinity);
                    if value.compare(&candidate, self.terms.collation).is_eq() {
                        return Ok(Value::bool(!self.negated));
                    }
                }
            }
        }
        Ok(if saw_null { Value::Null } else { Value::bool(self.negated) })
    }
}

impl Like {
    fn eval<'r>(&'r self, context: &Context<'r>) -> Result<Value<'r>> {
        let value = self.value.eval(context)?;
        let matches = match &self.compiled {
            Some(pattern) => {
                if matches!(value, Value::Blob(_)) {
                    Some(false)
                } else {
                    value.to_bytes().map(|text| pattern.matches(&text))
                }
            }
            None => self.eval_dynamic(&value, context)?,
        };
        Ok(matches.map_or(Value::Null, |m| Value::bool(m != self.negated)))
    }

    fn eval_dynamic(&self, value: &Value<'_>, context: &Context<'_>) -> Result<Option<bool>> {
        let pattern = self.pattern.eval(context)?;
        // As SQLite was built for the oracle: blobs match nothing.
        if matches!(value, Value::Blob(_)) || matches!(pattern, Value::Blob(_)) {
            return Ok(Some(false));
        }
        let escape = self.escape.as_ref().map(|e| e.eval(context)).transpose()?;
        let Some(pattern) = compile_pattern(&pattern, escape.as_ref(), self.glob)? else { return Ok(None) };
        Ok(value.to_bytes().map(|text| pattern.matches(&text)))
    }
}

/// The compiled pattern, or None when pattern or escape is NULL.
pub fn compile_pattern(
    pattern: &Value<'_>,
    escape: Option<&Value<'_>>,
    glob: bool,
) -> Result<Option<Pattern>> {
    let Some(text) = pattern.to_bytes() else { return Ok(None) };
    let escape = match escape {
        None => None,
        Some(value) => match value.to_bytes() {
            None => return Ok(None),
            Some(bytes) if !bytes.is_empty() && crate::like::char_bytes(&bytes) == bytes.len() => Some(bytes),
            Some(_) => return Err(Error::input("ESCAPE expression must be a single character")),
        },
    };
    let compiled = if glob { Pattern::glob(&text) } else { Pattern::like(&text, escape.as_deref()) };
    compiled.map(Some).ok_or_else(|| Error::input("LIKE or GLOB pattern too complex"))
}
