//! What the database says about its tables: the rows of `sqlite_schema` and the CREATE statements in
//! them, parsed only for the table that the query names.

use crate::btree::{Cursor, OverflowReader, TreeKind};
use crate::error::{Error, Result};
use crate::lexer::{Kind, Token, tokens};
use crate::pager::Pager;
use crate::parser::{self, Parser};
use crate::record::{Fields, KeyOrder, decode};
use crate::value::{Affinity, Collation, Value};

#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub affinity: Affinity,
    /// None for a collation that this program does not know.
    pub collation: Option<Collation>,
    pub default: Option<parser::Expr>,
    pub is_virtual: bool,
}

/// Which column of the table a field of an index record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexField {
    Column(usize),
    Rowid,
}

#[derive(Debug)]
pub struct Index {
    pub name: String,
    pub root: u32,
    pub unique: bool,
    /// The b-tree of a WITHOUT ROWID table itself.
    pub is_primary_key: bool,
    /// The columns that the index was declared on. They come first in `fields`.
    pub key: Vec<usize>,
    /// The order of each field that the tree is sorted by.
    pub order: Vec<KeyOrder>,
    pub fields: Vec<IndexField>,
}

#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub root: u32,
    pub columns: Vec<Column>,
    /// The INTEGER PRIMARY KEY, which is another name of the rowid.
    pub rowid_alias: Option<usize>,
    pub without_rowid: bool,
    /// In schema order, but the primary key of a WITHOUT ROWID table comes first.
    pub indexes: Vec<Index>,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name))
    }

    /// Field number of each column in the table's own records.
    pub fn field_of_column(&self) -> Vec<Option<usize>> {
        match self.indexes.first() {
            Some(primary) if self.without_rowid => (0..self.columns.len())
                .map(|c| primary.fields.iter().position(|&f| f == IndexField::Column(c)))
                .collect(),
            _ => {
                let stored = self.columns.iter().scan(0, |next, column| {
                    let field = (!column.is_virtual).then_some(*next);
                    *next += usize::from(!column.is_virtual);
                    Some(field)
                });
                stored.collect()
            }
        }
    }
}

/// One row of `sqlite_schema`.
struct Entry {
    kind: String,
    name: String,
    table: String,
    root: i64,
    sql: Option<String>,
}

/// The description of table `name`.
pub fn load_table(pager: &Pager, name: &str) -> Result<Table> {
    if ["sqlite_schema", "sqlite_master"].iter().any(|n| n.eq_ignore_ascii_case(name)) {
        let sql = format!("CREATE TABLE {name}(type TEXT,name TEXT,tbl_name TEXT,rootpage INT,sql TEXT)");
        if pager.page_count() > 0 {
            return parse_table(&sql, name, 1).map(|(table, _)| table);
        }
    }
    let entries = entries_of(pager, name)?;
    let not_found = || Error::input(format!("no such table: {name}"));
    let entry = entries
        .iter()
        .find(|e| e.kind != "index" && e.name.eq_ignore_ascii_case(name))
        .ok_or_else(not_found)?;
    let sql = entry.sql.as_deref().unwrap_or_default();
    match entry.kind.as_str() {
        "table" if entry.root == 0 => {
            return Err(Error::input(format!("{} is a virtual table, which is not supported", entry.name)));
        }
        "table" => {}
        "view" => return Err(Error::input(format!("{} is a view, which is not supported", entry.name))),
        _ => return Err(not_found()),
    }
    let root = root_page(entry, pager)?;
    let (mut table, constraints) =
        parse_table(sql, &entry.name, root).map_err(|e| malformed(&entry.name, &e))?;
    add_indexes(&mut table, &constraints, &entries, pager)?;
    Ok(table)
}

fn malformed(name: &str, cause: &Error) -> Error {
    Error::corrupt(format!("malformed database schema ({name}): {cause}"))
}

