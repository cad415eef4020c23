//! Names to columns, and the syntax tree to the expressions that run: affinities and collations are
//! decided here, constants are computed once.

use crate::error::{Error, Result};
use crate::eval::{BitOp, Comparison, Context, Expr, InList, Like, Terms, compile_pattern};
use crate::functions;
use crate::key::{self, SortOrder};
use crate::parser::{self, BinaryOp, ColumnName, UnaryOp};
use crate::schema::Table;
use crate::value::{Affinity, Arithmetic, Collation, Value};

/// Lists of constants longer than this are looked up by hash.
const LONG_LIST: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateKind {
    Count,
    Sum,
    Total,
    Average,
    Min,
    Max,
}

#[derive(Debug)]
pub struct Aggregate {
    pub kind: AggregateKind,
    /// None for COUNT(*).
    pub argument: Option<Expr>,
    pub distinct: bool,
    pub collation: Collation,
    syntax: parser::Expr,
}

/// An expression, and what a comparison needs to know about it.
pub struct Typed {
    pub expr: Expr,
    pub affinity: Option<Affinity>,
    pub collation: Option<Collation>,
    /// The collation was written with COLLATE, here or below.
    is_explicit: bool,
    /// No column and no aggregate is below, so the value is the same for every row.
    is_constant: bool,
}

impl Typed {
    fn constant(value: Value<'static>) -> Self {
        Self {
            expr: Expr::Constant(value),
            affinity: None,
            collation: None,
            is_explicit: false,
            is_constant: true,
        }
    }

    /// An operator or function over `parts` passes on the collation of the first part that has an
    /// explicit one.
    fn over(expr: Expr, parts: &[Trait]) -> Self {
        let explicit = parts.iter().find(|part| part.is_explicit);
        Self {
            expr,
            affinity: None,
            collation: explicit.and_then(|part| part.collation),
            is_explicit: explicit.is_some(),
            is_constant: parts.iter().all(|part| part.is_constant),
        }
    }

    fn traits(&self) -> Trait {
        Trait {
            affinity: self.affinity,
            collation: self.collation,
            is_explicit: self.is_explicit,
            is_constant: self.is_constant,
        }
    }

    /// A constant is computed now, whatever it is written with. One that fails stays as it is: it is
    /// an error only if a row meets it.
    fn folded(self) -> Self {
        if !self.is_constant || matches!(self.expr, Expr::Constant(_)) {
            return self;
        }
        let value = self.expr.eval(&Context::Nothing).map(Value::into_owned);
        Self { expr: value.map_or(self.expr, Expr::Constant), ..self }
    }
}

/// A `Typed` without its expression.
#[derive(Clone, Copy)]
pub struct Trait {
    affinity: Option<Affinity>,
    collation: Option<Collation>,
    is_explicit: bool,
    is_constant: bool,
}

/// The terms of comparing two expressions: an explicit collation wins, then the left one's.
fn terms_of(left: Trait, right: Trait) -> Terms {
    let collation = if left.is_explicit || (left.collation.is_some() && !right.is_explicit) {
        left.collation
    } else {
        right.collation
    };
    Terms {
        affinity: Affinity::of_comparison(left.affinity, right.affinity),
        collation: collation.unwrap_or(Collation::Binary),
    }
}

/// Where aggregates may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AggregatesAre {
    Allowed,
    /// In WHERE, GROUP BY and the like.
    Misplaced,
    /// Inside the argument of another aggregate.
    Nested,
}

pub struct Compiler<'a> {
    table: Option<&'a Table>,
    /// The name that qualifies columns: the alias, if there is one.
    qualifier: &'a str,
    /// Names of result columns, usable where no column has the name.
    pub aliases: Vec<(&'a str, &'a parser::Expr)>,
    pub aggregates: Vec<Aggregate>,
    aggregates_are: AggregatesAre,
}

