//! The conditions of --where.

use std::cmp::Ordering;

use crate::decimal::{self, Decimal, NotNumber};
use crate::failure::{Result, bad_request, quote_value};
use crate::record::Record;

/// The operator of a condition, with what it compares to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Equal(Vec<u8>),
    NotEqual(Vec<u8>),
    Less(Decimal),
    LessOrEqual(Decimal),
    Greater(Decimal),
    GreaterOrEqual(Decimal),
}

/// One --where: COL OP LITERAL.
#[derive(Clone, Debug)]
pub struct Condition {
    pub column_name: Vec<u8>,
    pub column: usize, // resolved against the header
    pub test: Test,
}

/// Splits at the first operator character; spaces around the operator do not count.
pub fn parse_condition(source: &[u8]) -> Result<Condition> {
    let Some(at) = source.iter().position(|byte| b"=!<>".contains(byte)) else {
        return Err(no_operator(source));
    };
    let name_end = source[..at].iter().rposition(|&byte| byte != b' ');
    let number = |text| read_number(source, text);
    let test = match &source[at..] {
        [b'=', rest @ ..] => Test::Equal(trim_start(rest).to_vec()),
        [b'!', b'=', rest @ ..] => Test::NotEqual(trim_start(rest).to_vec()),
        [b'<', b'=', rest @ ..] => Test::LessOrEqual(number(rest)?),
        [b'<', rest @ ..] => Test::Less(number(rest)?),
        [b'>', b'=', rest @ ..] => Test::GreaterOrEqual(number(rest)?),
        [b'>', rest @ ..] => Test::Greater(number(rest)?),
        _ => return Err(no_operator(source)),
    };
    Ok(Condition {
        column_name: source[..name_end.map_or(0, |last| last + 1)].to_vec(),
        column: 0,
        test,
    })
}

fn no_operator(source: &[u8]) -> Box<crate::failure::Failure> {
    let shown = quote_value(source);
    bad_request(format!("--where {shown}: no operator (= != < <= > >=)"))
}

fn trim_start(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
    &text[spaces..]
}

fn read_number(source: &[u8], text: &[u8]) -> Result<Decimal> {
    let text = trim_start(text);
    decimal::parse(text).map_err(|error| {
        let what = match error {
            NotNumber::OutOfRange => "number out of range",
            NotNumber::Empty | NotNumber::Malformed => "not a number",
        };
        let (source, shown) = (quote_value(source), quote_value(text));
        bad_request(format!("--where {source}: {what}: {shown}"))
    })
}

impl Condition {
    /// An empty field is never less or greater than anything.
    #[inline]
    pub fn holds(&self, row: &Record) -> std::result::Result<bool, NotNumber> {
        let order = |literal: &Decimal| match row.number(self.column) {
            Ok(number) => Ok(Some(number.cmp(literal))),
            Err(NotNumber::Empty) => Ok(None),
            Err(error) => Err(error),
        };
        Ok(match &self.test {
            Test::Equal(text) => *row.field(self.column) == **text,
            Test::NotEqual(text) => *row.field(self.column) != **text,
            Test::Less(literal) => order(literal)?.is_some_and(Ordering::is_lt),
            Test::LessOrEqual(literal) => order(literal)?.is_some_and(Ordering::is_le),
            Test::Greater(literal) => order(literal)?.is_some_and(Ordering::is_gt),
            Test::GreaterOrEqual(literal) => order(literal)?.is_some_and(Ordering::is_ge),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_split_at_the_first_operator() {
        let decimal = |mantissa, scale| Decimal { mantissa, scale };
        for (source, name, test) in [
            ("a=b", "a", Test::Equal(b"b".to_vec())),
            ("a  =  b ", "a", Test::Equal(b"b ".to_vec())),
            (" a b != <>=", " a b", Test::NotEqual(b"<>=".to_vec())),
            ("a=!5", "a", Test::Equal(b"!5".to_vec())),
            ("=", "", Test::Equal(vec![])),
            ("a<1.5", "a", Test::Less(decimal(15, 1))),
            ("a <= -1", "a", Test::LessOrEqual(decimal(-1, 0))),
            ("a>1e2", "a", Test::Greater(decimal(100, 0))),
            ("a>=0", "a", Test::GreaterOrEqual(decimal(0, 0))),
        ] {
            let condition = parse_condition(source.as_bytes()).unwrap();
            assert_eq!(condition.column_name, name.as_bytes(), "{source}");
            assert_eq!(condition.test, test, "{source}");
        }
        for source in ["", "a", "a!b", "a<b", "a<", "a<=>1", "a>1e30"] {
            assert!(parse_condition(source.as_bytes()).is_err(), "{source}");
        }
    }

    #[test]
    fn an_empty_field_matches_no_order() {
        let row = Record {
            buffer: b",x,1.50",
            start: 0,
            field_ends: &[0, 2, 7],
        };
        let holds = |source: &[u8], column| {
            let mut condition = parse_condition(source).unwrap();
            condition.column = column;
            condition.holds(&row)
        };
        assert_eq!(holds(b"c < 1", 0), Ok(false));
        assert_eq!(holds(b"c >= 1", 0), Ok(false));
        assert_eq!(holds(b"c =", 0), Ok(true));
        assert_eq!(holds(b"c > 1", 1), Err(NotNumber::Malformed));
        assert_eq!(holds(b"c = 1.5", 2), Ok(false));
        assert_eq!(holds(b"c >= 1.5", 2), Ok(true));
        assert_eq!(holds(b"c > 1.5", 2), Ok(false));
    }
}
