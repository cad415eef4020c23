//! The HTTP side of a connection, until it becomes a WebSocket: heads, answers, the upgrade.

use std::sync::Arc;
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Header, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tungstenite::handshake::derive_accept_key;

use crate::connection::{Connection, Purpose};
use crate::room::{ClientId, Rooms};
use crate::server::Server;
use crate::session::Session;
use crate::upgrade::{self, BAD_REQUEST, HEAD_TOO_LARGE, Headers, NOT_FOUND, NOT_GET, Refusal};

const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 100;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may go on sending after the last answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a request leads to.
enum Answer {
    Page {
        content_type: &'static str,
        body: String,
    },
    Refused(Refusal),
    Upgrade {
        accept_key: String,
        is_chat: bool,
        id: ClientId,
    },
}

/// A request head, as far as it matters here.
struct Request {
    head_bytes: usize,
    answer: Answer,
    is_head: bool,
    keeps_open: bool,
}

/// Serves one connection until it ends or becomes a WebSocket.
pub async fn serve(mut stream: TcpStream, server: Arc<Server>) {
    let mut bytes = Vec::new();
    loop {
        let reading = read_head(&mut stream, &mut bytes);
        let Ok(Some(is_whole)) = timeout(HEAD_TIMEOUT, reading).await else {
            return; // it has gone, or its time is over
        };
        let request = if is_whole {
            answer(&bytes, &server)
        } else {
            last_answer(HEAD_TOO_LARGE)
        };
        if let Answer::Upgrade {
            accept_key,
            is_chat,
            id,
        } = request.answer
        {
            let early = bytes.split_off(request.head_bytes);
            return upgrade(stream, &server, (&accept_key, is_chat, id), early);
        }
        let response = response(&request);
        if stream.write_all(&response).await.is_err() {
            return;
        }
        if !request.keeps_open {
            return linger(stream).await;
        }
        bytes.drain(..request.head_bytes);
    }
}

/// Reads until a whole head is there (true) or it is too large (false); nothing when the
/// client has gone.
async fn read_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<bool> {
    let mut searched = 0;
    loop {
        if let Some(end) = head_end(bytes, searched) {
            return Some(end <= MAX_HEAD_BYTES);
        }
        if bytes.len() >= MAX_HEAD_BYTES {
            return Some(false);
        }
        searched = bytes.len();
        bytes.reserve(1024);
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Where the empty line ends, when that is not among the bytes that were searched before. Empty
/// lines in front of the request do not count, as in httparse.
fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !is_break(byte))?;
    let from = searched.saturating_sub(3).max(start);
    let rest = &bytes[from..];
    (0..rest.len()).find_map(|at| {
        let length = [&b"\n\r\n"[..], b"\n\n"]
            .into_iter()
            .find(|end| rest[at..].starts_with(end))?
            .len();
        Some(from + at + length)
    })
}

impl Headers for [Header<'_>] {
    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }
}

/// An answer behind which nothing of this connection can be understood.
fn last_answer(refusal: Refusal) -> Request {
    Request {
        head_bytes: 0,
        answer: Answer::Refused(refusal),
        is_head: false,
        keeps_open: false,
    }
}

fn answer(bytes: &[u8], server: &Arc<Server>) -> Request {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = match head.parse(bytes) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Err(httparse::Error::TooManyHeaders) => return last_answer(HEAD_TOO_LARGE),
        Ok(Status::Partial) | Err(_) => return last_answer(BAD_REQUEST),
    };
    let (method, target) = (
        head.method.unwrap_or_default(),
        head.path.unwrap_or_default(),
    );
    let is_http_11 = head.version == Some(1);
    let headers: &[Header] = head.headers;
    let has_body = headers.values("transfer-encoding").next().is_some()
        || headers
            .values("content-length")
            .any(|length| length != b"0");
    Request {
        head_bytes,
        answer: route(method, path_of(target), headers, is_http_11, server),
        is_head: method == "HEAD",
        keeps_open: is_http_11 && !has_body && !headers.has_token("connection", "close"),
    }
}

/// The path of a request target, without a query and without an authority.
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find(['/', '?']).map_or("/", |start| &rest[start..])
        }
        _ => target,
    };
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn route(
    method: &str,
    path: &str,
    headers: &[Header],
    is_http_11: bool,
    server: &Arc<Server>,
) -> Answer {
    let is_known = match path {
        "/chat" | "/health" | "/metrics" => true,
        _ => path == "/echo" && server.options.echo,
    };
    match path {
        _ if !is_known => Answer::Refused(NOT_FOUND),
        _ if method != "GET" => Answer::Refused(NOT_GET),
        "/health" => Answer::Page {
            content_type: TEXT,
            body: "ok\n".to_owned(),
        },
        "/metrics" => Answer::Page {
            content_type: PROMETHEUS_TEXT,
            body: server.hub.metrics(),
        },
        _ => {
            let key = upgrade::check(headers, is_http_11, &server.options);
            let place = key.and_then(|key| {
                let id = server.hub.with(Rooms::connect).ok_or(upgrade::TOO_MANY)?;
                Ok((derive_accept_key(key), id))
            });
            match place {
                Ok((accept_key, id)) => Answer::Upgrade {
                    accept_key,
                    is_chat: path == "/chat",
                    id,
                },
                Err(refusal) => Answer::Refused(refusal),
            }
        }
    }
}