fn root_page(entry: &Entry, pager: &Pager) -> Result<u32> {
    u32::try_from(entry.root).ok().filter(|root| (1..=pager.page_count()).contains(root)).ok_or_else(|| {
        Error::corrupt(format!(
            "malformed database schema ({}): root page {} is out of range",
            entry.name, entry.root
        ))
    })
}

/// The schema rows that are the table or belong to it, in schema order.
fn entries_of(pager: &Pager, table: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if pager.page_count() == 0 {
        return Ok(entries);
    }
    let mut cursor = Cursor::new(pager, 1, TreeKind::Table);
    let mut overflow = OverflowReader::new(pager);
    let mut fields = Fields::default();
    let mut scratch = Vec::new();
    cursor.seek_first()?;
    while let Some(run) = cursor.next_run()? {
        for index in run.cells {
            let cell = run.page.cell(pager, index)?;
            let payload = if cell.is_whole() {
                cell.local
            } else {
                overflow.read(&cell, cell.payload_bytes, &mut scratch)?;
                &scratch
            };
            let bad = |e: crate::record::BadRecord| cell.error(e.0);
            fields.start(payload, payload.len()).map_err(bad)?;
            fields.extend(payload, payload.len(), 5).map_err(bad)?;
            let value = |i: usize| match fields.types.get(i) {
                Some(&serial_type) => decode(serial_type, &payload[fields.starts[i] as usize..]),
                None => Value::Null,
            };
            let (name, owner) = (value(1), value(2));
            let is = |v: &Value| matches!(v, Value::Text(t) if t.eq_ignore_ascii_case(table.as_bytes()));
            if is(&name) || is(&owner) {
                let text = |v: Value| v.into_bytes().map(|b| String::from_utf8_lossy(&b).into_owned());
                entries.push(Entry {
                    kind: text(value(0)).unwrap_or_default(),
                    name: text(name).unwrap_or_default(),
                    table: text(owner).unwrap_or_default(),
                    root: value(3).to_int(),
                    sql: text(value(4)),
                });
            }
        }
    }
    Ok(entries)
}

/// A UNIQUE or PRIMARY KEY constraint: it has an index without a CREATE statement.
struct Constraint {
    columns: Vec<(usize, KeyOrder)>,
    is_primary_key: bool,
}

/// What a CREATE TABLE statement declares.
fn parse_table(sql: &str, name: &str, root: u32) -> Result<(Table, Vec<Constraint>)> {
    let tokens = tokens(sql)?;
    let mut reader = TableReader {
        parser: Parser::new(sql, &tokens),
        columns: Vec::new(),
        constraints: Vec::new(),
        integer_key: None,
        declared_types: Vec::new(),
    };
    reader.read()?;
    let without_rowid = reader.options()?;
    let TableReader { columns, mut constraints, integer_key, .. } = reader;
    if let (Some(key), true) = (integer_key, without_rowid) {
        constraints
            .push(Constraint { columns: vec![(key, order_of(&columns[key], false))], is_primary_key: true });
    }
    let rowid_alias = integer_key.filter(|_| !without_rowid);
    let name = name.to_owned();
    Ok((Table { name, root, columns, rowid_alias, without_rowid, indexes: Vec::new() }, constraints))
}

fn order_of(column: &Column, descending: bool) -> KeyOrder {
    KeyOrder { collation: column.collation.unwrap_or(Collation::Binary), descending }
}

struct TableReader<'s> {
    parser: Parser<'s>,
    columns: Vec<Column>,
    declared_types: Vec<String>,
    constraints: Vec<Constraint>,
    integer_key: Option<usize>,
}

