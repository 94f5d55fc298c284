//! Time limit on the first bytes of a connection.
//!
//! To tell HTTP/1 from HTTP/2 the library waits for as many bytes as agree with the preface of
//! HTTP/2 (RFC 9113 section 3.4), without a limit in time. Its own limits begin after that.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose protocol is not known yet.
pub(super) struct Opening {
    /// Bytes of the preface that were read.
    read: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Opening {
    pub(super) fn new() -> Self {
        let deadline = Box::pin(sleep_until(Instant::now() + limits::REQUEST_HEAD));
        Self { read: 0, deadline }
    }

    /// Whether these bytes, read next, decide the protocol.
    pub(super) fn is_over(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.read..];
        self.read += bytes.len().min(rest.len());
        self.read == PREFACE.len() || !rest.starts_with(bytes)
    }

    /// Ready when it takes too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_protocol_is_known_by_the_first_other_byte_or_the_whole_preface() {
        assert!(Opening::new().is_over(b"GET"));
        assert!(Opening::new().is_over(PREFACE));
        assert!(Opening::new().is_over(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"));
        let mut dripping = Opening::new();
        for byte in &PREFACE[..PREFACE.len() - 1] {
            assert!(!dripping.is_over(&[*byte]));
        }
        assert!(dripping.is_over(b"\n"));
        let mut post = Opening::new();
        assert!(!post.is_over(b"P") && post.is_over(b"OST"));
    }
}