impl<'a> Compiler<'a> {
    pub fn new(table: Option<&'a Table>, qualifier: &'a str) -> Self {
        Self {
            table,
            qualifier,
            aliases: Vec::new(),
            aggregates: Vec::new(),
            aggregates_are: AggregatesAre::Misplaced,
        }
    }

    /// The value of an expression without columns.
    pub fn constant(syntax: &parser::Expr) -> Result<Value<'static>> {
        let expr = Compiler::new(None, "").scalar(syntax)?.expr;
        expr.eval(&Context::Nothing).map(Value::into_owned)
    }

    /// An expression over a row, where aggregates are a mistake.
    pub fn scalar(&mut self, syntax: &'a parser::Expr) -> Result<Typed> {
        self.aggregates_are = AggregatesAre::Misplaced;
        self.expr(syntax)
    }

    /// An expression that may use aggregates.
    pub fn result(&mut self, syntax: &'a parser::Expr) -> Result<Typed> {
        self.aggregates_are = AggregatesAre::Allowed;
        self.expr(syntax)
    }

    pub fn qualifies(&self, name: &str) -> bool {
        self.table.is_some() && self.qualifier.eq_ignore_ascii_case(name)
    }

    fn expr(&mut self, syntax: &'a parser::Expr) -> Result<Typed> {
        Ok(self.unfolded(syntax)?.folded())
    }

    fn boxed(&mut self, syntax: &'a parser::Expr) -> Result<(Box<Expr>, Trait)> {
        let typed = self.expr(syntax)?;
        let traits = typed.traits();
        Ok((Box::new(typed.expr), traits))
    }

    fn unfolded(&mut self, syntax: &'a parser::Expr) -> Result<Typed> {
        use parser::Expr as S;
        Ok(match syntax {
            S::Null => Typed::constant(Value::Null),
            S::Integer(i) => Typed::constant(Value::Int(*i)),
            S::Real(r) => Typed::constant(Value::real(*r)),
            S::String(s) => Typed::constant(Value::text(s.clone().into_bytes())),
            S::Blob(b) => Typed::constant(Value::blob(b.clone())),
            S::Column(name) => self.column(name)?,
            S::Unary(op, operand) => self.unary(*op, operand)?,
            S::Binary(op, left, right) => self.binary(*op, left, right)?,
            S::Between { value, low, high, negated } => self.between(value, low, high, *negated)?,
            S::In { value, list, negated } => self.in_list(value, list, *negated)?,
            S::Like { .. } => self.like(syntax)?,
            S::IsNull { value, negated } => {
                let (value, traits) = self.boxed(value)?;
                Typed::over(Expr::IsNull { value, negated: *negated }, &[traits])
            }
            S::Case { base, branches, otherwise } => {
                self.case(base.as_deref(), branches, otherwise.as_deref())?
            }
            S::Cast { value, type_name } => {
                let typed = self.expr(value)?;
                let affinity = Affinity::of_type(type_name);
                Typed { expr: Expr::Cast(affinity, Box::new(typed.expr)), affinity: Some(affinity), ..typed }
            }
            S::Collate { value, collation } => {
                let typed = self.expr(value)?;
                let known = Collation::from_name(collation);
                let known =
                    known.ok_or_else(|| Error::input(format!("no such collation sequence: {collation}")))?;
                Typed { collation: Some(known), is_explicit: true, ..typed }
            }
            S::Call { .. } => self.call(syntax)?,
        })
    }

    fn column(&mut self, name: &ColumnName) -> Result<Typed> {
        let ColumnName { table, column, .. } = name;
        let in_scope = match table {
            Some(qualifier) => self.qualifies(qualifier),
            None => true,
        };
        if let Some(found) = self.table.filter(|_| in_scope) {
            if let Some(index) = found.column(column) {
                return Self::table_column(found, index);
            }
            let is_rowid = ["rowid", "_rowid_", "oid"].iter().any(|n| column.eq_ignore_ascii_case(n));
            if is_rowid && !found.without_rowid {
                return Ok(rowid());
            }
        }
        if table.is_none() {
            let alias = self
                .aliases
                .iter()
                .find(|(alias, _)| alias.eq_ignore_ascii_case(column))
                .map(|(_, expr)| *expr);
            if let Some(expr) = alias {
                // The alias's own names mean columns, never other aliases.
                let aliases = std::mem::take(&mut self.aliases);
                let typed = self.expr(expr);
                self.aliases = aliases;
                return typed;
            }
        }
        if name.bare && column.eq_ignore_ascii_case("true") {
            return Ok(Typed::constant(Value::Int(1)));
        }
        if name.bare && column.eq_ignore_ascii_case("false") {
            return Ok(Typed::constant(Value::Int(0)));
        }
        if name.maybe_string {
            return Ok(Typed::constant(Value::text(column.clone().into_bytes())));
        }
        let full = table.as_ref().map_or_else(|| column.clone(), |t| format!("{t}.{column}"));
        Err(Error::input(format!("no such column: {full}")))
    }

    fn table_column(table: &Table, index: usize) -> Result<Typed> {
        if table.rowid_alias == Some(index) {
            return Ok(rowid());
        }
        let column = &table.columns[index];
        if column.is_virtual {
            return Err(Error::input(format!(
                "{}.{}: virtual generated columns are not supported",
                table.name, column.name
            )));
        }
        let Some(collation) = column.collation else {
            return Err(Error::input(format!("{}.{}: collation is not supported", table.name, column.name)));
        };
        Ok(Typed {
            expr: Expr::Column(index),
            affinity: Some(column.affinity),
            collation: Some(collation),
            is_explicit: false,
            is_constant: false,
        })
    }

    fn unary(&mut self, op: UnaryOp, operand: &'a parser::Expr) -> Result<Typed> {
        if op == UnaryOp::Plus {
            // Plus keeps the collation and takes the affinity away.
            let typed = self.expr(operand)?;
            return Ok(Typed { expr: Expr::Plus(Box::new(typed.expr)), affinity: None, ..typed });
        }
        if op == UnaryOp::Negate
            && let parser::Expr::Real(r) = operand
        {
            return Ok(Typed::constant(Value::real(-r)));
        }
        let (operand, traits) = self.boxed(operand)?;
        let expr = match op {
            UnaryOp::Not => Expr::Not(operand),
            UnaryOp::BitNot => Expr::BitNot(operand),
            _ => Expr::Arithmetic(Arithmetic::Subtract, Box::new([Expr::Constant(Value::Int(0)), *operand])),
        };
        Ok(Typed::over(expr, &[traits]))
    }

    fn binary(&mut self, op: BinaryOp, left: &'a parser::Expr, right: &'a parser::Expr) -> Result<Typed> {
        if let (BinaryOp::Is | BinaryOp::IsNot, Some(wanted)) = (op, self.truth_literal(right)) {
            let (value, traits) = self.boxed(left)?;
            return Ok(Typed::over(
                Expr::IsTruth { value, wanted, negated: op == BinaryOp::IsNot },
                &[traits],
            ));
        }
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let traits = [left.traits(), right.traits()];
        let comparison = match op {
            BinaryOp::Equal => Comparison::Equal,
            BinaryOp::NotEqual => Comparison::NotEqual,
            BinaryOp::Less => Comparison::Less,
            BinaryOp::LessEqual => Comparison::LessEqual,
            BinaryOp::Greater => Comparison::Greater,
            BinaryOp::GreaterEqual => Comparison::GreaterEqual,
            BinaryOp::Is => Comparison::Is,
            BinaryOp::IsNot => Comparison::IsNot,
            _ => return Ok(Typed::over(operator(op, Box::new([left.expr, right.expr])), &traits)),
        };
        let compared = compared(comparison, terms_of(traits[0], traits[1]), left.expr, right.expr);
        Ok(Typed::over(compared, &traits))
    }

    /// TRUE or FALSE as the right side of IS, unless a column has that name.
    fn truth_literal(&self, syntax: &parser::Expr) -> Option<bool> {
        let parser::Expr::Column(name) = syntax else { return None };
        if !name.bare || self.table.is_some_and(|t| t.column(&name.column).is_some()) {
            return None;
        }
        match name.column.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn between(
        &mut self,
        value: &'a parser::Expr,
        low: &'a parser::Expr,
        high: &'a parser::Expr,
        negated: bool,
    ) -> Result<Typed> {
        let value = self.expr(value)?;
        let (low, high) = (self.expr(low)?, self.expr(high)?);
        let traits = [value.traits(), low.traits(), high.traits()];
        let terms = [terms_of(traits[0], traits[1]), terms_of(traits[0], traits[2])];
        // Two comparisons of a column can become the bounds of a scan. Another value is computed once:
        // nested, computing it twice would double the work at every level.
        let second = match &value.expr {
            Expr::Column(column) => Some(Expr::Column(*column)),
            Expr::Rowid => Some(Expr::Rowid),
            _ => None,
        };
        let both = match second {
            Some(second) => Expr::And(Box::new([
                compared(Comparison::GreaterEqual, terms[0], value.expr, low.expr),
                compared(Comparison::LessEqual, terms[1], second, high.expr),
            ])),
            None => Expr::Between(terms, Box::new([value.expr, low.expr, high.expr])),
        };
        Ok(Typed::over(if negated { Expr::Not(Box::new(both)) } else { both }, &traits))
    }

    fn in_list(
        &mut self,
        value: &'a parser::Expr,
        syntax: &'a [parser::Expr],
        negated: bool,
    ) -> Result<Typed> {
        let value = self.expr(value)?;
        let mut traits = vec![value.traits()];
        let mut terms = Terms {
            affinity: value.affinity.unwrap_or(Affinity::Blob),
            collation: value.collation.unwrap_or(Collation::Binary),
        };
        let mut list = Vec::with_capacity(syntax.len());
        for candidate in syntax {
            let candidate = self.expr(candidate)?;
            traits.push(candidate.traits());
            list.push(match candidate.expr {
                Expr::Constant(v) => Expr::Constant(v.for_comparison(terms.affinity)),
                other => other,
            });
        }
        // To SQLite, a list of one constant is an equality, where the right side's COLLATE counts.
        if let [only] = syntax
            && self.is_constant_syntax(only)
        {
            terms.collation = terms_of(traits[0], traits[1]).collation;
        }
        let mut keys = None;
        if list.len() > LONG_LIST && list.iter().all(|e| matches!(e, Expr::Constant(_))) {
            let constants =
                list.iter().filter_map(|e| if let Expr::Constant(v) = e { Some(v) } else { None });
            let key_of = |v: &Value<'static>| {
                let mut key = Vec::new();
                key::append(v, SortOrder::ascending(terms.collation), &mut key);
                key
            };
            keys = Some(constants.filter(|v| !v.is_null()).map(key_of).collect());
        }
        Ok(Typed::over(Expr::In(Box::new(InList { value: value.expr, list, terms, negated, keys })), &traits))
    }

    /// What SQLite's parser takes for a constant, before it knows names: no function (LIKE is one) and
    /// no name but TRUE and FALSE.
    fn is_constant_syntax(&self, syntax: &parser::Expr) -> bool {
        use parser::Expr as S;
        let is_constant = |e: &parser::Expr| self.is_constant_syntax(e);
        match syntax {
            S::Null | S::Integer(_) | S::Real(_) | S::String(_) | S::Blob(_) => true,
            S::Column(_) => self.truth_literal(syntax).is_some(),
            S::Like { .. } | S::Call { .. } => false,
            S::Unary(_, value)
            | S::IsNull { value, .. }
            | S::Cast { value, .. }
            | S::Collate { value, .. } => is_constant(value),
            S::Binary(_, left, right) => is_constant(left) && is_constant(right),
            S::Between { value, low, high, .. } => [value, low, high].into_iter().all(|e| is_constant(e)),
            S::In { value, list, .. } => is_constant(value) && list.iter().all(is_constant),
            S::Case { base, branches, otherwise } => {
                base.iter().chain(otherwise).all(|e| is_constant(e))
                    && branches
                        .iter()
                        .all(|(condition, result)| is_constant(condition) && is_constant(result))
            }
        }
    }

    fn like(&mut self, syntax: &'a parser::Expr) -> Result<Typed> {
        let parser::Expr::Like { glob, value, pattern, escape, negated } = syntax else {
            unreachable!("caller matched LIKE")
        };
        let (value, pattern) = (self.expr(value)?, self.expr(pattern)?);
        let escape = escape.as_deref().map(|e| self.expr(e)).transpose()?;
        let traits = [value.traits(), pattern.traits()];
        let is_constant = traits.iter().chain(&escape.as_ref().map(Typed::traits)).all(|t| t.is_constant);
        let escape = escape.map(|typed| typed.expr);
        let mut compiled = None;
        if let (Expr::Constant(text), None | Some(Expr::Constant(_))) = (&pattern.expr, &escape)
            && !matches!(text, Value::Blob(_))
        {
            let escape = escape.as_ref().map(|e| if let Expr::Constant(v) = e { v } else { &Value::Null });
            // A wrong pattern is an error only when a row meets it.
            compiled = compile_pattern(text, escape, *glob).ok().flatten();
        }
        let like = Like {
            value: value.expr,
            pattern: pattern.expr,
            escape,
            glob: *glob,
            negated: *negated,
            compiled,
        };
        Ok(Typed { is_constant, ..Typed::over(Expr::Like(Box::new(like)), &traits) })
    }

    fn case(
        &mut self,
        base: Option<&'a parser::Expr>,
        syntax: &'a [(parser::Expr, parser::Expr)],
        otherwise: Option<&'a parser::Expr>,
    ) -> Result<Typed> {
        let base = base.map(|e| self.expr(e)).transpose()?;
        let mut traits: Vec<Trait> = base.iter().map(Typed::traits).collect();
        let mut branches = Vec::with_capacity(syntax.len());
        for (condition, result) in syntax {
            let (condition, result) = (self.expr(condition)?, self.expr(result)?);
            let terms = base.as_ref().map(|b| terms_of(b.traits(), condition.traits()));
            traits.extend([condition.traits(), result.traits()]);
            branches.push((terms, condition.expr, result.expr));
        }
        let otherwise = otherwise.map(|e| self.boxed(e)).transpose()?;
        traits.extend(otherwise.as_ref().map(|(_, t)| *t));
        let otherwise = otherwise.map(|(e, _)| e);
        let expr = match base {
            None => {
                Expr::Case { branches: branches.into_iter().map(|(_, c, r)| (c, r)).collect(), otherwise }
            }
            Some(base) => {
                let branches =
                    branches.into_iter().filter_map(|(terms, c, r)| terms.map(|t| (t, c, r))).collect();
                Expr::CaseOf { base: Box::new(base.expr), branches, otherwise }
            }
        };
        Ok(Typed::over(expr, &traits))
    }

    fn call(&mut self, syntax: &'a parser::Expr) -> Result<Typed> {
        let parser::Expr::Call { name, distinct, star, arguments } = syntax else {
            unreachable!("caller matched a call")
        };
        if let Some(kind) = aggregate_kind(name, arguments.len()) {
            return self.aggregate(kind, syntax);
        }
        if *star || *distinct {
            functions::lookup(name, arguments.len())?;
            let what = if *star {
                "wrong number of arguments to function"
            } else {
                "DISTINCT is not supported in function"
            };
            return Err(Error::input(format!("{what} {name}()")));
        }
        if let ("like" | "glob", [pattern, value, escape @ ..]) =
            (name.to_ascii_lowercase().as_str(), arguments.as_slice())
            && escape.len() <= 1
        {
            let (pattern, value) = (self.expr(pattern)?, self.expr(value)?);
            let escape = escape.first().map(|e| self.expr(e)).transpose()?;
            let parts = [Some(&pattern), Some(&value), escape.as_ref()];
            let is_constant = parts.into_iter().flatten().all(|part| part.is_constant);
            let escape = escape.map(|typed| typed.expr);
            let glob = name.eq_ignore_ascii_case("glob");
            let like = Like {
                value: value.expr,
                pattern: pattern.expr,
                escape,
                glob,
                negated: false,
                compiled: None,
            };
            return Ok(Typed { is_constant, ..Typed::over(Expr::Like(Box::new(like)), &[]) });
        }
        let function = functions::lookup(name, arguments.len())?;
        let mut traits = Vec::with_capacity(arguments.len());
        let mut compiled = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let typed = self.expr(argument)?;
            traits.push(typed.traits());
            compiled.push(typed.expr);
        }
        let collation = traits.iter().find_map(|t| t.collation).unwrap_or(Collation::Binary);
        Ok(Typed::over(Expr::Call { function, collation, arguments: compiled }, &traits))
    }

    fn aggregate(&mut self, kind: AggregateKind, syntax: &'a parser::Expr) -> Result<Typed> {
        let parser::Expr::Call { name, distinct, star, arguments } = syntax else {
            unreachable!("caller matched a call")
        };
        if *star && kind != AggregateKind::Count {
            return Err(Error::input(format!("wrong number of arguments to function {name}()")));
        }
        if *distinct && arguments.len() != 1 {
            return Err(Error::input("DISTINCT aggregates must have exactly one argument"));
        }
        if arguments.len() > 1 || (arguments.is_empty() && kind != AggregateKind::Count) {
            return Err(Error::input(format!("wrong number of arguments to function {name}()")));
        }
        if self.aggregates_are != AggregatesAre::Allowed {
            return Err(Error::input(format!("misuse of aggregate function {name}()")));
        }
        if let Some(known) = self.aggregates.iter().position(|a| a.syntax == *syntax) {
            return Ok(Typed { is_constant: false, ..Typed::over(Expr::Aggregate(known), &[]) });
        }
        self.aggregates_are = AggregatesAre::Nested;
        let argument = arguments.first().map(|a| self.expr(a)).transpose();
        self.aggregates_are = AggregatesAre::Allowed;
        let argument = argument?;
        let collation = argument.as_ref().and_then(|a| a.collation).unwrap_or(Collation::Binary);
        let traits: Vec<Trait> = argument.iter().map(Typed::traits).collect();
        let argument = argument.map(|a| a.expr);
        self.aggregates.push(Aggregate {
            kind,
            argument,
            distinct: *distinct,
            collation,
            syntax: syntax.clone(),
        });
        let expr = Expr::Aggregate(self.aggregates.len() - 1);
        Ok(Typed { is_constant: false, ..Typed::over(expr, &traits) })
    }
}

