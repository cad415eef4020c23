//! From a SELECT to a plan: which rows to visit in which order, and what to do with each.
//!
//! The choice of the scan follows fixed rules, not statistics: rowid equality, the index with the
//! longest equality prefix, a rowid range, an index with a range on its first column, and last a
//! full scan, of a covering index if there is one.

use std::cmp::Ordering;

use crate::compile::{Aggregate, Compiler};
use crate::error::{Error, Result};
use crate::eval::{ColumnSource, Comparison, Expr, Layout, Terms};
use crate::key::SortOrder;
use crate::parser::{self, ResultColumn, Select};
use crate::record::KeyOrder;
use crate::schema::{Index, IndexField, Table};
use crate::value::{Affinity, Collation, Value};

/// Which entries to visit.
#[derive(Debug)]
pub enum Access {
    /// SELECT without FROM.
    OneRow,
    /// Single rows of a table, ascending.
    Rowids(Vec<i64>),
    /// The rows from `low` to `high`, both included.
    RowidRange {
        low: i64,
        high: i64,
        is_low_bound: bool,
        is_high_bound: bool,
    },
    Index(IndexAccess),
}

#[derive(Debug)]
pub struct IndexAccess {
    /// Number of the index in the table.
    pub index: usize,
    /// The entries hold every column that the query needs.
    pub is_covering: bool,
    /// Values of the leading columns, in index order; each prefix is one seek.
    pub prefixes: Vec<Vec<Value<'static>>>,
    pub equal_columns: usize,
    /// Leading columns that have one value in the whole scan: none, if an IN makes several prefixes.
    pub single_columns: usize,
    /// Bounds of the column after the prefix; true when the bound itself is included.
    pub lower: Option<(Value<'static>, bool)>,
    pub upper: Option<(Value<'static>, bool)>,
}

pub struct OrderTerm {
    pub expr: Expr,
    pub order: SortOrder,
}

pub struct Plan<'a> {
    pub table: Option<&'a Table>,
    pub access: Access,
    pub reverse: bool,
    pub layout: Layout,
    /// The conditions that the access does not imply.
    pub filters: Vec<Expr>,
    pub names: Vec<String>,
    pub outputs: Vec<Expr>,
    /// The collation in which DISTINCT compares each output.
    pub output_collations: Vec<Collation>,
    pub distinct: bool,
    pub is_aggregate: bool,
    pub aggregates: Vec<Aggregate>,
    pub group_by: Vec<(Expr, Collation)>,
    pub having: Option<Expr>,
    /// Empty when the rows come in the wanted order.
    pub order_by: Vec<OrderTerm>,
    pub limit: Option<u64>,
    pub offset: u64,
    /// Lines of EXPLAIN QUERY PLAN, if that was asked.
    pub explain: Option<Vec<String>>,
}

/// One column of the result: its name and its expression.
struct Output {
    name: String,
    is_alias: bool,
    syntax: parser::Expr,
}

pub fn plan<'a>(select: &Select, table: Option<&'a Table>) -> Result<Plan<'a>> {
    let qualifier = select.from.as_ref().map_or("", |from| from.alias.as_deref().unwrap_or(&from.name));
    let outputs = expand(select, table, qualifier)?;
    let mut compiler = Compiler::new(table, qualifier);
    let mut exprs = Vec::with_capacity(outputs.len());
    let mut output_collations = Vec::with_capacity(outputs.len());
    for output in &outputs {
        let typed = compiler.result(&output.syntax)?;
        output_collations.push(typed.collation.unwrap_or(Collation::Binary));
        exprs.push(typed.expr);
    }
    let named = outputs.iter().filter(|o| o.is_alias);
    compiler.aliases = named.map(|o| (o.name.as_str(), &o.syntax)).collect();
    let mut conditions = Vec::new();
    if let Some(filter) = &select.filter {
        conjuncts(compiler.scalar(filter)?.expr, &mut conditions);
    }
    let mut group_by = Vec::new();
    for (i, syntax) in select.group_by.iter().enumerate() {
        let typed = match ordinal(syntax, i, "GROUP", outputs.len())? {
            Some(output) => compiler.scalar(&outputs[output].syntax)?,
            None => compiler.scalar(syntax)?,
        };
        group_by.push((typed.expr, typed.collation.unwrap_or(Collation::Binary)));
    }
    let having = select.having.as_ref().map(|e| compiler.result(e)).transpose()?.map(|typed| typed.expr);
    let is_aggregate = !group_by.is_empty() || !compiler.aggregates.is_empty();
    if having.is_some() && !is_aggregate {
        return Err(Error::input("HAVING clause on a non-aggregate query"));
    }
    let order_by = order_terms(select, &outputs, &mut compiler, is_aggregate)?;
    let limit = select.limit.as_ref().map(limit_value).transpose()?;
    let offset = select.offset.as_ref().map(limit_value).transpose()?;
    let mut plan = Plan {
        table,
        access: Access::OneRow,
        reverse: false,
        layout: Layout { columns: Vec::new(), rowid: ColumnSource::Absent },
        filters: conditions,
        names: outputs.iter().map(|o| o.name.clone()).collect(),
        outputs: exprs,
        output_collations,
        distinct: select.distinct,
        is_aggregate,
        aggregates: compiler.aggregates,
        group_by,
        having,
        order_by,
        limit: limit.and_then(|n| u64::try_from(n).ok()),
        offset: offset.map_or(0, |n| u64::try_from(n).unwrap_or(0)),
        explain: None,
    };
    plan.choose_access();
    plan.settle_order();
    if select.explain {
        plan.explain = Some(plan.describe(qualifier));
    }
    Ok(plan)
}

