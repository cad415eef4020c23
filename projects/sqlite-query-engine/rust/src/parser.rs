//! The SELECT statement and its expressions, as a tree. Also parses the expressions of DEFAULT.

use crate::error::{Error, Result};
use crate::lexer::{Kind, Token, tokens};

/// SQLite's own limit on the height of an expression tree; it also bounds our recursion.
pub const MAX_EXPRESSION_DEPTH: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    Not,
    Negate,
    Plus,
    BitNot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Is,
    IsNot,
    BitAnd,
    BitOr,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Concat,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Null,
    Integer(i64),
    Real(f64),
    String(String),
    Blob(Vec<u8>),
    Column(ColumnName),
    Unary(UnaryOp, Box<Expr>),
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    Between { value: Box<Expr>, low: Box<Expr>, high: Box<Expr>, negated: bool },
    In { value: Box<Expr>, list: Vec<Expr>, negated: bool },
    Like { glob: bool, value: Box<Expr>, pattern: Box<Expr>, escape: Option<Box<Expr>>, negated: bool },
    IsNull { value: Box<Expr>, negated: bool },
    Case { base: Option<Box<Expr>>, branches: Vec<(Expr, Expr)>, otherwise: Option<Box<Expr>> },
    Cast { value: Box<Expr>, type_name: String },
    Collate { value: Box<Expr>, collation: String },
    Call { name: String, distinct: bool, star: bool, arguments: Vec<Expr> },
}

#[derive(Clone, Debug, PartialEq)]
pub struct ColumnName {
    pub table: Option<String>,
    pub column: String,
    /// Written in double quotes: becomes a string when there is no such column.
    pub maybe_string: bool,
    /// Written bare: may be TRUE or FALSE when there is no such column.
    pub bare: bool,
}

#[derive(Clone, Debug)]
pub enum ResultColumn {
    /// `*`, or `t.*` with its table.
    Star(Option<String>),
    Expr {
        expr: Expr,
        alias: Option<String>,
        text: String,
    },
}

#[derive(Clone, Debug)]
pub struct OrderTerm {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct TableName {
    pub name: String,
    pub alias: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Select {
    pub explain: bool,
    pub distinct: bool,
    pub columns: Vec<ResultColumn>,
    pub from: Option<TableName>,
    pub filter: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub having: Option<Expr>,
    pub order_by: Vec<OrderTerm>,
    pub limit: Option<Expr>,
    pub offset: Option<Expr>,
}

pub fn parse(sql: &str) -> Result<Select> {
    let tokens = tokens(sql)?;
    let mut parser = Parser::new(sql, &tokens);
    let select = parser.statement()?;
    while parser.take_symbol(";") {}
    if parser.peek().kind != Kind::End {
        return Err(parser.syntax_error());
    }
    Ok(select)
}

/// An expression with its height, which is bounded.
type Tall = (Expr, usize);

// Binding strengths, weakest first, as in SQLite's grammar.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const EQUALITY: u8 = 4;
const ORDER: u8 = 5;
const BITS: u8 = 7;
const SUM: u8 = 8;
const PRODUCT: u8 = 9;
const CONCAT: u8 = 10;
const COLLATE: u8 = 11;
const UNARY: u8 = 12;

pub struct Parser<'s> {
    sql: &'s str,
    tokens: &'s [Token<'s>],
    at: usize,
    depth: usize,
}

impl<'s> Parser<'s> {
    pub fn new(sql: &'s str, tokens: &'s [Token<'s>]) -> Self {
        Self { sql, tokens, at: 0, depth: 0 }
    }

    /// The place to come back to with `rewind`.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn rewind(&mut self, position: usize) {
        self.at = position;
        self.depth = 0;
    }