fn rowid() -> Typed {
    let (affinity, collation) = (Some(Affinity::Integer), Some(Collation::Binary));
    Typed { expr: Expr::Rowid, affinity, collation, is_explicit: false, is_constant: false }
}

/// Whether a call is an aggregate: MIN and MAX only are with one argument.
fn aggregate_kind(name: &str, arguments: usize) -> Option<AggregateKind> {
    Some(match name.to_ascii_lowercase().as_str() {
        "count" => AggregateKind::Count,
        "sum" => AggregateKind::Sum,
        "total" => AggregateKind::Total,
        "avg" => AggregateKind::Average,
        "min" if arguments <= 1 => AggregateKind::Min,
        "max" if arguments <= 1 => AggregateKind::Max,
        _ => return None,
    })
}

fn operator(op: BinaryOp, sides: Box<[Expr; 2]>) -> Expr {
    match op {
        BinaryOp::Or => Expr::Or(sides),
        BinaryOp::And => Expr::And(sides),
        BinaryOp::BitAnd => Expr::Bits(BitOp::And, sides),
        BinaryOp::BitOr => Expr::Bits(BitOp::Or, sides),
        BinaryOp::ShiftLeft => Expr::Bits(BitOp::ShiftLeft, sides),
        BinaryOp::ShiftRight => Expr::Bits(BitOp::ShiftRight, sides),
        BinaryOp::Add => Expr::Arithmetic(Arithmetic::Add, sides),
        BinaryOp::Subtract => Expr::Arithmetic(Arithmetic::Subtract, sides),
        BinaryOp::Multiply => Expr::Arithmetic(Arithmetic::Multiply, sides),
        BinaryOp::Divide => Expr::Arithmetic(Arithmetic::Divide, sides),
        BinaryOp::Remainder => Expr::Arithmetic(Arithmetic::Remainder, sides),
        BinaryOp::Concat => Expr::Concat(sides),
        _ => unreachable!("comparisons are compiled by the caller"),
    }
}

