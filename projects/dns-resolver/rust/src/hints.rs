//! The root hints: a master file with the servers of the root and their addresses.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::canonical::name_text;
use crate::failure::{Result, bad_line, bad_request, quote_bytes, show_path, system_failure};
use crate::options::Sources;
use crate::wire::{MAX_NAME_BYTES, is_same, parse_name};

/// Much more than any list of servers needs.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A server of the root; the name is as on the wire, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootServer {
    pub name: Vec<u8>,
    pub addresses: Vec<IpAddr>,
}

/// Reads the file, and leaves out addresses of a family that we do not speak.
pub fn read_hints(path: &Path, sources: &Sources) -> Result<Vec<RootServer>> {
    let shown = show_path(path);
    let failed = |error| system_failure(&shown, error);
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES {
        return Err(bad_request(format!("{shown}: file too large")));
    }
    let text = fs::read(path).map_err(failed)?;
    parse_hints(&text, sources).map_err(|(line, why)| bad_line(path, line, &why))
}

/// An error and its line.
type LineError = (usize, String);

fn parse_hints(text: &[u8], sources: &Sources) -> std::result::Result<Vec<RootServer>, LineError> {
    let mut hints = Hints::default();
    // The piece behind the last line end is no line.
    let lines = text.strip_suffix(b"\n").unwrap_or(text);
    for line in lines.split(|&byte| byte == b'\n') {
        hints.line += 1;
        hints.read_line(line).map_err(|why| (hints.line, why))?;
    }
    let servers = hints.usable(sources);
    if servers.is_empty() {
        return Err(hints.why_useless());
    }
    Ok(servers)
}

#[derive(Debug)]
struct Hints {
    line: usize,
    origin: Vec<u8>,
    owner: Option<Vec<u8>>,
    /// The line of the first server.
    first_line: usize,
    names: Vec<Vec<u8>>,
    addresses: Vec<(Vec<u8>, IpAddr)>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            line: 0,
            origin: vec![0],
            owner: None,
            first_line: 0,
            names: Vec::new(),
            addresses: Vec::new(),
        }
    }
}

type Checked<T> = std::result::Result<T, String>;

impl Hints {
    fn read_line(&mut self, line: &[u8]) -> Checked<()> {
        let text = line.split(|&byte| byte == b';').next().unwrap_or_default();
        let has_owner = text.first().is_some_and(|byte| !byte.is_ascii_whitespace());
        let mut words = text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .peekable();
        let Some(&first) = words.peek() else {
            return Ok(());
        };
        if text.starts_with(b"$") {
            words.next();
            return self.read_directive(first, words.next());
        }
        if has_owner {
            words.next();
            self.owner = Some(self.name(first)?);
        }
        let Some(owner) = self.owner.clone() else {
            return Err("a record without a name".to_owned());
        };
        // A time and a class may stand in front of the type, in any order.
        while words
            .next_if(|word| word[0].is_ascii_digit() || word.eq_ignore_ascii_case(b"IN"))
            .is_some()
        {}
        let kind = words.next().ok_or("a record without a type")?;
        let kind = known_kind(kind).ok_or_else(|| {
            let shown = quote_bytes(kind);
            format!("{shown} is not a type that hints have: NS, A, AAAA")
        })?;
        match (words.next(), words.next()) {
            (Some(data), None) => self.read_data(owner, kind, data),
            _ => Err(format!("a record of type {kind} wants one word of data")),
        }
    }

    fn read_directive(&mut self, word: &[u8], value: Option<&[u8]>) -> Checked<()> {
        let shown = quote_bytes(word);
        let value = value.ok_or_else(|| format!("{shown} without a value"))?;
        match word.to_ascii_uppercase().as_slice() {
            b"$ORIGIN" => self.origin = self.name(value)?,
            b"$TTL" => {} // how long hints last is not for them to say
            _ => return Err(format!("unknown directive {shown}")),
        }
        Ok(())
    }

    fn read_data(&mut self, owner: Vec<u8>, kind: &str, data: &[u8]) -> Checked<()> {
        if kind == "NS" {
            let name = self.name(data)?;
            // The servers of other zones are not for hints.
            if owner == [0] && !self.names.contains(&name) {
                if self.names.is_empty() {
                    self.first_line = self.line;
                }
                self.names.push(name);
            }
            return Ok(());
        }
        let text = str::from_utf8(data).ok();
        let address = text.and_then(|text| match kind {
            "A" => text.parse().ok().map(IpAddr::V4),
            _ => text.parse().ok().map(IpAddr::V6),
        });
        let shown = quote_bytes(data);
        let bad = || format!("{shown} is not an address of type {kind}");
        self.addresses.push((owner, address.ok_or_else(bad)?));
        Ok(())
    }