fn expand(select: &Select, table: Option<&Table>, qualifier: &str) -> Result<Vec<Output>> {
    let mut outputs = Vec::new();
    for column in &select.columns {
        match column {
            ResultColumn::Star(of) => {
                let Some(table) = table else { return Err(Error::input("no tables specified")) };
                if let Some(name) = of.as_ref().filter(|name| !name.eq_ignore_ascii_case(qualifier)) {
                    return Err(Error::input(format!("no such table: {name}")));
                }
                outputs.extend(table.columns.iter().map(|column| Output {
                    name: column.name.clone(),
                    is_alias: false,
                    syntax: parser::Expr::Column(parser::ColumnName {
                        table: None,
                        column: column.name.clone(),
                        maybe_string: false,
                        bare: false,
                    }),
                }));
            }
            ResultColumn::Expr { expr, alias, text } => {
                let name = alias.clone().unwrap_or_else(|| default_name(expr, text, table));
                outputs.push(Output { name, is_alias: alias.is_some(), syntax: expr.clone() });
            }
        }
    }
    Ok(outputs)
}

/// A bare column is named as in the schema; anything else by its text.
fn default_name(expr: &parser::Expr, text: &str, table: Option<&Table>) -> String {
    if let (parser::Expr::Column(name), Some(table)) = (expr, table) {
        if let Some(column) = table.column(&name.column) {
            return table.columns[column].name.clone();
        }
        if !table.without_rowid
            && ["rowid", "_rowid_", "oid"].iter().any(|n| name.column.eq_ignore_ascii_case(n))
        {
            return table.rowid_alias.map_or_else(|| "rowid".to_owned(), |c| table.columns[c].name.clone());
        }
    }
    text.to_owned()
}

/// Splits at the top-level ANDs.
fn conjuncts(expr: Expr, list: &mut Vec<Expr>) {
    match expr {
        Expr::And(sides) => {
            let [left, right] = *sides;
            conjuncts(left, list);
            conjuncts(right, list);
        }
        other => list.push(other),
    }
}

fn without_collate(syntax: &parser::Expr) -> &parser::Expr {
    match syntax {
        parser::Expr::Collate { value, .. } => without_collate(value),
        other => other,
    }
}

fn integer_literal(syntax: &parser::Expr) -> Option<i64> {
    match syntax {
        parser::Expr::Integer(i) => Some(*i),
        parser::Expr::Unary(parser::UnaryOp::Negate, e) => integer_literal(e).and_then(i64::checked_neg),
        parser::Expr::Unary(parser::UnaryOp::Plus, e) => integer_literal(e),
        _ => None,
    }
}

