//! Messages as Axum takes them: text that all receivers share; each connection's library writes
//! the header.

use axum::extract::ws::Utf8Bytes;

pub type Frame = Utf8Bytes;

/// Room that `seal` needs in front of a message.
pub const HEADROOM: usize = 0;

/// Makes a message that can be shared.
pub fn seal(message: String) -> Frame {
    Utf8Bytes::from(message)
}

/// The message that `seal` was given.
#[cfg(test)]
pub fn text_of(frame: &Frame) -> &str {
    frame.as_str()
}
