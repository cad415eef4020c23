//! Frames of RFC 6455, as far as a client of a chat and a plain server need them.

/// Opcodes.
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
/// Why a conversation was closed that was over.
pub const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTINUATION: u8 = 0;
const LENGTH_16: u8 = 0x7e;
/// The longest frame that anybody here has a reason to send.
pub const FRAME_BYTES_MAX: usize = 1 << 16;

/// The key that all connections use (it is no secret), and what a server must answer to it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What stands at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Whole(Head),
    /// Not all of it yet.
    Part,
    Bad(&'static str),
}

/// A whole frame: where its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    pub start: usize,
    pub end: usize,
}

/// Look for one frame at the start of the buffer.
pub fn read(input: &[u8]) -> Found {
    let &[first, second, ..] = input else { return Found::Part };
    if first & 0x70 != 0 {
        return Found::Bad("a frame with reserved bits");
    }
    if first & FIN == 0 || first & OPCODE == CONTINUATION {
        return Found::Bad("a message in fragments");
    }
    let (length, mut start) = match second & 0x7f {
        126 if input.len() >= 4 => (usize::from(u16::from_be_bytes([input[2], input[3]])), 4),
        126 => return Found::Part,
        127 => return Found::Bad("a frame of more than 64 KiB"),
        short => (usize::from(short), 2),
    };
    let mut mask = None;
    if second & MASKED != 0 {
        let Some(&[a, b, c, d]) = input.get(start..start + 4) else { return Found::Part };
        mask = Some([a, b, c, d]);
        start += 4;
    }
    let end = start + length;
    if end <= input.len() { Found::Whole(Head { opcode: first & OPCODE, mask, start, end }) } else { Found::Part }
}

/// Append a frame; a client's has a mask.
pub fn push(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let bit = if mask.is_some() { MASKED } else { 0 };
    out.push(FIN | opcode);
    if payload.len() < 126 {
        out.push(bit | payload.len() as u8);
    } else {
        out.push(bit | LENGTH_16);
        out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    }
    let key = mask.unwrap_or_default();
    if mask.is_some() {
        out.extend_from_slice(&key);
    }
    let start = out.len();
    out.extend_from_slice(payload);
    if mask.is_some() {
        unmask(&mut out[start..], key);
    }
}

/// Mask a payload, or take the mask off it.
pub fn unmask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The request of a client, with more lines of its head.
pub fn upgrade(path: &str, host: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
    .into_bytes()
}

/// Where the head of the server's answer ends; None when it is not all there.
pub fn answered(input: &[u8]) -> Option<Result<usize, String>> {
    let end = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&input[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let accepts = |line: &str| {
        line.split_once(':')
            .is_some_and(|(name, value)| name.eq_ignore_ascii_case("Sec-WebSocket-Accept") && value.trim() == ACCEPT)
    };
    if !status.starts_with("HTTP/1.1 101 ") {
        return Some(Err(format!("the upgrade was answered {status:?}")));
    }
    Some(if lines.any(accepts) { Ok(end) } else { Err("the upgrade was answered without the right key".into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_at_every_length() {
        for length in [0, 1, 125, 126, 1000, 65_535] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let payload = vec![b'x'; length];
                let mut frame = Vec::new();
                push(TEXT, &payload, mask, &mut frame);
                assert_eq!(read(&frame[..frame.len() - 1]), Found::Part);
                let Found::Whole(head) = read(&frame) else { panic!("{length}: not whole") };
                assert_eq!((head.opcode, head.mask, head.end), (TEXT, mask, frame.len()));
                unmask(&mut frame[head.start..], mask.unwrap_or_default());
                assert_eq!(&frame[head.start..], payload);
            }
        }
    }

    #[test]
    fn what_no_server_should_send_is_named() {
        assert_eq!(read(&[0x01, 0]), Found::Bad("a message in fragments"));
        assert_eq!(read(&[0xc1, 0]), Found::Bad("a frame with reserved bits"));
        assert_eq!(read(&[0x81, 127]), Found::Bad("a frame of more than 64 KiB"));
        assert_eq!(read(&[0x81]), Found::Part);
    }

    #[test]
    fn an_upgrade_counts_only_with_the_right_answer() {
        let right = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\nrest");
        assert_eq!(answered(right.as_bytes()), Some(Ok(right.len() - 4)));
        assert_eq!(answered(b"HTTP/1.1 101 Switching"), None);
        let refused = answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").expect("whole");
        assert_eq!(refused, Err("the upgrade was answered \"HTTP/1.1 503 Service Unavailable\"".into()));
        assert!(answered(b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: other\r\n\r\n").expect("whole").is_err());
    }
}