impl TableReader<'_> {
    fn read(&mut self) -> Result<()> {
        let p = &mut self.parser;
        p.expect_keyword("CREATE")?;
        if !p.take_keyword("TEMP") {
            p.take_keyword("TEMPORARY");
        }
        p.expect_keyword("TABLE")?;
        if p.peek().is_keyword("IF") {
            p.advance();
            p.expect_keyword("NOT")?;
            p.expect_keyword("EXISTS")?;
        }
        p.name_or_string()?;
        if p.take_symbol(".") {
            p.name_or_string()?;
        }
        p.expect_symbol("(")?;
        loop {
            if self.starts_table_constraint() {
                self.table_constraint()?;
            } else {
                self.column()?;
            }
            // Table constraints may follow each other without commas.
            if self.parser.take_symbol(",") || self.starts_table_constraint() {
                continue;
            }
            return self.parser.expect_symbol(")");
        }
    }

    fn starts_table_constraint(&self) -> bool {
        let next = self.parser.peek();
        !self.columns.is_empty()
            && ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"]
                .iter()
                .any(|word| next.is_keyword(word))
    }

    /// WITHOUT ROWID and STRICT, after the closing bracket.
    fn options(&mut self) -> Result<bool> {
        let mut without_rowid = false;
        while self.parser.peek().kind != Kind::End && !self.parser.peek().is_symbol(";") {
            if self.parser.take_keyword("WITHOUT") {
                self.parser.expect_keyword("ROWID")?;
                without_rowid = true;
            } else {
                self.parser.expect_keyword("STRICT")?;
            }
            self.parser.take_symbol(",");
        }
        Ok(without_rowid)
    }

    fn column(&mut self) -> Result<()> {
        let name = self.parser.name_or_string()?;
        let declared = self.parser.type_name()?;
        let affinity = if declared.is_empty() { Affinity::Blob } else { Affinity::of_type(&declared) };
        let collation = Some(Collation::Binary);
        self.columns.push(Column { name, affinity, collation, default: None, is_virtual: false });
        self.declared_types.push(declared);
        while self.column_constraint()? {}
        Ok(())
    }

    /// Reads one constraint of the newest column, if there is one.
    fn column_constraint(&mut self) -> Result<bool> {
        let this = self.columns.len() - 1;
        if self.parser.take_keyword("CONSTRAINT") {
            self.parser.name_or_string()?;
        } else if self.parser.take_keyword("PRIMARY") {
            self.parser.expect_keyword("KEY")?;
            let descending = self.parser.direction();
            self.conflict_clause()?;
            self.parser.take_keyword("AUTOINCREMENT");
            self.primary_key(vec![(this, descending, None)], !descending);
        } else if self.parser.take_keyword("UNIQUE") {
            self.conflict_clause()?;
            self.constrain(vec![(this, false, None)], false);
        } else if self.parser.take_keyword("NOT") {
            if self.parser.take_keyword("DEFERRABLE") {
                self.initially();
            } else {
                self.parser.expect_keyword("NULL")?;
                self.conflict_clause()?;
            }
        } else if self.parser.take_keyword("NULL") {
            self.conflict_clause()?;
        } else if self.parser.take_keyword("CHECK") {
            self.skip_brackets()?;
        } else if self.parser.take_keyword("DEFAULT") {
            self.columns[this].default = Some(self.default_value()?);
        } else if self.parser.take_keyword("COLLATE") {
            let name = self.parser.name_or_string()?;
            self.columns[this].collation = Collation::from_name(&name);
            // The collation may follow a key constraint; the index has it all the same.
            let order = order_of(&self.columns[this], false).collation;
            let own = self.constraints.iter_mut().flat_map(|c| &mut c.columns).filter(|(c, _)| *c == this);
            own.for_each(|(_, key)| key.collation = order);
        } else if self.parser.take_keyword("REFERENCES") {
            self.references()?;
        } else if self.parser.take_keyword("DEFERRABLE") {
            self.initially();
        } else if self.parser.take_keyword("GENERATED") {
            self.parser.expect_keyword("ALWAYS")?;
        } else if self.parser.take_keyword("AS") {
            self.skip_brackets()?;
            self.columns[this].is_virtual = !self.parser.take_keyword("STORED");
            self.parser.take_keyword("VIRTUAL");
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn default_value(&mut self) -> Result<parser::Expr> {
        let sign = if self.parser.take_symbol("-") { Some(parser::UnaryOp::Negate) } else { None };
        if sign.is_none() {
            self.parser.take_symbol("+");
        }
        let next: Token = self.parser.peek();
        let value = match next.kind {
            Kind::Symbol if next.text == "(" => {
                let start = self.parser.position();
                // An expression that this program does not know is no constant, so no row needs it.
                let expr = self.parser.expr().unwrap_or(parser::Expr::Null);
                self.parser.rewind(start);
                self.skip_brackets()?;
                expr
            }
            Kind::Word | Kind::DoubleQuoted | Kind::Quoted if !next.is_keyword("NULL") => {
                parser::Expr::Column(parser::ColumnName {
                    table: None,
                    column: self.parser.advance().unquoted(),
                    maybe_string: true,
                    bare: next.kind == Kind::Word,
                })
            }
            _ => {
                let (start, end) = (next.start, next.end);
                self.parser.advance();
                let sign = if sign.is_some() { "-" } else { "" };
                let literal = format!("{sign}{}", self.parser.text(start, end));
                return Parser::new(&literal, &tokens(&literal)?).expr();
            }
        };
        Ok(match sign {
            Some(op) => parser::Expr::Unary(op, Box::new(value)),
            None => value,
        })
    }

    fn conflict_clause(&mut self) -> Result<()> {
        if self.parser.take_keyword("ON") {
            self.parser.expect_keyword("CONFLICT")?;
            self.parser.advance();
        }
        Ok(())
    }

    fn initially(&mut self) {
        self.parser.take_keyword("DEFERRABLE");
        if self.parser.take_keyword("INITIALLY") {
            self.parser.advance();
        }
    }

    fn references(&mut self) -> Result<()> {
        self.parser.name_or_string()?;
        if self.parser.peek().is_symbol("(") {
            self.skip_brackets()?;
        }
        loop {
            if self.parser.take_keyword("ON") {
                self.parser.advance(); // DELETE, UPDATE
                if self.parser.take_keyword("SET") || self.parser.take_keyword("NO") {
                    self.parser.advance(); // NULL, DEFAULT, ACTION
                } else {
                    self.parser.advance(); // CASCADE, RESTRICT
                }
            } else if self.parser.take_keyword("MATCH") {
                self.parser.advance();
            } else {
                return Ok(());
            }
        }
    }

    fn skip_brackets(&mut self) -> Result<()> {
        self.parser.expect_symbol("(")?;
        let mut open = 1;
        while open > 0 {
            let token = self.parser.advance();
            match token.kind {
                Kind::Symbol if token.text == "(" => open += 1,
                Kind::Symbol if token.text == ")" => open -= 1,
                Kind::End => return Err(self.parser.syntax_error()),
                _ => {}
            }
        }
        Ok(())
    }

    fn table_constraint(&mut self) -> Result<()> {
        if self.parser.take_keyword("CONSTRAINT") {
            self.parser.name_or_string()?;
        }
        if self.parser.take_keyword("PRIMARY") {
            self.parser.expect_keyword("KEY")?;
            let key = self.key_columns()?;
            self.conflict_clause()?;
            self.primary_key(key, true);
        } else if self.parser.take_keyword("UNIQUE") {
            let key = self.key_columns()?;
            self.conflict_clause()?;
            self.constrain(key, false);
        } else if self.parser.take_keyword("CHECK") {
            self.skip_brackets()?;
            self.conflict_clause()?;
        } else if self.parser.take_keyword("FOREIGN") {
            self.parser.expect_keyword("KEY")?;
            self.skip_brackets()?;
            self.parser.expect_keyword("REFERENCES")?;
            self.references()?;
            self.parser.take_keyword("NOT");
            self.initially();
        }
        Ok(())
    }

    /// The bracketed columns of a key: column, DESC, collation.
    fn key_columns(&mut self) -> Result<Vec<(usize, bool, Option<Collation>)>> {
        self.parser.expect_symbol("(")?;
        let mut key = Vec::new();
        loop {
            let name = self.parser.name_or_string()?;
            let column = self.columns.iter().position(|c| c.name.eq_ignore_ascii_case(&name));
            let column = column.ok_or_else(|| Error::input(format!("no such column: {name}")))?;
            let mut collation = None;
            if self.parser.take_keyword("COLLATE") {
                collation = Collation::from_name(&self.parser.name_or_string()?);
            }
            let descending = self.parser.direction();
            self.parser.take_keyword("AUTOINCREMENT");
            key.push((column, descending, collation));
            if !self.parser.take_symbol(",") {
                self.parser.expect_symbol(")")?;
                return Ok(key);
            }
        }
    }

    /// A single INTEGER column becomes the rowid's alias; any other key gets an index.
    fn primary_key(&mut self, key: Vec<(usize, bool, Option<Collation>)>, may_be_alias: bool) {
        if let [(column, ..)] = key[..]
            && may_be_alias
            && self.declared_types[column].eq_ignore_ascii_case("INTEGER")
        {
            self.integer_key = Some(column);
        } else {
            self.constrain(key, true);
        }
    }

    fn constrain(&mut self, key: Vec<(usize, bool, Option<Collation>)>, is_primary_key: bool) {
        let with_order = |(column, descending, collation): (usize, bool, Option<Collation>)| {
            let mut order = order_of(&self.columns[column], descending);
            order.collation = collation.unwrap_or(order.collation);
            (column, order)
        };
        let columns: Vec<_> = key.into_iter().map(with_order).collect();
        self.constraints.push(Constraint { columns, is_primary_key });
    }
}

impl Constraint {
    /// SQLite makes no second index for the same columns and collations.
    fn repeats(&self, earlier: &Self) -> bool {
        let key =
            |c: &Self| c.columns.iter().map(|(column, order)| (*column, order.collation)).collect::<Vec<_>>();
        key(self) == key(earlier)
    }
}

/// Adds the usable indexes: those on plain columns, without a WHERE, in known collations.
fn add_indexes(
    table: &mut Table,
    constraints: &[Constraint],
    entries: &[Entry],
    pager: &Pager,
) -> Result<()> {
    let obeys_descending = pager.schema_format >= 4;
    let mut automatic: Vec<&Constraint> = Vec::new();
    for constraint in constraints {
        match automatic.iter_mut().find(|earlier| constraint.repeats(earlier)) {
            Some(earlier) if constraint.is_primary_key => *earlier = constraint,
            Some(_) => {}
            None => automatic.push(constraint),
        }
    }
    let mut primary: Vec<(usize, KeyOrder)> = Vec::new();
    if table.without_rowid {
        let key = constraints.iter().find(|c| c.is_primary_key);
        let key = key.ok_or_else(|| malformed(&table.name, &Error::input("PRIMARY KEY missing")))?;
        for &(column, order) in &key.columns {
            let repeated = primary.iter().any(|(c, o)| *c == column && o.collation == order.collation);
            if !repeated {
                primary.push((column, order));
            }
        }
        let index = primary_index(table, &primary);
        table.indexes.push(index);
    }
    for entry in entries.iter().filter(|e| e.kind == "index" && e.table.eq_ignore_ascii_case(&table.name)) {
        let declared = match &entry.sql {
            Some(sql) => parse_index(sql, table).map_err(|e| malformed(&entry.name, &e))?,
            None => automatic_index(&entry.name, &automatic),
        };
        let Some((mut columns, unique)) = declared else { continue };
        if !obeys_descending {
            for (_, order) in &mut columns {
                order.descending = false;
            }
        }
        if columns.iter().any(|(c, _)| table.columns[*c].collation.is_none()) {
            continue;
        }
        let root = root_page(entry, pager)?;
        table.indexes.push(secondary_index(table, entry.name.clone(), root, unique, &columns, &primary));
    }
    Ok(())
}

fn primary_index(table: &Table, primary: &[(usize, KeyOrder)]) -> Index {
    let key: Vec<usize> = primary.iter().map(|(c, _)| *c).collect();
    let rest = (0..table.columns.len()).filter(|c| !key.contains(c) && !table.columns[*c].is_virtual);
    Index {
        name: "PRIMARY KEY".to_owned(),
        root: table.root,
        unique: true,
        is_primary_key: true,
        order: primary.iter().map(|(_, order)| *order).collect(),
        fields: key.iter().copied().chain(rest).map(IndexField::Column).collect(),
        key,
    }
}

fn secondary_index(
    table: &Table,
    name: String,
    root: u32,
    unique: bool,
    columns: &[(usize, KeyOrder)],
    primary: &[(usize, KeyOrder)],
) -> Index {
    let mut fields = columns.to_vec();
    for &(column, order) in primary {
        if !fields.iter().any(|(c, o)| *c == column && o.collation == order.collation) {
            fields.push((column, order));
        }
    }
    let order = fields.iter().map(|(_, order)| *order).collect();
    let field = |&(c, _): &(usize, KeyOrder)| {
        if table.rowid_alias == Some(c) { IndexField::Rowid } else { IndexField::Column(c) }
    };
    let mut fields: Vec<IndexField> = fields.iter().map(field).collect();
    if !table.without_rowid {
        fields.push(IndexField::Rowid);
    }
    Index {
        name,
        root,
        unique,
        is_primary_key: false,
        key: columns.iter().map(|(c, _)| *c).collect(),
        order,
        fields,
    }
}

type DeclaredIndex = Option<(Vec<(usize, KeyOrder)>, bool)>;

/// `sqlite_autoindex_TABLE_N` belongs to the Nth constraint.
fn automatic_index(name: &str, constraints: &[&Constraint]) -> DeclaredIndex {
    let number: usize = name.rsplit('_').next()?.parse().ok()?;
    let constraint = constraints.get(number.checked_sub(1)?)?;
    Some((constraint.columns.clone(), true))
}

/// The columns of a CREATE INDEX, or None for an index on expressions or on a part of the rows.
fn parse_index(sql: &str, table: &Table) -> Result<DeclaredIndex> {
    let tokens = tokens(sql)?;
    let mut p = Parser::new(sql, &tokens);
    p.expect_keyword("CREATE")?;
    let unique = p.take_keyword("UNIQUE");
    p.expect_keyword("INDEX")?;
    if p.peek().is_keyword("IF") {
        p.advance();
        p.expect_keyword("NOT")?;
        p.expect_keyword("EXISTS")?;
    }
    p.name_or_string()?;
    if p.take_symbol(".") {
        p.name_or_string()?;
    }
    p.expect_keyword("ON")?;
    p.name_or_string()?;
    p.expect_symbol("(")?;
    let mut columns = Vec::new();
    loop {
        let Some(part) = index_column(&mut p, table) else { return Ok(None) };
        columns.push(part);
        if !p.take_symbol(",") {
            p.expect_symbol(")")?;
            break;
        }
    }
    Ok(if p.peek().is_keyword("WHERE") { None } else { Some((columns, unique)) })
}

fn index_column(p: &mut Parser<'_>, table: &Table) -> Option<(usize, KeyOrder)> {
    // An expression that this program does not know makes the index unusable, not the table.
    let Ok(expr) = p.expr() else { return None };
    let (name, collation) = match expr {
        parser::Expr::Column(name) if name.table.is_none() => (name.column, None),
        parser::Expr::String(name) => (name, None),
        parser::Expr::Collate { value, collation } => match *value {
            parser::Expr::Column(name) if name.table.is_none() => (name.column, Some(collation)),
            parser::Expr::String(name) => (name, Some(collation)),
            _ => return None,
        },
        _ => return None,
    };
    let descending = p.direction();
    let column = table.column(&name)?;
    let mut order = order_of(&table.columns[column], descending);
    if let Some(name) = collation {
        order.collation = Collation::from_name(&name)?;
    }
    Some((column, order))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sql: &str) -> (Table, Vec<Constraint>) {
        parse_table(sql, "t", 2).unwrap()
    }

    #[test]
    fn columns_and_types() {
        let (t, constraints) = table(
            "CREATE TABLE IF NOT EXISTS main.\"t\" (id INTEGER PRIMARY KEY AUTOINCREMENT, [a b] VARCHAR(10, 2) NOT NULL \
             ON CONFLICT FAIL DEFAULT 'x''y' COLLATE NOCASE UNIQUE, c REAL DEFAULT -1.5 CHECK (c > (1)), d, \
             e BLOB REFERENCES u(x) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED, \
             f INT GENERATED ALWAYS AS (c + 1) STORED, CONSTRAINT k UNIQUE (c DESC, d), FOREIGN KEY (d) REFERENCES u) STRICT",
        );
        let names: Vec<&str> = t.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "a b", "c", "d", "e", "f"]);
        assert_eq!((t.rowid_alias, t.without_rowid), (Some(0), false));
        assert_eq!(t.columns[1].collation, Some(Collation::NoCase));
        assert_eq!(t.columns[1].default, Some(parser::Expr::String("x'y".to_owned())));
        assert_eq!(t.columns[3].affinity, Affinity::Blob);
        assert_eq!(constraints.len(), 2);
        assert!(constraints[1].columns[0].1.descending);
        assert!(!t.columns[5].is_virtual);
    }

    #[test]
    fn rowid_aliases() {
        let cases = [
            ("CREATE TABLE t(a INTEGER PRIMARY KEY)", Some(0)),
            ("CREATE TABLE t(a INT PRIMARY KEY)", None),
            ("CREATE TABLE t(a INTEGER PRIMARY KEY DESC)", None),
            ("CREATE TABLE t(b, a INTEGER, PRIMARY KEY(a DESC))", Some(1)),
            ("CREATE TABLE t(a INTEGER, b, PRIMARY KEY(a, b))", None),
            ("CREATE TABLE t(a INTEGER PRIMARY KEY) WITHOUT ROWID", None),
        ];
        for (sql, expected) in cases {
            assert_eq!(table(sql).0.rowid_alias, expected, "{sql}");
        }
    }

    #[test]
    fn index_definitions() {
        let (t, _) = table("CREATE TABLE t(a TEXT COLLATE NOCASE, b, c)");
        let (columns, unique) =
            parse_index("CREATE UNIQUE INDEX i ON t(a, b DESC, c COLLATE rtrim)", &t).unwrap().unwrap();
        assert!(unique && columns[1].1.descending);
        assert_eq!(columns[0].1.collation, Collation::NoCase);
        assert_eq!(columns[2].1.collation, Collation::RTrim);
        for unusable in [
            "CREATE INDEX i ON t(a) WHERE b > 1",
            "CREATE INDEX i ON t(a || b)",
            "CREATE INDEX i ON t(a COLLATE other)",
        ] {
            assert!(parse_index(unusable, &t).unwrap().is_none(), "{unusable}");
        }
    }

    #[test]
    fn broken_statements_are_errors() {
        for sql in [
            "",
            "CREATE TABLE t",
            "CREATE TABLE t(",
            "CREATE TABLE t(a",
            "CREATE TABLE t(a CHECK (",
            "CREATE TABLE t(a) WITHOUT",
        ] {
            assert!(parse_table(sql, "t", 2).is_err(), "{sql}");
        }
    }
}
