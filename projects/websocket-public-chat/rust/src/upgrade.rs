//! Who may become a WebSocket: the rules of RFC 6455 for the request, and ours.

use crate::options::Options;

/// The answer to a request that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub body: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
}

const fn refusal(
    status: u16,
    body: &'static str,
    headers: &'static [(&'static str, &'static str)],
) -> Refusal {
    Refusal {
        status,
        body,
        headers,
    }
}

pub const BAD_REQUEST: Refusal = refusal(400, "bad request\n", &[]);
pub const BAD_ORIGIN: Refusal = refusal(403, "forbidden\n", &[]);
pub const NOT_FOUND: Refusal = refusal(404, "not found\n", &[]);
pub const NOT_GET: Refusal = refusal(405, "method not allowed\n", &[("Allow", "GET")]);
pub const NO_UPGRADE: Refusal = refusal(
    426,
    "upgrade required\n",
    &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
);
pub const BAD_VERSION: Refusal = refusal(
    426,
    "upgrade required\n",
    &[("Sec-WebSocket-Version", "13")],
);
pub const HEAD_TOO_LARGE: Refusal = refusal(431, "request header fields too large\n", &[]);
pub const TOO_MANY: Refusal = refusal(503, "service unavailable\n", &[]);

/// The header lines of a request, however it was parsed.
pub trait Headers {
    /// The values of all lines of this name (in lower case).
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]>;

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The value, where there is exactly one line.
    fn only(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.values(name);
        let first = values.next().map(<[u8]>::trim_ascii);
        first.filter(|_| values.next().is_none())
    }
}

/// Checks a GET of a WebSocket's path; the key, when all is well.
pub fn check<'a>(
    headers: &'a (impl Headers + ?Sized),
    is_http_11: bool,
    options: &Options,
) -> Result<&'a [u8], Refusal> {
    let wants_upgrade = is_http_11
        && headers.has_token("connection", "upgrade")
        && headers.has_token("upgrade", "websocket");
    if !wants_upgrade {
        return Err(NO_UPGRADE);
    }
    if headers.only("sec-websocket-version") != Some(b"13") {
        return Err(BAD_VERSION);
    }
    let key = headers.only("sec-websocket-key");
    let key = key.filter(|key| is_key(key)).ok_or(BAD_REQUEST)?;
    if let Some(allowed) = &options.origins {
        let origin = headers.only("origin").unwrap_or_default();
        let is_allowed = |known: &String| known.as_bytes() == origin;
        if !allowed.iter().any(is_allowed) {
            return Err(BAD_ORIGIN);
        }
    }
    Ok(key)
}

/// Sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    // The last digit before the padding has four bits that must be zero.
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22].iter().all(is_digit)
        && b"AQgw".contains(&key[21])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(Vec<(&'static str, &'static str)>);

    impl Headers for Lines {
        fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
            let all = self.0.iter();
            all.filter(move |line| line.0 == name)
                .map(|line| line.1.as_bytes())
        }
    }

    const GOOD: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("origin", "http://b.example"),
    ];

    fn check_with(name: &'static str, value: Option<&'static str>) -> Result<(), Refusal> {
        let mut lines = GOOD.to_vec();
        lines.retain(|line| line.0 != name);
        lines.extend(value.map(|value| (name, value)));
        let options = Options {
            origins: Some(vec!["https://a.example".into(), "http://b.example".into()]),
            ..Options::default()
        };
        check(&Lines(lines), true, &options).map(|_| ())
    }

    #[test]
    fn each_line_matters() {
        assert_eq!(check_with("host", None), Ok(()));
        for (name, value, refusal) in [
            ("connection", None, NO_UPGRADE),
            ("connection", Some("close"), NO_UPGRADE),
            ("upgrade", None, NO_UPGRADE),
            ("upgrade", Some("h2c"), NO_UPGRADE),
            ("sec-websocket-version", None, BAD_VERSION),
            ("sec-websocket-version", Some("8"), BAD_VERSION),
            ("sec-websocket-key", None, BAD_REQUEST),
            (
                "sec-websocket-key",
                Some("dGhlIHNhbXBsZSBub25jZQ="),
                BAD_REQUEST,
            ),
            (
                "sec-websocket-key",
                Some("dGhlIHNhbXBsZSBub25j!Q=="),
                BAD_REQUEST,
            ),
            ("origin", None, BAD_ORIGIN),
            ("origin", Some("https://b.example"), BAD_ORIGIN),
        ] {
            assert_eq!(check_with(name, value), Err(refusal), "{name} {value:?}");
        }
    }

    #[test]
    fn an_old_version_of_http_has_no_upgrade() {
        let lines = Lines(GOOD.to_vec());
        let options = Options::default();
        assert_eq!(check(&lines, false, &options), Err(NO_UPGRADE));
        assert!(check(&lines, true, &options).is_ok());
    }

    #[test]
    fn two_keys_are_none() {
        let mut lines = GOOD.to_vec();
        lines.push(GOOD[3]);
        let lines = Lines(lines);
        let refused = check(&lines, true, &Options::default());
        assert_eq!(refused, Err(BAD_REQUEST));
    }
}