    /// A name, behind which the origin stands unless it ends with a dot.
    fn name(&self, text: &[u8]) -> Checked<Vec<u8>> {
        if text == b"@" {
            return Ok(self.origin.clone());
        }
        let refused = |why| format!("{why}: {}", quote_bytes(text));
        let mut wire = parse_name(text).map_err(refused)?.to_ascii_lowercase();
        if !text.ends_with(b".") && self.origin.len() > 1 {
            wire.pop();
            wire.extend_from_slice(&self.origin);
            if wire.len() > MAX_NAME_BYTES {
                return Err(refused("name longer than 255 bytes"));
            }
        }
        Ok(wire)
    }

    fn usable(&self, sources: &Sources) -> Vec<RootServer> {
        let addresses_of = |name: &Vec<u8>| {
            let own = self
                .addresses
                .iter()
                .filter(|(owner, address)| is_same(owner, name) && sources.reaches(address));
            own.map(|&(_, address)| address).collect()
        };
        let servers = self.names.iter().map(|name| RootServer {
            addresses: addresses_of(name),
            name: name.clone(),
        });
        servers
            .filter(|server| !server.addresses.is_empty())
            .collect()
    }

    /// What to say where no server is usable.
    fn why_useless(&self) -> LineError {
        if let Some(name) = self.names.first() {
            let why = format!("no usable server: no address for {}", name_text(name));
            return (self.first_line, why);
        }
        let why = "no usable server: no NS record of the root";
        (self.line, why.to_owned())
    }
}

/// A type that hints have, in upper case.
fn known_kind(word: &[u8]) -> Option<&'static str> {
    let known = ["NS", "A", "AAAA"];
    known
        .into_iter()
        .find(|kind| word.eq_ignore_ascii_case(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const V4: Sources = Sources {
        v4: Some(Ipv4Addr::LOCALHOST),
        v6: None,
    };

    fn parse(text: &str) -> std::result::Result<Vec<RootServer>, LineError> {
        parse_hints(text.as_bytes(), &V4)
    }

    #[test]
    fn the_usual_file_is_read() {
        let text = "; the root\n\
                    .   3600000  NS  A.ROOT.\n\
                    A.root.  3600000  IN A 127.0.0.1 ; here\n\
                    a.root.  IN 1h AAAA ::1\n\
                    $ORIGIN root.\n$TTL 1d\n\
                    . NS b\n\
                    b A 127.0.0.2\n\
                    \t A 127.0.0.3\n";
        let servers = parse(text).expect("sound hints");
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[0].name, b"\x01a\x04root\0");
        assert_eq!(servers[0].addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(servers[1].name, b"\x01b\x04root\0");
        assert_eq!(servers[1].addresses.len(), 2);
    }

    #[test]
    fn bad_lines_are_named() {
        let long = "x".repeat(64);
        for (text, line, why) in [
            ("", 1, "no usable server: no NS record of the root"),
            ("; nothing\n\n", 2, "no NS record of the root"),
            ("a.b. A 1.2.3.4\n", 1, "no NS record of the root"),
            ("test. NS b.\nb. A 1.2.3.4\n", 2, "no NS record of the root"),
            (". NS a.\nb. A 1.2.3.4\n", 1, "no address for a."),
            ("\n. NS a.\na. AAAA ::1\n", 2, "no address for a."),
            (
                ". NS a.\na. A 1.2.3.256\n",
                2,
                "\"1.2.3.256\" is not an address of type A",
            ),
            (". NS a.\na. aaaa 1.2.3.4\n", 2, "of type AAAA"),
            (
                ". NS a.\na. 1 IN ADDRESS 1.2.3.4\n",
                2,
                "\"ADDRESS\" is not a type that hints have: NS, A, AAAA",
            ),
            (". 3600 IN NS\n", 1, "a record of type NS wants one word"),
            (". NS a. b.\n", 1, "a record of type NS wants one word"),
            (". 3600 IN\n", 1, "a record without a type"),
            (" NS a.\n", 1, "a record without a name"),
            ("$INCLUDE x\n", 1, "unknown directive \"$INCLUDE\""),
            ("$ORIGIN\n", 1, "\"$ORIGIN\" without a value"),
            (&format!(". NS {long}.\n"), 1, "label longer than 63 bytes"),
        ] {
            let (at, text) = parse(text).expect_err(text);
            assert_eq!(at, line, "{text}");
            assert!(text.contains(why), "{text}");
        }
    }
}
