//! `conclave recording inspect`.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use recorder::{
    journal::{
        Ending, FileFound, FileReport, Folder, Header, HeaderError, OpenError, Replay, Structure,
    },
    key::{DataKey, EpochKeys, KeyId},
    limits::JOURNAL_CHECKPOINT,
};
use sfu_proto::tap::{self, Body};

/// Where the operator's keys are in a data directory.
const EPOCHS: &str = "epochs";

/// What is told, and whether all is well.
#[derive(Default)]
struct Report {
    text: String,
    wrong: bool,
}

/// Reads a journal and says what was found.
///
/// # Errors
/// When the path or the key cannot be used.
pub(super) fn run(
    path: &Path,
    key_file: Option<&Path>,
    data: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let shown = path.display();
    let place = Place::of(path).with_context(|| format!("{shown}"))?;
    let report = match key(&place, key_file, data)? {
        Some(key) => place.replay(&key)?,
        None => place.structure()?,
    };
    write!(io::stdout(), "{}", report.text)?;
    Ok(if report.wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is looked at.
enum Place {
    Folder(Folder),
    File(PathBuf),
}

impl Place {
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.metadata()?.is_dir() {
            true => Ok(Self::Folder(Folder::open(path)?)),
            false => Ok(Self::File(path.to_owned())),
        }
    }

    /// The folder of the recording, where its wrapped keys are.
    fn folder(&self) -> anyhow::Result<Folder> {
        match self {
            Self::Folder(folder) => Ok(folder.clone()),
            Self::File(path) => {
                let path = path.canonicalize()?;
                Ok(Folder::open(path.parent().context("no folder")?)?)
            }
        }
    }

    fn replay(&self, key: &DataKey) -> anyhow::Result<Report> {
        let mut replay = match self {
            Self::Folder(folder) => Replay::of(folder, key)?,
            Self::File(path) => Replay::of_file(path, key),
        };
        let mut records = Records::default();
        for batch in replay.by_ref() {
            records.count(&batch.bytes);
        }
        let mut report = Report::default();
        let reports = replay.into_reports();
        report.missing(reports.iter().map(|one| one.file));
        for file in &reports {
            report.file(file, matches!(self, Self::Folder(_)));
        }
        report.records(&records);
        Ok(report)
    }

    fn structure(&self) -> anyhow::Result<Report> {
        let files = match self {
            Self::Folder(folder) => folder.files()?,
            Self::File(path) => vec![(0, path.clone())],
        };
        let mut report = Report::default();
        report.missing(files.iter().map(|(number, _)| *number));
        for (number, path) in files {
            let open = File::open(&path).with_context(|| format!("{}", path.display()))?;
            match Structure::read(BufReader::new(open))? {
                Ok(found) => report.shape(&found),
                Err(error) => report.unopened(number, &error.into()),
            }
        }
        report.line("without a key only the shape was read; tags and signatures were not checked");
        Ok(report)
    }
}

/// The data key, if the caller gave a way to it.
fn key(
    place: &Place,
    key_file: Option<&Path>,
    data: Option<&Path>,
) -> anyhow::Result<Option<DataKey>> {
    if let Some(file) = key_file {
        let key = DataKey::from_file(file).with_context(|| format!("{}", file.display()))?;
        return Ok(Some(key));
    }
    let Some(data) = data else { return Ok(None) };
    let folder = place.folder()?;
    let Some(wrap) = folder.keys()?.operator else {
        bail!("the recording is sealed: only the partner's identity opens its key");
    };
    let epochs = EpochKeys::existing(&data.join(EPOCHS));
    Ok(Some(epochs.unwrap(folder.recording(), &wrap)?))
}

/// Tap records of all batches.
#[derive(Default)]
struct Records {
    read: u64,
    lost: u64,
    lost_times: u64,
    malformed: u64,
    first_us: Option<u64>,
    last_us: u64,
}

impl Records {
    fn count(&mut self, batch: &[u8]) {
        for record in tap::records(batch) {
            let Ok(record) = record else {
                self.malformed += 1;
                continue;
            };
            self.read += 1;
            self.first_us.get_or_insert(record.time_us);
            self.last_us = self.last_us.max(record.time_us);
            if let Body::Lost { records } = record.body {
                self.lost_times += 1;
                self.lost += u64::from(records);
            }
        }
    }
}

impl Report {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    fn bad(&mut self, text: &str) {
        self.wrong = true;
        let _ = writeln!(self.text, "WRONG: {text}");
    }

    /// Numbers have no gaps, so a file that is not there was taken away. The last one would not be
    /// missed here: the end of the recording is signed.
    fn missing(&mut self, numbers: impl Iterator<Item = u32>) {
        let mut expected = None;
        for number in numbers {
            match (expected.unwrap_or(number), number.saturating_sub(1)) {
                (first, last) if first == last && number > last => {
                    self.bad(&format!("file {first} is missing"));
                }
                (first, last) if first < last => {
                    self.bad(&format!("files {first} to {last} are missing"));
                }
                _ => {}
            }
            expected = Some(number.saturating_add(1));
        }
    }

    fn header(&mut self, header: &Header) {
        let Header { file, recording, created_ms, run, .. } = header;
        self.line(&format!("file {file} of {recording}"));
        self.line(&format!("  begun {created_ms} ms after 1970, run {run:016x}"));
        self.line(&format!("  data key {}", KeyId(header.key_id)));
        self.line(&format!("  capture key {}", hex(&header.capture_key)));
    }

    fn file(&mut self, report: &FileReport, linked: bool) {
        let found = match &report.found {
            Ok(found) => found,
            Err(error) => return self.unopened(report.file, error),
        };
        self.header(&found.header);
        let FileFound { batches, plain_bytes, repeated, checkpoints, .. } = found;
        self.line(&format!("  {batches} chunks of {plain_bytes} bytes, {repeated} known before"));
        self.line(&format!("  {checkpoints} signatures by the capture key, all valid"));
        if let Some(last) = &found.last_checkpoint {
            let head = hex(&last.chain);
            self.line(&format!("  the last: {} ms, chunk {}, head {head}", last.time_ms, last.seq));
        }
        // Twice the time between two: the writer stood still.
        if u128::from(found.checkpoint_gap_ms) > 2 * JOURNAL_CHECKPOINT.as_millis() {
            self.line(&format!("  GAP: {} ms without a signature", found.checkpoint_gap_ms));
        }
        if linked && !found.linked {
            self.bad("it does not continue the file before");
        }
        self.ending(&found.ending);
    }

    fn unopened(&mut self, file: u32, error: &OpenError) {
        match error {
            OpenError::Header(HeaderError::Short(len)) => {
                self.line(&format!("file {file}\n  TRUNCATED in its header, at byte {len}"));
            }
            other => self.bad(&format!("file {file}: {other}")),
        }
    }

    fn shape(&mut self, found: &Structure) {
        self.header(&found.header);
        let Structure { batches, plain_bytes, checkpoints, .. } = found;
        self.line(&format!("  {batches} chunks of {plain_bytes} bytes, {checkpoints} signatures"));
        self.line(&format!("  head {}", hex(&found.chain)));
        self.ending(&found.ending);
    }

    fn ending(&mut self, ending: &Ending) {
        match ending {
            Ending::Whole { last: true } => self.line("  whole: the recording ends here"),
            Ending::Whole { last: false } => self.line("  whole: goes on in the next file"),
            Ending::Truncated { offset, rest } => {
                self.line(&format!("  TRUNCATED at byte {offset}; {rest} bytes of no whole chunk"));
            }
            Ending::Tampered { offset, seq, flaw } => {
                self.bad(&format!("chunk {seq} at byte {offset} is not as it was written: {flaw}"));
            }
            Ending::Unreadable { offset, error } => {
                self.bad(&format!("cannot be read from byte {offset} on: {error}"));
            }
        }
    }

    fn records(&mut self, records: &Records) {
        let us = records.last_us.saturating_sub(records.first_us.unwrap_or(records.last_us));
        self.line(&format!("{} records of {} ms", records.read, us / 1000));
        if records.lost > 0 {
            let Records { lost, lost_times, .. } = records;
            self.line(&format!(
                "GAP: {lost} records were lost before the journal, {lost_times} times"
            ));
        }
        if records.malformed > 0 {
            self.bad(&format!("{} batches end in what is no record", records.malformed));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