/// The output that an integer in ORDER BY or GROUP BY stands for.
fn ordinal(syntax: &parser::Expr, term: usize, clause: &str, outputs: usize) -> Result<Option<usize>> {
    // A number beyond 32 bits is an expression like any other.
    let number = integer_literal(without_collate(syntax)).filter(|&n| i32::try_from(n).is_ok());
    let Some(number) = number else { return Ok(None) };
    match usize::try_from(number) {
        Ok(n) if (1..=outputs).contains(&n) => Ok(Some(n - 1)),
        _ => {
            let place = term + 1;
            let suffix = match (place % 10, place % 100) {
                (1, n) if n != 11 => "st",
                (2, n) if n != 12 => "nd",
                (3, n) if n != 13 => "rd",
                _ => "th",
            };
            Err(Error::input(format!(
                "{place}{suffix} {clause} BY term out of range - should be between 1 and {outputs}"
            )))
        }
    }
}

fn order_terms<'a>(
    select: &'a Select,
    outputs: &'a [Output],
    compiler: &mut Compiler<'a>,
    is_aggregate: bool,
) -> Result<Vec<OrderTerm>> {
    let mut terms = Vec::with_capacity(select.order_by.len());
    for (i, term) in select.order_by.iter().enumerate() {
        let bare = without_collate(&term.expr);
        let mut output = ordinal(bare, i, "ORDER", outputs.len())?;
        if let (None, parser::Expr::Column(name)) = (output, bare)
            && name.table.is_none()
        {
            output = outputs.iter().position(|o| o.is_alias && o.name.eq_ignore_ascii_case(&name.column));
        }
        let syntax = output.map_or(&term.expr, |o| &outputs[o].syntax);
        let typed = if is_aggregate { compiler.result(syntax)? } else { compiler.scalar(syntax)? };
        let mut collation = typed.collation.unwrap_or(Collation::Binary);
        if let parser::Expr::Collate { collation: written, .. } = &term.expr {
            collation = Collation::from_name(written)
                .ok_or_else(|| Error::input(format!("no such collation sequence: {written}")))?;
        }
        let nulls_first = term.nulls_first.unwrap_or(!term.descending);
        let order = SortOrder { collation, descending: term.descending, nulls_first };
        terms.push(OrderTerm { expr: typed.expr, order });
    }
    Ok(terms)
}

fn limit_value(syntax: &parser::Expr) -> Result<i64> {
    match Compiler::constant(syntax)?.stored_as(Affinity::Numeric) {
        Value::Int(i) => Ok(i),
        _ => Err(Error::input("datatype mismatch")),
    }
}

/// A column of the scan: one of the table's, or the rowid.
type ScanColumn = IndexField;

fn scan_column(expr: &Expr) -> Option<ScanColumn> {
    match expr {
        Expr::Column(column) => Some(IndexField::Column(*column)),
        Expr::Rowid => Some(IndexField::Rowid),
        _ => None,
    }
}