    /// The statement's text between two places.
    pub fn text(&self, start: usize, end: usize) -> &'s str {
        &self.sql[start..end]
    }

    pub fn peek(&self) -> Token<'s> {
        self.tokens[self.at]
    }

    fn peek_second(&self) -> Token<'s> {
        self.tokens[(self.at + 1).min(self.tokens.len() - 1)]
    }

    pub fn advance(&mut self) -> Token<'s> {
        let token = self.tokens[self.at];
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    pub fn take_keyword(&mut self, word: &str) -> bool {
        let found = self.peek().is_keyword(word);
        if found {
            self.at += 1;
        }
        found
    }

    pub fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek().is_symbol(symbol);
        if found {
            self.at += 1;
        }
        found
    }

    pub fn expect_keyword(&mut self, word: &str) -> Result<()> {
        if self.take_keyword(word) { Ok(()) } else { Err(self.syntax_error()) }
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.syntax_error()) }
    }

    pub fn syntax_error(&self) -> Error {
        let token = self.peek();
        if token.kind == Kind::End {
            return Error::input("incomplete input");
        }
        Error::input(format!("near \"{}\": syntax error", token.text))
    }

    fn statement(&mut self) -> Result<Select> {
        let explain = self.take_keyword("EXPLAIN");
        if explain {
            if !self.peek().is_keyword("QUERY") {
                return Err(Error::input("EXPLAIN is supported only as EXPLAIN QUERY PLAN"));
            }
            self.advance();
            self.expect_keyword("PLAN")?;
        }
        let first = self.peek();
        if !first.is_keyword("SELECT") {
            const OTHERS: [&str; 21] = [
                "WITH",
                "VALUES",
                "INSERT",
                "UPDATE",
                "DELETE",
                "REPLACE",
                "CREATE",
                "DROP",
                "ALTER",
                "PRAGMA",
                "ATTACH",
                "DETACH",
                "VACUUM",
                "BEGIN",
                "COMMIT",
                "END",
                "ROLLBACK",
                "SAVEPOINT",
                "RELEASE",
                "ANALYZE",
                "REINDEX",
            ];
            if OTHERS.iter().any(|word| first.is_keyword(word)) {
                return Err(Error::input(format!("near \"{}\": only SELECT is supported", first.text)));
            }
            return Err(self.syntax_error());
        }
        self.select(explain)
    }

    fn select(&mut self, explain: bool) -> Result<Select> {
        self.expect_keyword("SELECT")?;
        let distinct = self.take_keyword("DISTINCT");
        if !distinct {
            self.take_keyword("ALL");
        }
        let columns = self.comma_separated(Self::result_column)?;
        let from = if self.take_keyword("FROM") { Some(self.table()?) } else { None };
        let filter = self.clause("WHERE")?;
        let mut group_by = Vec::new();
        if self.take_keyword("GROUP") {
            self.expect_keyword("BY")?;
            group_by = self.comma_separated(Self::expr)?;
        }
        let having = self.clause("HAVING")?;
        for word in ["UNION", "EXCEPT", "INTERSECT"] {
            if self.peek().is_keyword(word) {
                return Err(Error::input(format!("near \"{word}\": compound SELECT is not supported")));
            }
        }
        if self.peek().is_keyword("WINDOW") {
            return Err(Error::input("window functions are not supported"));
        }
        let mut order_by = Vec::new();
        if self.take_keyword("ORDER") {
            self.expect_keyword("BY")?;
            order_by = self.comma_separated(Self::order_term)?;
        }
        let (limit, offset) = self.limit()?;
        Ok(Select { explain, distinct, columns, from, filter, group_by, having, order_by, limit, offset })
    }

    fn comma_separated<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.take_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn clause(&mut self, word: &str) -> Result<Option<Expr>> {
        if self.take_keyword(word) { self.expr().map(Some) } else { Ok(None) }
    }

    fn result_column(&mut self) -> Result<ResultColumn> {
        if self.take_symbol("*") {
            return Ok(ResultColumn::Star(None));
        }
        let before = self.at;
        if is_name(&self.peek()) && self.peek_second().is_symbol(".") {
            let table = self.advance().unquoted();
            self.advance();
            if self.take_symbol("*") {
                return Ok(ResultColumn::Star(Some(table)));
            }
            self.at = before;
        }
        let start = self.peek().start;
        let expr = self.expr()?;
        let end = self.tokens[self.at - 1].end;
        let text = self.sql[start..end].to_owned();
        let alias = self.alias()?;
        Ok(ResultColumn::Expr { expr, alias, text })
    }

    fn alias(&mut self) -> Result<Option<String>> {
        if self.take_keyword("AS") {
            return self.name_or_string().map(Some);
        }
        let next = self.peek();
        if is_name(&next) || next.kind == Kind::String {
            return Ok(Some(self.advance().unquoted()));
        }
        Ok(None)
    }

    pub fn name(&mut self) -> Result<String> {
        if is_name(&self.peek()) { Ok(self.advance().unquoted()) } else { Err(self.syntax_error()) }
    }

    pub fn name_or_string(&mut self) -> Result<String> {
        if self.peek().kind == Kind::String { Ok(self.advance().unquoted()) } else { self.name() }
    }

    fn table(&mut self) -> Result<TableName> {
        if self.peek().is_symbol("(") {
            return Err(Error::input("near \"(\": subqueries and joins in FROM are not supported"));
        }
        let mut name = self.name_or_string()?;
        if self.take_symbol(".") {
            let table = self.name_or_string()?;
            if !name.eq_ignore_ascii_case("main") {
                return Err(Error::input(format!("no such table: {name}.{table}")));
            }
            name = table;
        }
        if self.peek().is_symbol("(") {
            return Err(Error::input(format!("near \"(\": table-valued function {name} is not supported")));
        }
        let alias = if is_join_word(&self.peek()) { None } else { self.alias()? };
        if self.peek().is_keyword("INDEXED") {
            return Err(Error::input("INDEXED BY is not supported"));
        }
        if self.peek().is_symbol(",") || is_join_word(&self.peek()) || self.peek().is_keyword("JOIN") {
            return Err(Error::input(format!("near \"{}\": joins are not supported", self.peek().text)));
        }
        Ok(TableName { name, alias })
    }

    fn order_term(&mut self) -> Result<OrderTerm> {
        let expr = self.expr()?;
        let descending = self.direction();
        let mut nulls_first = None;
        if self.take_keyword("NULLS") {
            if self.take_keyword("FIRST") {
                nulls_first = Some(true);
            } else {
                self.expect_keyword("LAST")?;
                nulls_first = Some(false);
            }
        }
        Ok(OrderTerm { expr, descending, nulls_first })
    }

    /// ASC or DESC, if written; true for DESC.
    pub fn direction(&mut self) -> bool {
        self.take_keyword("DESC") || {
            self.take_keyword("ASC");
            false
        }
    }

    fn limit(&mut self) -> Result<(Option<Expr>, Option<Expr>)> {
        if !self.take_keyword("LIMIT") {
            return Ok((None, None));
        }
        let first = self.expr()?;
        if self.take_keyword("OFFSET") {
            return Ok((Some(first), Some(self.expr()?)));
        }
        if self.take_symbol(",") {
            return Ok((Some(self.expr()?), Some(first)));
        }
        Ok((Some(first), None))
    }

    pub fn expr(&mut self) -> Result<Expr> {
        self.binary(OR).map(|(expr, _)| expr)
    }

    /// The expression at this place whose operators bind at least as strongly as `strength`.
    fn binary(&mut self, strength: u8) -> Result<Tall> {
        self.depth += 1;
        if self.depth > MAX_EXPRESSION_DEPTH {
            return Err(too_deep());
        }
        let mut left = self.prefix()?;
        while let Some(next) = self.infix(&mut left, strength)? {
            left = next;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn prefix(&mut self) -> Result<Tall> {
        let token = self.peek();
        let (op, strength) = match (token.kind, token.text) {
            (Kind::Symbol, "-") => (UnaryOp::Negate, UNARY),
            (Kind::Symbol, "+") => (UnaryOp::Plus, UNARY),
            (Kind::Symbol, "~") => (UnaryOp::BitNot, UNARY),
            (Kind::Word, word) if word.eq_ignore_ascii_case("NOT") => (UnaryOp::Not, NOT),
            _ => return self.primary(),
        };
        self.advance();
        // The one integer whose magnitude does not fit must be read together with its sign.
        if op == UnaryOp::Negate
            && self.peek().kind == Kind::Integer
            && self.peek().text.parse() == Ok(1u64 << 63)
        {
            self.advance();
            return Ok((Expr::Integer(i64::MIN), 1));
        }
        let (operand, height) = self.binary(strength)?;
        grown(Expr::Unary(op, Box::new(operand)), height)
    }

    /// Takes one operator that follows `left`, if it binds strongly enough, with its right side.
    fn infix(&mut self, left: &mut Tall, strength: u8) -> Result<Option<Tall>> {
        let token = self.peek();
        if token.kind == Kind::Symbol {
            return self.infix_symbol(left, token.text, strength);
        }
        if token.kind != Kind::Word {
            return Ok(None);
        }
        let is = |word| token.is_keyword(word);
        if is("AND") && strength <= AND {
            return self.infix_operator(left, BinaryOp::And, AND);
        }
        if is("OR") && strength <= OR {
            return self.infix_operator(left, BinaryOp::Or, OR);
        }
        if is("COLLATE") && strength <= COLLATE {
            self.advance();
            let collation = self.name_or_string()?;
            return grown(Expr::Collate { value: take(left), collation }, left.1).map(Some);
        }
        if strength <= EQUALITY
            && ["IS", "ISNULL", "NOTNULL", "NOT", "IN", "LIKE", "GLOB", "BETWEEN"].iter().any(|w| is(w))
        {
            return self.infix_predicate(left);
        }
        for word in ["REGEXP", "MATCH"] {
            if is(word) && strength <= EQUALITY {
                return Err(Error::input(format!("no such function: {word}")));
            }
        }
        Ok(None)
    }

    fn infix_symbol(&mut self, left: &mut Tall, symbol: &str, strength: u8) -> Result<Option<Tall>> {
        let (op, binds) = match symbol {
            "=" | "==" => (BinaryOp::Equal, EQUALITY),
            "<>" | "!=" => (BinaryOp::NotEqual, EQUALITY),
            "<" => (BinaryOp::Less, ORDER),
            "<=" => (BinaryOp::LessEqual, ORDER),
            ">" => (BinaryOp::Greater, ORDER),
            ">=" => (BinaryOp::GreaterEqual, ORDER),
            "&" => (BinaryOp::BitAnd, BITS),
            "|" => (BinaryOp::BitOr, BITS),
            "<<" => (BinaryOp::ShiftLeft, BITS),
            ">>" => (BinaryOp::ShiftRight, BITS),
            "+" => (BinaryOp::Add, SUM),
            "-" => (BinaryOp::Subtract, SUM),
            "*" => (BinaryOp::Multiply, PRODUCT),
            "/" => (BinaryOp::Divide, PRODUCT),
            "%" => (BinaryOp::Remainder, PRODUCT),
            "||" => (BinaryOp::Concat, CONCAT),
            "->" | "->>" => {
                return Err(Error::input(format!("near \"{symbol}\": JSON operators are not supported")));
            }
            _ => return Ok(None),
        };
        if binds < strength { Ok(None) } else { self.infix_operator(left, op, binds) }
    }

    fn infix_operator(&mut self, left: &mut Tall, op: BinaryOp, binds: u8) -> Result<Option<Tall>> {
        self.advance();
        let (right, right_height) = self.binary(binds + 1)?;
        grown(Expr::Binary(op, take(left), Box::new(right)), left.1.max(right_height)).map(Some)
    }

    /// IS, IN, LIKE, BETWEEN and their kin, which all bind like `=`.
    fn infix_predicate(&mut self, left: &mut Tall) -> Result<Option<Tall>> {
        if self.peek().is_keyword("IS") {
            self.advance();
            return self.is_operator(left).map(Some);
        }
        let value = take(left);
        if self.take_keyword("ISNULL") {
            return grown(Expr::IsNull { value, negated: false }, left.1).map(Some);
        }
        if self.take_keyword("NOTNULL") {
            return grown(Expr::IsNull { value, negated: true }, left.1).map(Some);
        }
        let negated = self.take_keyword("NOT");
        if negated && self.take_keyword("NULL") {
            return grown(Expr::IsNull { value, negated: true }, left.1).map(Some);
        }
        if self.take_keyword("BETWEEN") {
            let (low, low_height) = self.binary(NOT)?;
            self.expect_keyword("AND")?;
            let (high, high_height) = self.binary(EQUALITY + 1)?;
            let height = left.1.max(low_height).max(high_height);
            let (low, high) = (Box::new(low), Box::new(high));
            return grown(Expr::Between { value, low, high, negated }, height).map(Some);
        }
        if self.take_keyword("IN") {
            let (list, height) = self.in_list()?;
            return grown(Expr::In { value, list, negated }, height.max(left.1)).map(Some);
        }
        let glob = self.peek().is_keyword("GLOB");
        if !glob && !self.peek().is_keyword("LIKE") {
            return Err(self.syntax_error());
        }
        self.advance();
        let (pattern, mut height) = self.binary(EQUALITY + 1)?;
        let mut escape = None;
        if self.take_keyword("ESCAPE") {
            let (expr, escape_height) = self.binary(BITS)?;
            escape = Some(Box::new(expr));
            height = height.max(escape_height);
        }
        grown(Expr::Like { glob, value, pattern: Box::new(pattern), escape, negated }, height.max(left.1))
            .map(Some)
    }

    fn is_operator(&mut self, left: &mut Tall) -> Result<Tall> {
        let mut negated = self.take_keyword("NOT");
        if self.peek().is_keyword("DISTINCT") && self.peek_second().is_keyword("FROM") {
            self.at += 2;
            negated = !negated; // IS DISTINCT FROM is IS NOT
        }
        let (right, height) = self.binary(EQUALITY + 1)?;
        let op = if negated { BinaryOp::IsNot } else { BinaryOp::Is };
        grown(Expr::Binary(op, take(left), Box::new(right)), height.max(left.1))
    }

    fn in_list(&mut self) -> Result<(Vec<Expr>, usize)> {
        if !self.peek().is_symbol("(") {
            if is_name(&self.peek()) {
                return Err(Error::input(format!(
                    "near \"{}\": IN with a table is not supported",
                    self.peek().text
                )));
            }
            return Err(self.syntax_error());
        }
        self.advance();
        self.refuse_subquery()?;
        self.arguments()
    }

    /// Expressions up to the closing bracket, which is taken; there may be none.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize)> {
        let mut list = Vec::new();
        let mut tallest = 0;
        if self.take_symbol(")") {
            return Ok((list, tallest));
        }
        loop {
            let (expr, height) = self.binary(OR)?;
            list.push(expr);
            tallest = tallest.max(height);
            if !self.take_symbol(",") {
                self.expect_symbol(")")?;
                return Ok((list, tallest));
            }
        }
    }

    fn refuse_subquery(&self) -> Result<()> {
        for word in ["SELECT", "WITH", "VALUES"] {
            if self.peek().is_keyword(word) {
                return Err(Error::input(format!(
                    "near \"{}\": subqueries are not supported",
                    self.peek().text
                )));
            }
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<Tall> {
        let token = self.peek();
        let literal = match token.kind {
            Kind::String => Expr::String(token.unquoted()),
            Kind::Integer => integer_literal(token.text),
            Kind::Real => Expr::Real(crate::number::parse_real(token.text.as_bytes()).value),
            Kind::Hex => hex_literal(token.text)?,
            Kind::Blob => Expr::Blob(blob_literal(token.text)),
            Kind::DoubleQuoted | Kind::Quoted => return self.column_or_call(),
            Kind::Word => return self.word(),
            Kind::Symbol if token.text == "(" => return self.parenthesised(),
            Kind::Symbol if token.text == "?" => {
                return Err(Error::input("bound parameters are not supported"));
            }
            Kind::Symbol | Kind::End => return Err(self.syntax_error()),
        };
        self.advance();
        Ok((literal, 1))
    }

    fn parenthesised(&mut self) -> Result<Tall> {
        self.advance();
        self.refuse_subquery()?;
        let inner = self.binary(OR)?;
        if self.peek().is_symbol(",") {
            return Err(Error::input("row values are not supported"));
        }
        self.expect_symbol(")")?;
        Ok(inner)
    }

    fn word(&mut self) -> Result<Tall> {
        if self.take_keyword("NULL") {
            return Ok((Expr::Null, 1));
        }
        if self.peek().is_keyword("CASE") {
            return self.case();
        }
        if self.peek().is_keyword("CAST") && self.peek_second().is_symbol("(") {
            return self.cast();
        }
        if self.peek().is_keyword("EXISTS") {
            return Err(Error::input("near \"EXISTS\": subqueries are not supported"));
        }
        if self.peek().text.to_ascii_uppercase().starts_with("CURRENT_") {
            return Err(Error::input(format!("{} is not supported", self.peek().text)));
        }
        self.column_or_call()
    }

    fn case(&mut self) -> Result<Tall> {
        self.advance();
        let mut height = 0;
        let mut tall = |(expr, h): Tall| {
            height = height.max(h);
            expr
        };
        let base = if self.peek().is_keyword("WHEN") { None } else { Some(Box::new(tall(self.binary(OR)?))) };
        let mut branches = Vec::new();
        while self.take_keyword("WHEN") {
            let condition = tall(self.binary(OR)?);
            self.expect_keyword("THEN")?;
            branches.push((condition, tall(self.binary(OR)?)));
        }
        if branches.is_empty() {
            return Err(self.syntax_error());
        }
        let otherwise = if self.take_keyword("ELSE") { Some(Box::new(tall(self.binary(OR)?))) } else { None };
        self.expect_keyword("END")?;
        grown(Expr::Case { base, branches, otherwise }, height)
    }

    fn cast(&mut self) -> Result<Tall> {
        self.advance();
        self.advance();
        let (value, height) = self.binary(OR)?;
        self.expect_keyword("AS")?;
        let type_name = self.type_name()?;
        self.expect_symbol(")")?;
        grown(Expr::Cast { value: Box::new(value), type_name }, height)
    }

    /// A declared type: words, and perhaps one or two sizes in brackets. May be empty.
    pub fn type_name(&mut self) -> Result<String> {
        let mut words = String::new();
        while (self.peek().kind == Kind::Word && !is_reserved(self.peek().text) && !self.starts_generated())
            || matches!(self.peek().kind, Kind::DoubleQuoted | Kind::Quoted | Kind::String)
        {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(&self.advance().unquoted());
        }
        if !words.is_empty() && self.take_symbol("(") {
            while !self.take_symbol(")") {
                if self.peek().kind == Kind::End {
                    return Err(self.syntax_error());
                }
                words.push_str(self.advance().text);
            }
        }
        Ok(words)
    }

    fn starts_generated(&self) -> bool {
        self.peek().is_keyword("GENERATED") && self.peek_second().is_keyword("ALWAYS")
    }

    fn column_or_call(&mut self) -> Result<Tall> {
        let token = self.peek();
        if !is_name(&token) {
            return Err(self.syntax_error());
        }
        self.advance();
        if self.peek().is_symbol("(") {
            return self.call(token.unquoted());
        }
        let mut table = None;
        let mut last = token;
        let mut names = vec![token.unquoted()];
        while self.take_symbol(".") {
            last = self.peek();
            names.push(self.name_or_string()?);
        }
        let column = names.pop().unwrap_or_default();
        match names.as_slice() {
            [] => {}
            [one] => table = Some(one.clone()),
            [schema, one] if schema.eq_ignore_ascii_case("main") => table = Some(one.clone()),
            more => return Err(Error::input(format!("no such column: {}.{column}", more.join(".")))),
        }
        let alone = table.is_none();
        let maybe_string = alone && last.kind == Kind::DoubleQuoted;
        let bare = alone && last.kind == Kind::Word;
        Ok((Expr::Column(ColumnName { table, column, maybe_string, bare }), 1))
    }

    fn call(&mut self, name: String) -> Result<Tall> {
        self.advance();
        let distinct = self.take_keyword("DISTINCT");
        let star = !distinct && self.take_symbol("*");
        let (arguments, height) = if star {
            self.expect_symbol(")")?;
            (Vec::new(), 0)
        } else {
            if !distinct {
                self.take_keyword("ALL");
            }
            self.refuse_subquery()?;
            self.arguments()?
        };
        for (word, what) in [("OVER", "window functions"), ("FILTER", "FILTER clauses")] {
            if self.peek().is_keyword(word) && self.peek_second().is_symbol("(") {
                return Err(Error::input(format!("near \"{}\": {what} are not supported", self.peek().text)));
            }
        }
        grown(Expr::Call { name, distinct, star, arguments }, height)
    }
}

/// Moves the left side out, to become a part of its successor.
#[allow(clippy::unnecessary_box_returns)] // every caller wants the box
fn take(left: &mut Tall) -> Box<Expr> {
    Box::new(std::mem::replace(&mut left.0, Expr::Null))
}

fn grown(expr: Expr, height_below: usize) -> Result<Tall> {
    if height_below >= MAX_EXPRESSION_DEPTH { Err(too_deep()) } else { Ok((expr, height_below + 1)) }
}

fn too_deep() -> Error {
    Error::input(format!("Expression tree is too large (maximum depth {MAX_EXPRESSION_DEPTH})"))
}

/// Integers beyond 64 bits are reals.
fn integer_literal(text: &str) -> Expr {
    text.parse().map_or_else(|_| Expr::Real(crate::number::parse_real(text.as_bytes()).value), Expr::Integer)
}

fn hex_literal(text: &str) -> Result<Expr> {
    let digits = text[2..].trim_start_matches('0');
    if digits.is_empty() {
        return Ok(Expr::Integer(0));
    }
    let bits =
        u64::from_str_radix(digits, 16).map_err(|_| Error::input(format!("hex literal too big: {text}")))?;
    Ok(Expr::Integer(bits as i64))
}

fn blob_literal(text: &str) -> Vec<u8> {
    let nibble = |c: u8| (c as char).to_digit(16).unwrap_or(0) as u8; // the lexer let only hex digits in
    text.as_bytes()[2..text.len() - 1]
        .chunks_exact(2)
        .map(|pair| nibble(pair[0]) << 4 | nibble(pair[1]))
        .collect()
}

fn is_name(token: &Token<'_>) -> bool {
    match token.kind {
        Kind::DoubleQuoted | Kind::Quoted => true,
        Kind::Word => !is_reserved(token.text),
        _ => false,
    }
}

fn is_join_word(token: &Token<'_>) -> bool {
    ["CROSS", "FULL", "INDEXED", "INNER", "JOIN", "LEFT", "NATURAL", "OUTER", "RIGHT"]
        .iter()
        .any(|word| token.is_keyword(word))
}

/// Words that are no names unless quoted (the keywords without fallback in SQLite's grammar).
pub fn is_reserved(word: &str) -> bool {
    const RESERVED: &[&str] = &[
        "ADD",
        "ALL",
        "ALTER",
        "AND",
        "AS",
        "AUTOINCREMENT",
        "BETWEEN",
        "CASE",
        "CHECK",
        "COLLATE",
        "COMMIT",
        "CONSTRAINT",
        "CREATE",
        "DEFAULT",
        "DEFERRABLE",
        "DELETE",
        "DISTINCT",
        "DROP",
        "ELSE",
        "ESCAPE",
        "EXCEPT",
        "EXISTS",
        "FOREIGN",
        "FROM",
        "GROUP",
        "HAVING",
        "IN",
        "INDEX",
        "INSERT",
        "INTERSECT",
        "INTO",
        "IS",
        "ISNULL",
        "JOIN",
        "LIMIT",
        "NOT",
        "NOTHING",
        "NOTNULL",
        "NULL",
        "ON",
        "OR",
        "ORDER",
        "PRIMARY",
        "REFERENCES",
        "RETURNING",
        "SELECT",
        "SET",
        "TABLE",
        "THEN",
        "TO",
        "TRANSACTION",
        "UNION",
        "UNIQUE",
        "UPDATE",
        "USING",
        "VALUES",
        "WHEN",
        "WHERE",
        "WINDOW",
    ];
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as text with every bracket written.
    fn shape(expr: &Expr) -> String {
        match expr {
            Expr::Null => "NULL".to_owned(),
            Expr::Integer(i) => i.to_string(),
            Expr::Real(r) => format!("{r:?}"),
            Expr::String(s) => format!("'{s}'"),
            Expr::Blob(b) => format!("{b:?}"),
            Expr::Column(name) => {
                name.table.as_ref().map_or(name.column.clone(), |t| format!("{t}.{}", name.column))
            }
            Expr::Unary(op, e) => format!("({op:?} {})", shape(e)),
            Expr::Binary(op, a, b) => format!("({} {op:?} {})", shape(a), shape(b)),
            Expr::Between { value, low, high, negated } => {
                format!("({} Between {negated} {} {})", shape(value), shape(low), shape(high))
            }
            Expr::In { value, list, negated } => {
                format!(
                    "({} In {negated} {})",
                    shape(value),
                    list.iter().map(shape).collect::<Vec<_>>().join(" ")
                )
            }
            Expr::Like { value, pattern, negated, .. } => {
                format!("({} Like {negated} {})", shape(value), shape(pattern))
            }
            Expr::IsNull { value, negated } => format!("({} IsNull {negated})", shape(value)),
            Expr::Case { branches, .. } => format!("(Case {})", branches.len()),
            Expr::Cast { value, type_name } => format!("({} as {type_name})", shape(value)),
            Expr::Collate { value, collation } => format!("({} Collate {collation})", shape(value)),
            Expr::Call { name, arguments, .. } => format!("{name}/{}", arguments.len()),
        }
    }

    fn where_of(condition: &str) -> Result<String> {
        let select = parse(&format!("SELECT 1 FROM t WHERE {condition}"))?;
        Ok(shape(&select.filter.unwrap()))
    }

    #[test]
    fn precedence() {
        let cases = [
            ("a OR b AND NOT c = d", "(a Or (b And (Not (c Equal d))))"),
            ("1 + 2 * 3 || 4", "(1 Add (2 Multiply (3 Concat 4)))"),
            ("- a || b", "((Negate a) Concat b)"),
            ("a < b = c", "((a Less b) Equal c)"),
            ("a & b + c << d", "((a BitAnd (b Add c)) ShiftLeft d)"),
            ("x BETWEEN 1 AND 2 AND y", "((x Between false 1 2) And y)"),
            ("x NOT BETWEEN 1 AND 2 OR y", "((x Between true 1 2) Or y)"),
            ("x IN (1, 2) = y", "((x In false 1 2) Equal y)"),
            ("x NOT IN ()", "(x In true )"),
            ("a LIKE b || 'c'", "(a Like false (b Concat 'c'))"),
            ("a IS NOT NULL AND b ISNULL", "((a IsNot NULL) And (b IsNull false))"),
            ("a NOT NULL", "(a IsNull true)"),
            ("a IS NOT DISTINCT FROM b", "(a Is b)"),
            ("a COLLATE nocase = b", "((a Collate nocase) Equal b)"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", "9.223372036854776e18"),
            ("0xFFFFFFFFFFFFFFFF", "-1"),
            ("CAST(a AS VARCHAR(10))", "(a as VARCHAR10)"),
            ("t.a == \"t\".[b]", "(t.a Equal t.b)"),
            ("a = NOT b OR c", "((a Equal (Not b)) Or c)"),
        ];
        for (sql, expected) in cases {
            assert_eq!(where_of(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn clauses() {
        let select = parse(
            "EXPLAIN QUERY PLAN SELECT DISTINCT t.*, a + 1 AS n, b 'm' FROM main.t AS x WHERE 1 GROUP BY a, b HAVING 1 \
             ORDER BY a DESC NULLS LAST, 2 LIMIT 5, 10 ;",
        )
        .unwrap();
        assert!(select.explain && select.distinct && select.having.is_some());
        assert_eq!((select.columns.len(), select.group_by.len(), select.order_by.len()), (3, 2, 2));
        assert_eq!(select.limit, Some(Expr::Integer(10)));
        assert_eq!(select.offset, Some(Expr::Integer(5)));
        assert_eq!(select.order_by[0].nulls_first, Some(false));
        let ResultColumn::Expr { alias, text, .. } = &select.columns[1] else { panic!("not an expression") };
        assert_eq!((alias.as_deref(), text.as_str()), (Some("n"), "a + 1"));
    }

    #[test]
    fn refusals_name_what_they_refuse() {
        let cases = [
            ("SELECT a FROM t WHERE", "incomplete input"),
            ("SELECT a FROM t WHERE )", "near \")\": syntax error"),
            ("SELECT a FROM t, u", "joins are not supported"),
            ("SELECT a FROM t LEFT JOIN u", "joins are not supported"),
            ("SELECT a FROM (SELECT 1)", "subqueries"),
            ("SELECT (SELECT 1)", "subqueries"),
            ("SELECT a IN (SELECT 1)", "subqueries"),
            ("SELECT a FROM t UNION SELECT 1", "compound"),
            ("INSERT INTO t VALUES (1)", "only SELECT"),
            ("SELECT sum(a) OVER () FROM t", "window functions"),
            ("SELECT ?", "bound parameters"),
            ("SELECT 1; SELECT 2", "near \"SELECT\": syntax error"),
            ("SELECT 0x10000000000000000", "hex literal too big"),
            ("SELECT case 1 end", "near \"end\": syntax error"),
            ("", "incomplete input"),
            ("SELECT a b c FROM t", "near \"c\": syntax error"),
        ];
        for (sql, expected) in cases {
            let message = parse(sql).unwrap_err().to_string();
            assert!(message.contains(expected), "{sql}: {message}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in
            [("(", ")"), ("-(", ")"), ("NOT ", ""), ("abs(", ")"), ("~", ""), ("CASE WHEN ", " THEN 1 END")]
        {
            let sql = format!("SELECT {}1{}", open.repeat(5000), close.repeat(5000));
            // A debug build has large frames; the limit itself is what is tested.
            let outcome = std::thread::Builder::new().stack_size(64 << 20).spawn(move || parse(&sql).err());
            let message = outcome.unwrap().join().unwrap().unwrap().to_string();
            assert!(message.contains("too large"), "{open}: {message}");
        }
        let chain = format!("SELECT 1{}", " + 1".repeat(5000));
        assert!(parse(&chain).unwrap_err().to_string().contains("too large"));
    }
}
