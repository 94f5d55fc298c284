//! `data.json`: the texts that participants sent each other, where the rule of the recording asks for
//! them. Written front to back in a pass of its own, so that memory does not grow with them.

use std::{collections::BTreeMap, io};

use serde::{Serialize, Serializer};
use sfu_proto::{
    id::{ParticipantId, RecordingId},
    tap::{self, Body, Data, Record},
};
use zeroize::Zeroizing;

use super::{Events, FinalizeError, Handle, MuxError, Request, Source, repeats::Repeats};
use crate::limits::{TEXT_JSON_BYTES, TEXTS_BYTES_MAX, TEXTS_MAX};

/// The version of the format. A reader of version 1 skips fields that it does not know.
const VERSION: u32 = 1;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Texts {
    /// Texts in the file.
    pub entries: u64,
    /// Texts too many to be in it: the last ones.
    pub left_out: u64,
    /// Texts that the recorder was too slow for.
    pub lost: u64,
}

/// Writes the texts of a recording, in order of time, as JSON into `out`. `events` are those of the same
/// records: their start is the time 0 of both. Handles come from `request`.
///
/// # Errors
///
/// The records cannot be read, or `out` takes no more.
pub fn texts<S: Source>(
    source: &S,
    out: &mut impl io::Write,
    request: &Request,
    events: &Events,
) -> Result<Texts, FinalizeError> {
    write(source, out, request, events, (TEXTS_MAX, TEXTS_BYTES_MAX))
}

/// `most`: entries, and bytes of all of them.
fn write<S: Source>(
    source: &S,
    out: &mut impl io::Write,
    request: &Request,
    events: &Events,
    most: (u64, u64),
) -> Result<Texts, FinalizeError> {
    let handles = request.people.iter();
    let handles = handles.filter_map(|stay| Some((stay.participant, stay.handle.as_ref()?)));
    let mut file = File {
        out,
        entry: Zeroizing::new(Vec::with_capacity(TEXT_JSON_BYTES)),
        handles: handles.collect(),
        start_ms: i64::try_from(events.started_at_ms).unwrap_or(i64::MAX),
        at_ms: i64::MIN,
        bytes: 0,
        most,
        written: Texts::default(),
    };
    file.begin(request.recording, events.started_at_ms)?;
    let refused = |error: S::Error| FinalizeError::Source(Box::new(error));
    let mut repeats = Repeats::default();
    for batch in source.batches().map_err(refused)? {
        let batch = batch.map_err(refused)?;
        for record in tap::records(batch.as_ref()).map_while(Result::ok) {
            if repeats.has(&record) {
                continue;
            }
            if let Record { time_us, body: Body::Data(data) } = record {
                file.add(time_us, &data)?;
            }
        }
    }
    file.finish()
}

struct File<'a, W> {
    out: &'a mut W,
    /// One entry; never grows, so nothing of a text stays behind in memory.
    entry: Zeroizing<Vec<u8>>,
    handles: BTreeMap<ParticipantId, &'a Handle>,
    start_ms: i64,
    /// Of the last entry.
    at_ms: i64,
    bytes: u64,
    most: (u64, u64),
    written: Texts,
}

/// A text, as it is in the file. Has no `Debug`.
#[derive(Serialize)]
struct Entry<'a> {
    at_ms: i64,
    from: ParticipantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<&'a Handle>,
    #[serde(serialize_with = "ids")]
    to: tap::Named<'a>,
    body: &'a str,
}

fn ids<S: Serializer>(named: &tap::Named<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(named.iter())
}