#[derive(Debug)]
enum Bound {
    Equal(Value<'static>),
    In(Vec<Value<'static>>),
    Lower(Value<'static>, bool),
    Upper(Value<'static>, bool),
}

/// `column OP constant`, from one of the WHERE's conditions.
struct Constraint {
    column: ScanColumn,
    bound: Bound,
    collation: Collation,
    condition: usize,
}

fn constraint(condition: &Expr, number: usize, table: &Table) -> Option<Constraint> {
    let (column, bound, terms) = match condition {
        Expr::Compare(op, terms, sides) => {
            let (column, op, value) = match &**sides {
                [column, Expr::Constant(value)] => (scan_column(column)?, *op, value),
                [Expr::Constant(value), column] => (scan_column(column)?, op.mirrored(), value),
                _ => return None,
            };
            let value = value.clone();
            let bound = match op {
                // Equal to NULL is never true: no row, like an empty list.
                Comparison::Equal if value.is_null() => Bound::In(Vec::new()),
                Comparison::Equal | Comparison::Is => Bound::Equal(value),
                Comparison::Greater => Bound::Lower(value, false),
                Comparison::GreaterEqual => Bound::Lower(value, true),
                Comparison::Less => Bound::Upper(value, false),
                Comparison::LessEqual => Bound::Upper(value, true),
                Comparison::NotEqual | Comparison::IsNot => return None,
            };
            (column, bound, *terms)
        }
        Expr::IsNull { value, negated: false } => {
            let column = scan_column(value)?;
            let collation = match column {
                IndexField::Column(c) => table.columns[c].collation?,
                IndexField::Rowid => Collation::Binary,
            };
            (column, Bound::Equal(Value::Null), Terms { affinity: Affinity::Blob, collation })
        }
        Expr::In(list) if !list.negated => {
            let column = scan_column(&list.value)?;
            let constants =
                list.list.iter().map(|e| if let Expr::Constant(v) = e { Some(v.clone()) } else { None });
            let values: Option<Vec<_>> = constants.collect();
            let values = values?.into_iter().filter(|v| !v.is_null()).collect();
            (column, Bound::In(values), list.terms)
        }
        _ => return None,
    };
    // The comparison must not convert the stored values, or the tree's order would not be its order.
    let stored = match column {
        IndexField::Column(c) => table.columns[c].affinity,
        IndexField::Rowid => Affinity::Integer,
    };
    let fits = match terms.affinity {
        Affinity::Blob => true,
        Affinity::Text => stored == Affinity::Text,
        _ => stored.is_numeric(),
    };
    fits.then_some(Constraint { column, bound, collation: terms.collation, condition: number })
}

/// An access together with the conditions that it implies.
struct Choice {
    access: Access,
    implied: Vec<usize>,
}

impl Plan<'_> {
    fn choose_access(&mut self) {
        let Some(table) = self.table else { return };
        let constraints: Vec<Constraint> = self
            .filters
            .iter()
            .enumerate()
            .filter_map(|(i, condition)| constraint(condition, i, table))
            .collect();
        let needed = self.needed_columns(table);
        let mut choice = rowid_seeks(table, &constraints)
            .or_else(|| index_with_equality(table, &constraints))
            .or_else(|| rowid_range(table, &constraints))
            .or_else(|| index_with_range(table, &constraints))
            .unwrap_or_else(|| full_scan(table, &needed));
        if let Access::Index(access) = &mut choice.access {
            access.is_covering = needed.are_in(&table.indexes[access.index]);
        }
        self.access = choice.access;
        let mut number = 0;
        self.filters.retain(|_| {
            number += 1;
            !choice.implied.contains(&(number - 1))
        });
        self.layout = layout(table, &self.access, &needed);
    }

    /// Calls `visit` for every expression of the plan.
    pub fn walk(&self, visit: &mut impl FnMut(&Expr)) {
        self.filters.iter().for_each(|e| e.walk(visit));
        self.walk_after_filter(visit);
    }

    pub fn walk_after_filter(&self, visit: &mut impl FnMut(&Expr)) {
        let groups = self.group_by.iter().map(|(e, _)| e);
        let order = self.order_by.iter().map(|t| &t.expr);
        let arguments = self.aggregates.iter().filter_map(|a| a.argument.as_ref());
        for expr in self.outputs.iter().chain(groups).chain(&self.having).chain(order).chain(arguments) {
            expr.walk(visit);
        }
    }

    fn needed_columns(&self, table: &Table) -> Needed {
        let mut needed = Needed { columns: vec![false; table.columns.len()], rowid: false };
        self.walk(&mut |expr| match expr {
            Expr::Column(column) => needed.columns[*column] = true,
            Expr::Rowid => needed.rowid = true,
            _ => {}
        });
        needed
    }

    /// Drops the ORDER BY if the rows come in its order anyway, perhaps backwards.
    fn settle_order(&mut self) {
        if self.order_by.is_empty() {
            return;
        }
        if self.is_aggregate {
            if self.group_by.is_empty() || self.groups_come_in_order() {
                self.order_by.clear();
            }
        } else if let Some(reverse) = self.scan_direction() {
            self.reverse = reverse;
            self.order_by.clear();
        }
    }

    /// Groups are emitted in ascending order of their keys.
    fn groups_come_in_order(&self) -> bool {
        self.order_by.len() <= self.group_by.len()
            && self.order_by.iter().zip(&self.group_by).all(|(term, (group, collation))| {
                let same = scan_column(group).is_some_and(|c| scan_column(&term.expr) == Some(c));
                same && term.order.collation == *collation && !term.order.descending && term.order.nulls_first
            })
    }

    /// Whether the scan yields the wanted order: forwards (false), backwards (true), or not (None).
    fn scan_direction(&self) -> Option<bool> {
        let (fixed, sequence) = self.scan_order()?;
        let mut sequence = sequence.into_iter().peekable();
        let mut reverse = None;
        for term in &self.order_by {
            if sequence.peek().is_none() {
                break; // no two entries agree in all fields before, so further terms decide nothing
            }
            let column = scan_column(&term.expr)?;
            let is_text_order =
                |order: KeyOrder| order.collation == term.order.collation || column == IndexField::Rowid;
            if fixed.iter().any(|&(c, order)| c == column && is_text_order(order)) {
                continue;
            }
            let (next, order) = sequence.next()?;
            if next != column || !is_text_order(order) || term.order.nulls_first == term.order.descending {
                return None;
            }
            let backwards = term.order.descending != order.descending;
            if *reverse.get_or_insert(backwards) != backwards {
                return None;
            }
            if column == IndexField::Rowid {
                break; // no two rows share it, so further terms decide nothing
            }
        }
        Some(reverse.unwrap_or(false))
    }

    /// The columns that have one value in the whole scan, and those that it is sorted by.
    #[allow(clippy::type_complexity)] // two lists of one kind
    fn scan_order(&self) -> Option<(Vec<(ScanColumn, KeyOrder)>, Vec<(ScanColumn, KeyOrder)>)> {
        let ascending = KeyOrder { collation: Collation::Binary, descending: false };
        match &self.access {
            Access::OneRow => None,
            Access::Rowids(_) | Access::RowidRange { .. } => {
                Some((Vec::new(), vec![(IndexField::Rowid, ascending)]))
            }
            Access::Index(access) => {
                let index = &self.table?.indexes[access.index];
                let order = index.order.iter().copied().chain(std::iter::repeat(ascending));
                let keys: Vec<_> = index.fields.iter().copied().zip(order).collect();
                let sorted_fields = if index.is_primary_key { index.order.len() } else { keys.len() };
                let (fixed, sequence) = keys[..sorted_fields].split_at(access.single_columns);
                Some((fixed.to_vec(), sequence.to_vec()))
            }
        }
    }

    /// The plan in the words of SQLite.
    fn describe(&self, name: &str) -> Vec<String> {
        let mut lines = vec![self.describe_access(name)];
        if !self.group_by.is_empty() {
            lines.push("USE TEMP B-TREE FOR GROUP BY".to_owned());
        }
        if self.distinct {
            lines.push("USE TEMP B-TREE FOR DISTINCT".to_owned());
        }
        if !self.order_by.is_empty() {
            lines.push("USE TEMP B-TREE FOR ORDER BY".to_owned());
        }
        lines
    }

    fn describe_access(&self, name: &str) -> String {
        match &self.access {
            Access::OneRow => "SCAN CONSTANT ROW".to_owned(),
            Access::Rowids(_) => format!("SEARCH {name} USING INTEGER PRIMARY KEY (rowid=?)"),
            Access::RowidRange { is_low_bound, is_high_bound, .. } => {
                let bounds = bounds_text("rowid", *is_low_bound, *is_high_bound);
                if bounds.is_empty() {
                    return format!("SCAN {name}");
                }
                format!("SEARCH {name} USING INTEGER PRIMARY KEY ({})", bounds.join(" AND "))
            }
            Access::Index(access) => {
                let Some(table) = self.table else { return String::new() };
                let index = &table.indexes[access.index];
                let column = |i: usize| match index.fields.get(i) {
                    Some(IndexField::Column(c)) => table.columns[*c].name.as_str(),
                    _ => table.rowid_alias.map_or("rowid", |c| table.columns[c].name.as_str()),
                };
                let mut terms: Vec<String> =
                    (0..access.equal_columns).map(|i| format!("{}=?", column(i))).collect();
                if access.lower.is_some() || access.upper.is_some() {
                    terms.extend(bounds_text(
                        column(access.equal_columns),
                        access.lower.is_some(),
                        access.upper.is_some(),
                    ));
                }
                let using = match (index.is_primary_key, access.is_covering) {
                    (true, _) => "PRIMARY KEY".to_owned(),
                    (false, true) => format!("COVERING INDEX {}", index.name),
                    (false, false) => format!("INDEX {}", index.name),
                };
                match (terms.is_empty(), index.is_primary_key) {
                    (true, true) => format!("SCAN {name}"),
                    (true, false) => format!("SCAN {name} USING {using}"),
                    (false, _) => format!("SEARCH {name} USING {using} ({})", terms.join(" AND ")),
                }
            }
        }
    }
}

fn bounds_text(column: &str, lower: bool, upper: bool) -> Vec<String> {
    let lower = lower.then(|| format!("{column}>?"));
    lower.into_iter().chain(upper.then(|| format!("{column}<?"))).collect()
}

/// The columns that the query uses.
struct Needed {
    columns: Vec<bool>,
    rowid: bool,
}

impl Needed {
    fn are_in(&self, index: &Index) -> bool {
        let has = |field| index.fields.contains(&field);
        (!self.rowid || has(IndexField::Rowid))
            && self.columns.iter().enumerate().all(|(c, needed)| !needed || has(IndexField::Column(c)))
    }
}

fn rowid_seeks(table: &Table, constraints: &[Constraint]) -> Option<Choice> {
    if table.without_rowid {
        return None;
    }
    let on_rowid = || constraints.iter().filter(|c| c.column == IndexField::Rowid);
    let equal = on_rowid().find(|c| matches!(c.bound, Bound::Equal(_)));
    let chosen = equal.or_else(|| on_rowid().find(|c| matches!(c.bound, Bound::In(_))))?;
    let mut rowids: Vec<i64> = match &chosen.bound {
        Bound::Equal(value) => exact_rowid(value).into_iter().collect(),
        Bound::In(values) => values.iter().filter_map(exact_rowid).collect(),
        _ => Vec::new(),
    };
    rowids.sort_unstable();
    rowids.dedup();
    Some(Choice { access: Access::Rowids(rowids), implied: vec![chosen.condition] })
}

fn exact_rowid(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::Real(r) => {
            let int = *r as i64;
            crate::value::compare_int_real(int, *r).is_eq().then_some(int)
        }
        _ => None,
    }
}

/// The constraints on one column of an index, as far as they are in its collation.
fn on_field<'c>(
    constraints: &'c [Constraint],
    index: &Index,
    field: usize,
) -> impl Iterator<Item = &'c Constraint> {
    let column = index.fields.get(field).copied();
    let collation = index.order.get(field).map(|order| order.collation);
    constraints.iter().filter(move |c| Some(c.column) == column && Some(c.collation) == collation)
}

