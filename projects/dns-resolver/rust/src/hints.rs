//! The root hints: a master file with the servers of the root and their addresses.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::failure::{Result, bad_line, quote_value, show_path, system_failure};
use crate::options::Sources;
use crate::wire::{is_same, parse_name};

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
    let size = fs::metadata(path).map_err(|error| system_failure(&shown, error))?;
    if size.len() > MAX_FILE_BYTES {
        return Err(bad_line(
            path,
            1,
            "more than 1 MiB is no list of root servers",
        ));
    }
    let text = fs::read(path).map_err(|error| system_failure(&shown, error))?;
    parse_hints(&text, sources).map_err(|(line, why)| bad_line(path, line, &why))
}

/// An error and its line.
type LineError = (usize, String);

fn parse_hints(text: &[u8], sources: &Sources) -> std::result::Result<Vec<RootServer>, LineError> {
    let mut hints = Hints::default();
    let mut last_line = 1;
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        last_line = if line.is_empty() {
            last_line
        } else {
            index + 1
        };
        hints.read_line(line).map_err(|why| (index + 1, why))?;
    }
    let servers = hints.usable(sources);
    if servers.is_empty() {
        let why = "no server of the root that has an address we can use";
        return Err((last_line, why.to_owned()));
    }
    Ok(servers)
}

#[derive(Debug)]
struct Hints {
    origin: Vec<u8>,
    owner: Option<Vec<u8>>,
    names: Vec<Vec<u8>>,
    addresses: Vec<(Vec<u8>, IpAddr)>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            origin: vec![0],
            owner: None,
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
        if first.starts_with(b"$") {
            words.next();
            return self.read_directive(first, words.next());
        }
        if has_owner {
            words.next();
            self.owner = Some(self.name(first)?);
        }
        let Some(owner) = self.owner.clone() else {
            return Err("no owner".to_owned());
        };
        // A time and a class may stand in front of the type, in any order.
        while words
            .next_if(|word| is_time(word) || word.eq_ignore_ascii_case(b"IN"))
            .is_some()
        {}
        let kind = words.next().ok_or("no type")?.to_ascii_uppercase();
        if !matches!(&kind[..], b"NS" | b"A" | b"AAAA") {
            return Err(format!("{} is not NS, A or AAAA", shown(&kind)));
        }
        let data = words.next().ok_or("no data")?;
        if let Some(word) = words.next() {
            return Err(format!("unexpected {}", shown(word)));
        }
        self.read_data(owner, &kind, data)
    }

    fn read_directive(&mut self, word: &[u8], value: Option<&[u8]>) -> Checked<()> {
        match (word.to_ascii_uppercase().as_slice(), value) {
            (b"$ORIGIN", Some(value)) => self.origin = self.name(value)?,
            (b"$TTL", Some(value)) if is_time(value) => {}
            _ => return Err(format!("unexpected {}", shown(word))),
        }
        Ok(())
    }

    fn read_data(&mut self, owner: Vec<u8>, kind: &[u8], data: &[u8]) -> Checked<()> {
        let bad_address = || format!("{} is not an address", shown(data));
        let text = str::from_utf8(data).map_err(|_| bad_address())?;
        match kind {
            b"NS" if owner == [0] => {
                let name = self.name(data)?;
                if !self.names.contains(&name) {
                    self.names.push(name);
                }
            }
            b"NS" => return Err("NS of another name than the root".to_owned()),
            b"A" => {
                let address: Ipv4Addr = text.parse().map_err(|_| bad_address())?;
                self.addresses.push((owner, address.into()));
            }
            _ => {
                let address: Ipv6Addr = text.parse().map_err(|_| bad_address())?;
                self.addresses.push((owner, address.into()));
            }
        }
        Ok(())
    }

    /// A name, behind which the origin stands unless it ends with a dot.
    fn name(&self, text: &[u8]) -> Checked<Vec<u8>> {
        if text == b"@" {
            return Ok(self.origin.clone());
        }
        let mut wire = parse_name(text)?.to_ascii_lowercase();
        if !text.ends_with(b".") && self.origin.len() > 1 {
            wire.pop();
            wire.extend_from_slice(&self.origin);
            if wire.len() > crate::wire::MAX_NAME_BYTES {
                return Err("name longer than 255 bytes".to_owned());
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
}

/// A time to live, plain or with units such as 1h30m.
fn is_time(word: &[u8]) -> bool {
    word[0].is_ascii_digit()
        && word
            .iter()
            .all(|byte| byte.is_ascii_digit() || b"smhdwSMHDW".contains(byte))
}

fn shown(word: &[u8]) -> String {
    quote_value(&String::from_utf8_lossy(word))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("", 1, "no server of the root"),
            ("; nothing\n\n", 1, "no server of the root"),
            ("a.b. A 1.2.3.4\n", 1, "no server of the root"),
            (". NS a.\nb. A 1.2.3.4\n", 2, "no server of the root"),
            (". NS a.\na. AAAA ::1\n", 2, "no server of the root"),
            (
                ". NS a.\na. A 1.2.3.256\n",
                2,
                "\"1.2.3.256\" is not an address",
            ),
            (". NS a.\na. AAAA 1.2.3.4\n", 2, "is not an address"),
            (
                ". NS a.\na. 1 IN ADDRESS 1.2.3.4\n",
                2,
                "\"ADDRESS\" is not NS",
            ),
            (". NS a.\ntest. NS b.\n", 2, "another name than the root"),
            (". 3600 IN NS\n", 1, "no data"),
            (". 3600 IN\n", 1, "no type"),
            (". NS a. b.\n", 1, "unexpected \"b.\""),
            (" NS a.\n", 1, "no owner"),
            ("$INCLUDE x\n", 1, "unexpected \"$INCLUDE\""),
            (&format!(". NS {long}.\n"), 1, "label longer than 63 bytes"),
        ] {
            let (at, text) = parse(text).expect_err(text);
            assert_eq!(at, line, "{text}");
            assert!(text.contains(why), "{text}");
        }
    }
}