impl<W: io::Write> File<'_, W> {
    fn begin(
        &mut self,
        recording: Option<RecordingId>,
        started_at_ms: u64,
    ) -> Result<(), FinalizeError> {
        let id = recording.map(|id| format!("\"recording\":\"{id}\",")).unwrap_or_default();
        let head =
            format!("{{\"version\":{VERSION},{id}\"started_at_ms\":{started_at_ms},\"entries\":[");
        self.put(head.as_bytes())
    }

    /// One on each line. What is above the limits is left out, and all that follows.
    fn add(&mut self, time_us: u64, data: &Data<'_>) -> Result<(), FinalizeError> {
        self.written.lost += u64::from(data.lost);
        if data.is_count() {
            return Ok(());
        }
        let at_ms = i64::try_from(time_us / 1_000).unwrap_or(i64::MAX);
        // They come in order of time; one that did not would still be in order of its coming.
        let at_ms = self.at_ms.max(at_ms.saturating_sub(self.start_ms));
        let Data { from, to, text, .. } = *data;
        let handle = self.handles.get(&from).copied();
        self.entry.clear();
        self.entry.extend_from_slice(if self.written.entries == 0 { b"\n" } else { b",\n" });
        let entry = Entry { at_ms, from, handle, to, body: text };
        serde_json::to_writer(&mut *self.entry, &entry)
            .map_err(io::Error::from)
            .map_err(MuxError::Write)?;
        let (entries_max, bytes_max) = self.most;
        let is_full = self.written.left_out > 0
            || self.written.entries >= entries_max
            || self.bytes + self.entry.len() as u64 > bytes_max;
        if is_full {
            self.written.left_out += 1;
            return Ok(());
        }
        self.at_ms = at_ms;
        self.written.entries += 1;
        self.bytes += self.entry.len() as u64;
        Ok(self.out.write_all(&self.entry).map_err(MuxError::Write)?)
    }

    fn finish(mut self) -> Result<Texts, FinalizeError> {
        let Texts { left_out, lost, .. } = self.written;
        let tail = format!("\n],\"left_out\":{left_out},\"lost\":{lost}}}\n");
        self.put(tail.as_bytes())?;
        Ok(self.written)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FinalizeError> {
        Ok(self.out.write_all(bytes).map_err(MuxError::Write)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::convert::Infallible;

    use serde_json::Value;
    use sfu_proto::tap::{write_data, write_texts_lost};

    use super::*;
    use crate::finalize::{FileInfo, Sinks, TrackResult, finalize};

    struct Batches(Vec<Vec<u8>>);

    impl Source for Batches {
        type Error = Infallible;

        fn batches(
            &self,
        ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, Infallible>> + '_, Infallible>
        {
            Ok(self.0.iter().map(Ok))
        }
    }

    struct Nowhere;

    impl Sinks for Nowhere {
        type Sink = io::Sink;

        fn open(&mut self, _: &FileInfo) -> io::Result<io::Sink> {
            Ok(io::sink())
        }

        fn close(&mut self, _: io::Sink, _: &TrackResult) -> io::Result<()> {
            Ok(())
        }
    }

    const START_US: u64 = 1_760_000_000_000_000;

    fn text(at_ms: u64, lost: u32, body: &str) -> Vec<u8> {
        let (from, to) = (ParticipantId::from_bits(7), [ParticipantId::from_bits(8)]);
        let mut bytes = Vec::new();
        write_data(&mut bytes, START_US + at_ms * 1000, (lost, from), &to, body).unwrap();
        bytes
    }

    fn made(batches: Vec<Vec<u8>>, most: (u64, u64)) -> (Texts, Value) {
        let (source, request) = (Batches(batches), Request::default());
        let events = finalize(&source, &mut Nowhere, &request, &mut |_| {}).unwrap();
        let mut out = Vec::new();
        let texts = write(&source, &mut out, &request, &events, most).unwrap();
        (texts, serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn without_media_time_begins_with_the_first_text() {
        let batches = vec![text(0, 0, "a \"quote\""), text(1500, 2, "b\n"), text(1400, 0, "late")];
        let (texts, file) = made(batches, (9, 9000));
        assert_eq!(texts, Texts { entries: 3, left_out: 0, lost: 2 });
        assert_eq!(file["started_at_ms"], START_US / 1000);
        let all = file["entries"].as_array().unwrap();
        let times: Vec<_> = all.iter().map(|entry| entry["at_ms"].as_i64().unwrap()).collect();
        assert_eq!(times, [0, 1500, 1500], "in order");
        assert_eq!((&all[0]["body"], &all[1]["body"]), (&"a \"quote\"".into(), &"b\n".into()));
        assert_eq!(all[0]["to"][0], ParticipantId::from_bits(8).to_string());
        assert_eq!((&file["lost"], &file["left_out"]), (&2.into(), &0.into()));
    }

    #[test]
    fn what_was_lost_last_is_counted_and_is_no_entry() {
        let mut told = Vec::new();
        write_texts_lost(&mut told, START_US + 9000, 3);
        let (texts, file) = made(vec![text(0, 1, "a"), told], (9, 9000));
        assert_eq!(texts, Texts { entries: 1, left_out: 0, lost: 4 });
        assert_eq!(file["entries"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let many = || (0..10).map(|n| text(n, 0, &"x".repeat(1000))).collect::<Vec<_>>();
        let (texts, file) = made(many(), (4, 1 << 20));
        assert_eq!((texts.entries, texts.left_out), (4, 6));
        assert_eq!((file["entries"].as_array().unwrap().len(), &file["left_out"]), (4, &6.into()));
        let (texts, _) = made(many(), (100, 5000));
        assert_eq!((texts.entries, texts.left_out), (4, 6), "a text takes 1,100 bytes");
    }

    #[test]
    fn the_longest_text_fits_its_place() {
        let (mut bytes, from) = (Vec::new(), ParticipantId::from_bits(u128::MAX));
        let worst = "\u{1}".repeat(sfu_proto::limits::TAP_TEXT_BYTES_MAX);
        let all = [from; sfu_proto::limits::TAP_NAMED_MAX];
        write_data(&mut bytes, START_US, (0, from), &all, &worst).unwrap();
        let (_, file) = made(vec![bytes], (1, 1 << 20));
        let entry = file["entries"][0].to_string();
        assert!(entry.len() + 200 < TEXT_JSON_BYTES, "{} bytes, and a handle", entry.len());
    }

    #[test]
    fn nobody_wrote_anything() {
        let (texts, file) = made(Vec::new(), (1, 1));
        assert_eq!(texts, Texts::default());
        assert_eq!(file["entries"], Value::Array(Vec::new()));
    }
}
