//! What waits for one socket, bounded by messages and by bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::mpsc;

use crate::{domain::Close, limits};

/// What a socket is told. A closed channel means: too slow, close.
pub(crate) enum Outgoing {
    Message(Message),
    Close(Close),
}

/// A message under its number. What it says is shared with everybody who is told the same.
pub(crate) struct Message {
    pub(crate) seq: u64,
    pub(crate) ack: u64,
    pub(crate) body: Arc<str>,
}

impl Message {
    /// As it is written: the body is a JSON object of its own; the envelope's fields go in front of its
    /// first.
    pub(crate) fn text(&self) -> String {
        let Self { seq, ack, body } = self;
        format!("{{\"seq\":{seq},\"ack\":{ack},{}", body.get(1..).unwrap_or("}"))
    }
}

/// The room's end of a socket.
pub(crate) struct Socket {
    sender: mpsc::Sender<Outgoing>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// The end of who writes to the socket.
pub(crate) struct Outgoings {
    receiver: mpsc::Receiver<Outgoing>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// Both ends of a new socket.
pub(crate) fn socket() -> (Socket, Outgoings) {
    let (sender, receiver) = mpsc::channel(limits::SOCKET_QUEUE_MAX);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    (
        Socket { sender, waiting_bytes: Arc::clone(&waiting_bytes) },
        Outgoings { receiver, waiting_bytes },
    )
}

impl Socket {
    /// `false` when the socket is gone, or as much waits for it as may. However long a message is, it is
    /// taken when nothing else waits.
    pub(super) fn send(&self, message: Message) -> bool {
        let bytes = message.body.len();
        let before = self.waiting_bytes.fetch_add(bytes, Relaxed);
        let fits = before == 0 || before + bytes <= limits::SOCKET_QUEUE_BYTES_MAX;
        let is_taken = fits && self.sender.try_send(Outgoing::Message(message)).is_ok();
        if !is_taken {
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
        }
        is_taken
    }

    /// Closes it after what waits. When nothing more fits it closes as too slow.
    pub(super) fn close(&self, close: Close) {
        let _ = self.sender.try_send(Outgoing::Close(close));
    }
}

impl Outgoings {
    /// The next thing that it is told. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        let outgoing = self.receiver.recv().await?;
        if let Outgoing::Message(message) = &outgoing {
            self.waiting_bytes.fetch_sub(message.body.len(), Relaxed);
        }
        Some(outgoing)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn message(seq: u64, body: &Arc<str>) -> Message {
        Message { seq, ack: 7, body: Arc::clone(body) }
    }

    /// Messages of this length that a socket takes that nobody reads.
    fn taken(body: &Arc<str>) -> usize {
        let (socket, _outgoings) = socket();
        (0..).take_while(|seq| socket.send(message(*seq, body))).count()
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_count_and_bytes() {
        assert_eq!(taken(&"{}".into()), limits::SOCKET_QUEUE_MAX);
        let long = 64 * 1024;
        assert_eq!(taken(&"x".repeat(long).into()), limits::SOCKET_QUEUE_BYTES_MAX / long);
        let longest: Arc<str> = "x".repeat(limits::SOCKET_QUEUE_BYTES_MAX + 1).into();
        let (socket, mut outgoings) = socket();
        for _ in 0..3 {
            assert!(socket.send(message(1, &longest)), "nothing else waits");
            assert!(!socket.send(message(2, &"{}".into())));
            assert!(outgoings.next().await.is_some());
        }
        drop(outgoings);
        assert!(!socket.send(message(3, &"{}".into())), "gone");
    }

    #[tokio::test]
    async fn messages_share_their_text_until_they_are_written() {
        let body: Arc<str> = "{\"type\":\"pong\"}".into();
        let (socket, mut outgoings) = socket();
        for seq in 0..100 {
            assert!(socket.send(message(seq, &body)));
        }
        assert_eq!(Arc::strong_count(&body), 101, "no copies");
        let Some(Outgoing::Message(first)) = outgoings.next().await else { panic!("a message") };
        assert_eq!(first.text(), "{\"seq\":0,\"ack\":7,\"type\":\"pong\"}");
        socket.close(Close::Done);
        drop(socket);
        let mut last = None;
        while let Some(outgoing) = outgoings.next().await {
            last = Some(outgoing);
        }
        assert!(matches!(last, Some(Outgoing::Close(Close::Done))));
    }
}