fn bounds_on(constraints: &[Constraint], index: &Index, field: usize) -> (Option<usize>, Option<usize>) {
    let position = |wanted: fn(&Bound) -> bool| {
        let found = on_field(constraints, index, field).find(|c| wanted(&c.bound))?;
        constraints.iter().position(|c| std::ptr::eq(c, found))
    };
    (position(|b| matches!(b, Bound::Lower(..))), position(|b| matches!(b, Bound::Upper(..))))
}

fn index_with_equality(table: &Table, constraints: &[Constraint]) -> Option<Choice> {
    let mut best = None;
    let mut best_score = (false, 0, false);
    for (number, index) in table.indexes.iter().enumerate() {
        let mut prefix: Vec<&Constraint> = Vec::new();
        let mut has_in = false;
        for field in 0..index.key.len() {
            let equal = on_field(constraints, index, field).find(|c| matches!(c.bound, Bound::Equal(_)));
            let list = || on_field(constraints, index, field).find(|c| matches!(c.bound, Bound::In(_)));
            let Some(found) = equal.or_else(|| if has_in { None } else { list() }) else { break };
            has_in |= matches!(found.bound, Bound::In(_));
            prefix.push(found);
        }
        if prefix.is_empty() {
            continue;
        }
        let is_unique = index.unique && prefix.len() == index.key.len();
        let range =
            prefix.len() < index.key.len() && bounds_on(constraints, index, prefix.len()) != (None, None);
        let score = (is_unique, prefix.len(), range);
        if best.is_none() || score > best_score {
            best_score = score;
            best = Some((number, prefix));
        }
    }
    let (number, prefix) = best?;
    Some(index_choice(table, number, &prefix, constraints))
}

