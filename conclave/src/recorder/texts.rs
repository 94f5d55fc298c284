//! Texts of rooms on their way to the recorder: into the same ring as the media of their recording.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bus::tap::TapSender;
use sfu_proto::{
    id::RecordingId,
    tap::{Batch, write_data, write_texts_lost},
};
use signaling::RecordedText;

/// Where texts are put, with the time. Its clock is of the same kind as the media workers', begun in the
/// same process, so both agree and neither ever jumps.
pub(crate) struct Texts {
    tap: TapSender,
    /// The same moment on our monotonic and on our wall clock.
    epoch: (Instant, SystemTime),
}

impl Texts {
    /// From now on; best called when media workers begin.
    pub(crate) fn new(tap: TapSender) -> Self {
        Self { tap, epoch: (Instant::now(), SystemTime::now()) }
    }

    /// Puts a text into the ring. `false`: it is full, or the text fits no record.
    pub(super) fn take(&self, text: &RecordedText, lost: u32) -> bool {
        let RecordedText { recording, from, to, body } = text;
        let mut bytes = Vec::new();
        write_data(&mut bytes, self.now_us(), (lost, *from), to, body).is_ok()
            && self.tap.send(Batch { recording: *recording, bytes }).is_ok()
    }

    /// Says that so many are missing. `false`: the ring is full.
    pub(super) fn lost(&self, recording: RecordingId, lost: u32) -> bool {
        let mut bytes = Vec::new();
        write_texts_lost(&mut bytes, self.now_us(), lost);
        self.tap.send(Batch { recording, bytes }).is_ok()
    }

    fn now_us(&self) -> u64 {
        let (begun, wall) = self.epoch;
        let since = (wall + begun.elapsed()).duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use sfu_proto::{
        id::ParticipantId,
        tap::{Body, records},
    };

    use super::*;

    fn text(body: &str) -> RecordedText {
        RecordedText {
            recording: RecordingId::from_bits(1),
            from: ParticipantId::from_bits(2),
            to: vec![ParticipantId::from_bits(3)],
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_text_comes_with_the_time_of_the_wall_and_a_full_ring_refuses_it() {
        let (sender, receiver) = bus::tap::tap(100);
        let texts = Texts::new(sender);
        assert!(texts.take(&text("hello"), 7));
        assert!(!texts.take(&text("no room for this one"), 0));
        let batch = receiver.recv(Duration::ZERO).unwrap();
        assert_eq!(batch.recording, RecordingId::from_bits(1));
        let record = records(&batch.bytes).next().unwrap().unwrap();
        let Body::Data(data) = record.body else { panic!("{record:?}") };
        assert!(data.lost == 7 && data.text == "hello" && data.to.iter().count() == 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.checked_sub(Duration::from_micros(record.time_us));
        assert!(age.is_some_and(|age| age < Duration::from_secs(60)));
        assert!(!texts.take(&text(&"x".repeat(5000)), 0), "longer than any may be");
    }
}