/// A comparison whose constants already have the affinity that it applies.
fn compared(op: Comparison, terms: Terms, left: Expr, right: Expr) -> Expr {
    let convert = |side: Expr| match side {
        Expr::Constant(value) => Expr::Constant(value.for_comparison(terms.affinity)),
        other => other,
    };
    Expr::Compare(op, terms, Box::new([convert(left), convert(right)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{ResultColumn, parse};

    fn value(sql: &str) -> Result<String> {
        let select = parse(&format!("SELECT {sql}"))?;
        let ResultColumn::Expr { expr, .. } = &select.columns[0] else { panic!("not an expression") };
        let value = Compiler::constant(expr)?;
        Ok(match value {
            Value::Null => "NULL".to_owned(),
            other => format!("{} {}", other.type_name(), String::from_utf8_lossy(&other.to_bytes().unwrap())),
        })
    }

    #[test]
    fn constant_expressions() {
        let cases = [
            ("1 + 2 * 3", "integer 7"),
            ("7 / 2, 1", "integer 3"),
            ("7 / 2.0", "real 3.5"),
            ("1 = '1'", "integer 0"),
            ("CAST('1' AS INT) = 1", "integer 1"),
            ("CAST(1 AS TEXT) = 1", "integer 1"),
            ("'a' = 'A' COLLATE NOCASE", "integer 1"),
            ("'a' COLLATE BINARY = 'A' COLLATE NOCASE", "integer 0"),
            ("('a' COLLATE NOCASE || '') = 'A'", "integer 1"),
            ("NULL AND 0", "integer 0"),
            ("NULL OR 1", "integer 1"),
            ("NULL AND 1", "NULL"),
            ("NOT NULL", "NULL"),
            ("NULL IS NULL", "integer 1"),
            ("2 IS TRUE", "integer 1"),
            ("NULL IS NOT FALSE", "integer 1"),
            ("1 IN (1, NULL)", "integer 1"),
            ("2 IN (1, NULL)", "NULL"),
            ("NULL IN ()", "integer 0"),
            ("3 BETWEEN 1 AND 5", "integer 1"),
            ("CASE 2 WHEN 1 THEN 'a' WHEN 2.0 THEN 'b' END", "text b"),
            ("CASE WHEN 0 THEN 1 END", "NULL"),
            ("NULL BETWEEN 1 AND 2", "NULL"),
            ("5 BETWEEN 6 AND NULL", "integer 0"),
            ("5 BETWEEN NULL AND 6", "NULL"),
            ("5 NOT BETWEEN 6 AND NULL", "integer 1"),
            ("'B' COLLATE NOCASE BETWEEN 'a' AND 'c'", "integer 1"),
            ("'B' BETWEEN 'a' COLLATE NOCASE AND 'c'", "integer 1"),
            ("CAST(5 AS TEXT) BETWEEN 10 AND 6", "integer 1"),
            // A list of one constant is an equality to SQLite, with the collation of its right side;
            // a function is no constant yet when it decides that.
            ("'A' IN ('a' COLLATE NOCASE)", "integer 1"),
            ("'A' NOT IN ('a' COLLATE NOCASE)", "integer 0"),
            ("'A' COLLATE BINARY IN ('a' COLLATE NOCASE)", "integer 0"),
            ("'A' IN ('a' COLLATE NOCASE || '')", "integer 1"),
            ("'A' IN ('a' COLLATE NOCASE, 'b')", "integer 0"),
            ("'A' IN (lower('A') COLLATE NOCASE)", "integer 0"),
            ("CAST(1 AS TEXT) IN (1)", "integer 1"),
            ("1 IN (CAST('1' AS TEXT))", "integer 0"),
            ("'abc' LIKE 'A%'", "integer 1"),
            ("x'6162' LIKE 'ab'", "integer 0"),
            ("-x'31'", "integer -1"),
            ("~5 & 0xf | 16 << 1", "integer 52"),
            ("1 || 2.5", "text 12.5"),
            ("max(1, 2.5, 'a')", "text a"),
            ("\"word\"", "text word"),
            ("true + true", "integer 2"),
            ("1e308 * 10", "real Inf"),
            ("1e308 * 10 - 1e308 * 10", "NULL"),
        ];
        for (sql, expected) in cases {
            assert_eq!(value(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn constants_are_computed_however_they_are_written() {
        let constant = [
            "1 BETWEEN 0 AND 2",
            "CASE WHEN 1 THEN 5 END",
            "CASE 1 WHEN 2 THEN 3 ELSE 4 END",
            "1 IN (2, 3)",
            "'a' LIKE 'A'",
            "like('a', 'A')",
            // The branch that fails is never taken.
            "CASE WHEN 1 THEN 5 ELSE abs(-9223372036854775808) END",
        ];
        let varying = ["count(*)", "1 + sum(1)", "CASE WHEN count(*) THEN 1 ELSE 2 END"];
        let failing = ["abs(-9223372036854775808)", "1 + abs(-9223372036854775808)"];
        let is_computed = |sql: &str| {
            let select = parse(&format!("SELECT {sql}")).unwrap();
            let ResultColumn::Expr { expr, .. } = &select.columns[0] else { panic!("not an expression") };
            matches!(Compiler::new(None, "").result(expr).unwrap().expr, Expr::Constant(_))
        };
        assert!(constant.into_iter().all(is_computed));
        assert!(!varying.into_iter().chain(failing).any(is_computed));
    }

    #[test]
    fn nested_between_computes_its_value_once() {
        let sql = format!("count(*) {}", "BETWEEN 0 AND 1 ".repeat(60));
        let select = parse(&format!("SELECT {sql}")).unwrap();
        let ResultColumn::Expr { expr, .. } = &select.columns[0] else { panic!("not an expression") };
        assert!(Compiler::new(None, "").result(expr).is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("a", "no such column: a"),
            ("t.a", "no such column: t.a"),
            ("[a b]", "no such column: a b"),
            ("count(*)", "misuse of aggregate function count()"),
            ("abs(*)", "wrong number of arguments to function abs()"),
            ("min(1, 2, 3) COLLATE other", "no such collation sequence: other"),
            ("abs(-9223372036854775808)", "integer overflow"),
            ("'a' LIKE 'b' ESCAPE 'xy'", "ESCAPE expression must be a single character"),
        ];
        for (sql, expected) in cases {
            let message = value(sql).unwrap_err().to_string();
            assert!(message.contains(expected), "{sql}: {message}");
        }
    }
}