fn index_with_range(table: &Table, constraints: &[Constraint]) -> Option<Choice> {
    let number = table.indexes.iter().position(|index| bounds_on(constraints, index, 0) != (None, None))?;
    Some(index_choice(table, number, &[], constraints))
}

fn index_choice(table: &Table, number: usize, prefix: &[&Constraint], constraints: &[Constraint]) -> Choice {
    let index = &table.indexes[number];
    let mut implied: Vec<usize> = prefix.iter().map(|c| c.condition).collect();
    let mut prefixes = vec![Vec::new()];
    for (constraint, order) in prefix.iter().zip(&index.order) {
        let values = match &constraint.bound {
            Bound::Equal(value) => vec![value.clone()],
            Bound::In(values) => in_index_order(values, *order),
            _ => Vec::new(),
        };
        let with =
            |p: &Vec<Value<'static>>, v: &Value<'static>| p.iter().chain([v]).cloned().collect::<Vec<_>>();
        prefixes = prefixes.iter().flat_map(|p| values.iter().map(move |v| with(p, v))).collect();
    }
    let mut lower = None;
    let mut upper = None;
    if prefix.len() < index.key.len() {
        let (low, high) = bounds_on(constraints, index, prefix.len());
        for constraint in low.into_iter().chain(high).map(|at| &constraints[at]) {
            implied.push(constraint.condition);
            match &constraint.bound {
                // No value is less or greater than NULL.
                Bound::Lower(Value::Null, _) | Bound::Upper(Value::Null, _) => prefixes.clear(),
                Bound::Lower(value, inclusive) => lower = Some((value.clone(), *inclusive)),
                Bound::Upper(value, inclusive) => upper = Some((value.clone(), *inclusive)),
                _ => {}
            }
        }
    }
    let equal_columns = prefix.len();
    let single_columns = if prefixes.len() == 1 { equal_columns } else { 0 };
    let access = IndexAccess {
        index: number,
        is_covering: false,
        prefixes,
        equal_columns,
        single_columns,
        lower,
        upper,
    };
    Choice { access: Access::Index(access), implied }
}