fn response(request: &Request) -> Vec<u8> {
    let (status, content_type, body, headers) = match &request.answer {
        Answer::Page { content_type, body } => (200, *content_type, &body[..], &[][..]),
        Answer::Refused(refusal) => (refusal.status, TEXT, refusal.body, refusal.headers),
        Answer::Upgrade { .. } => return Vec::new(), // has an answer of its own
    };
    let mut text = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n",
        phrase(status),
        body.len()
    );
    for (name, value) in headers {
        text.extend([*name, ": ", *value, "\r\n"]);
    }
    if !request.keeps_open {
        text.push_str("Connection: close\r\n");
    }
    text.push_str("\r\n");
    if !request.is_head {
        text.push_str(body);
    }
    text.into_bytes()
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    }
}

/// Goes on as a WebSocket, in a task of its own that is as small as its future.
fn upgrade(
    stream: TcpStream,
    server: &Arc<Server>,
    (accept_key, is_chat, id): (&str, bool, ClientId),
    early: Vec<u8>,
) {
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept_key}\r\n\r\n"
    );
    let (hub, options) = (&server.hub, &server.options);
    let purpose = if is_chat {
        Purpose::Chat(Session::new(Arc::clone(hub), id, options, Instant::now()))
    } else {
        Purpose::Echo
    };
    let connection = Connection::new(stream, Arc::clone(hub), id, purpose, options);
    tokio::spawn(connection.run(answer.into_bytes(), early));
}

/// Reads what is still sent, for a while: to close at once would take our answer from the client.
async fn linger(mut stream: TcpStream) {
    let reading = async {
        stream.shutdown().await?;
        let mut waste = [0; 4096];
        while stream.read(&mut waste).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(LINGER_TIMEOUT, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn status_of(head: &str) -> (u16, bool) {
        let options = Options {
            max_connections: 1,
            ..Options::default()
        };
        let request = answer(head.as_bytes(), &Server::new(options));
        let status = match &request.answer {
            Answer::Page { .. } => 200,
            Answer::Refused(refusal) => refusal.status,
            Answer::Upgrade { .. } => 101,
        };
        (status, request.keeps_open)
    }

    #[test]
    fn routes() {
        for (head, expected) in [
            ("GET /health HTTP/1.1\r\n\r\n", (200, true)),
            ("GET http://h:1/health?x=1 HTTP/1.1\r\n\r\n", (200, true)),
            ("GET /health HTTP/1.0\r\n\r\n", (200, false)),
            (
                "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n",
                (200, false),
            ),
            ("GET / HTTP/1.1\r\n\r\n", (404, true)),
            (
                "POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                (404, true),
            ),
            (
                "POST /chat HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                (405, false),
            ),
            ("HEAD /health HTTP/1.1\r\n\r\n", (405, true)),
            ("GET /chat HTTP/1.1\r\n\r\n", (426, true)),
            ("GET /chat\r\n\r\n", (400, false)),
            ("GET /chat HTTP/1.1\r\nno colon\r\n\r\n", (400, false)),
        ] {
            assert_eq!(status_of(head), expected, "{head}");
        }
    }

    #[test]
    fn the_upgrade_of_the_standard() {
        let head = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let server = Server::new(Options {
            max_connections: 1,
            ..Options::default()
        });
        let Answer::Upgrade { accept_key, .. } = answer(head.as_bytes(), &server).answer else {
            panic!("a sound request")
        };
        assert_eq!(accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let Answer::Refused(refusal) = answer(head.as_bytes(), &server).answer else {
            panic!("one connection is allowed")
        };
        assert_eq!(refusal, upgrade::TOO_MANY);
    }

    #[test]
    fn where_a_head_ends() {
        let head = b"\r\nGET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        assert_eq!(head_end(head, 0), Some(head.len() - 4));
        for searched in 0..head.len() - 4 {
            assert_eq!(head_end(&head[..searched], 0), None);
            assert_eq!(head_end(head, searched), Some(head.len() - 4), "{searched}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\nA: b\n\n", 0), Some(21));
        assert_eq!(head_end(b"\r\n\r\n", 0), None);
    }

    #[test]
    fn every_response_has_its_length() {
        let request = last_answer(upgrade::NO_UPGRADE);
        let text = String::from_utf8(response(&request)).expect("text");
        assert_eq!(
            text,
            "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 17\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Connection: close\r\n\r\nupgrade required\n"
        );
    }
}