fn in_index_order(values: &[Value<'static>], order: KeyOrder) -> Vec<Value<'static>> {
    let mut values = values.to_vec();
    let compare = |a: &Value<'_>, b: &Value<'_>| {
        let ascending = a.compare(b, order.collation);
        if order.descending { ascending.reverse() } else { ascending }
    };
    values.sort_by(|a, b| compare(a, b));
    values.dedup_by(|a, b| compare(a, b) == Ordering::Equal);
    values
}

fn rowid_range(table: &Table, constraints: &[Constraint]) -> Option<Choice> {
    if table.without_rowid {
        return None;
    }
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    let (mut is_low_bound, mut is_high_bound) = (false, false);
    let mut implied = Vec::new();
    let mut is_empty = false;
    for constraint in constraints.iter().filter(|c| c.column == IndexField::Rowid) {
        let bound = match &constraint.bound {
            Bound::Lower(value, inclusive) if !is_low_bound => {
                is_low_bound = true;
                lowest_rowid(value, *inclusive).map(|n| low = n)
            }
            Bound::Upper(value, inclusive) if !is_high_bound => {
                is_high_bound = true;
                highest_rowid(value, *inclusive).map(|n| high = n)
            }
            _ => continue,
        };
        is_empty |= bound.is_none();
        implied.push(constraint.condition);
    }
    if implied.is_empty() {
        return None;
    }
    if is_empty {
        (low, high) = (i64::MAX, i64::MIN);
    }
    Some(Choice { access: Access::RowidRange { low, high, is_low_bound, is_high_bound }, implied })
}

/// The least rowid above the bound; None if there is none.
fn lowest_rowid(bound: &Value<'_>, inclusive: bool) -> Option<i64> {
    match bound {
        Value::Int(i) if inclusive => Some(*i),
        Value::Int(i) => i.checked_add(1),
        Value::Real(r) if *r < -9_223_372_036_854_775_808.0 => Some(i64::MIN),
        Value::Real(r) if *r >= 9_223_372_036_854_775_808.0 => None,
        Value::Real(r) if r.fract() == 0.0 => lowest_rowid(&Value::Int(*r as i64), inclusive),
        Value::Real(r) => Some(r.ceil() as i64),
        Value::Null | Value::Text(_) | Value::Blob(_) => None, // text and blobs are above all numbers
    }
}

/// The greatest rowid below the bound; None if there is none.
fn highest_rowid(bound: &Value<'_>, inclusive: bool) -> Option<i64> {
    match bound {
        Value::Int(i) if inclusive => Some(*i),
        Value::Int(i) => i.checked_sub(1),
        Value::Real(r) if *r < -9_223_372_036_854_775_808.0 => None,
        Value::Real(r) if *r >= 9_223_372_036_854_775_808.0 => Some(i64::MAX),
        Value::Real(r) if r.fract() == 0.0 => highest_rowid(&Value::Int(*r as i64), inclusive),
        Value::Real(r) => Some(r.floor() as i64),
        Value::Text(_) | Value::Blob(_) => Some(i64::MAX),
        Value::Null => None,
    }
}

fn full_scan(table: &Table, needed: &Needed) -> Choice {
    let covering =
        table.indexes.iter().enumerate().filter(|(_, index)| !index.is_primary_key && needed.are_in(index));
    let smallest = covering.min_by_key(|(_, index)| index.key.len()).map(|(number, _)| number);
    // A WITHOUT ROWID table is the index of its primary key, which comes first.
    let index = smallest.or(table.without_rowid.then_some(0));
    let access = match index {
        None => {
            Access::RowidRange { low: i64::MIN, high: i64::MAX, is_low_bound: false, is_high_bound: false }
        }
        Some(index) => Access::Index(IndexAccess {
            index,
            is_covering: true,
            prefixes: vec![Vec::new()],
            equal_columns: 0,
            single_columns: 0,
            lower: None,
            upper: None,
        }),
    };
    Choice { access, implied: Vec::new() }
}

/// Where the records that the scan ends up with hold each needed column.
fn layout(table: &Table, access: &Access, needed: &Needed) -> Layout {
    let covering = match access {
        Access::Index(access) if access.is_covering && !table.indexes[access.index].is_primary_key => {
            Some(&table.indexes[access.index])
        }
        _ => None,
    };
    let stored = table.field_of_column();
    let mut columns = Vec::with_capacity(table.columns.len());
    for (number, column) in table.columns.iter().enumerate() {
        let field = match covering {
            Some(index) => index.fields.iter().position(|f| *f == IndexField::Column(number)),
            None => stored[number],
        };
        columns.push(match field {
            Some(index) if needed.columns[number] => {
                let default = match (&column.default, covering) {
                    // A default that is no constant cannot have been added to rows that exist.
                    (Some(syntax), None) => {
                        Compiler::constant(syntax).unwrap_or(Value::Null).stored_as(column.affinity)
                    }
                    _ => Value::Null,
                };
                ColumnSource::Field { index, is_real: column.affinity == Affinity::Real, default }
            }
            _ => ColumnSource::Absent,
        });
    }
    let rowid = match covering.and_then(|index| index.fields.iter().position(|f| *f == IndexField::Rowid)) {
        Some(index) => ColumnSource::Field { index, is_real: false, default: Value::Null },
        None => ColumnSource::Rowid,
    };
    Layout { columns, rowid }
}
