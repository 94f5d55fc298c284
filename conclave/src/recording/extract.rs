//! `conclave recording extract`: the files of a recording that the partner got as a journal.
//!
//! The journal stays encrypted on the disk while it is read; what is made of it is not.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Read as _, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use recorder::{
    evidence::{MANIFEST_FILE, Manifest},
    finalize::{Events, FileInfo, Request, Sinks, TrackResult, finalize, texts},
    journal::{Ending, FileReport, Folder, Header, Replay},
    key::DataKey,
    limits::{EVIDENCE_BYTES_MAX, KEYS_FILE_BYTES_MAX},
    recorded::Recorded,
    seal::{Identities, OpenError, open},
};

use sfu_proto::id::RecordingId;

use super::verify::{read, read_identity};

/// The data key, as [`recorder::service`] hands it over.
const DATA_KEY: &str = "data-key.age";
/// Enough for the header of a journal file, which has 152.
const HEADER_BYTES: u64 = 256;

/// Makes the files.
///
/// # Errors
/// When the folder holds no journal, the identity does not open it, or a file cannot be written.
pub(super) fn run(folder: &Path, identity: &Path, out: &Path) -> anyhow::Result<ExitCode> {
    let identities = read_identity(identity)?;
    let key = data_key(&folder.join(DATA_KEY), &identities)?;
    make(out)?;
    let work = Work(out.join(".journal"));
    make(&work.0)?;
    let (journal, changed) = open_journal(folder, &work.0, &identities)?;
    if !folder.join(MANIFEST_FILE).exists() {
        writeln!(io::stdout(), "no manifest: more of the recording may have been to come")?;
    }
    let request = Request { recording: Some(journal.recording()), ..Request::default() };
    let mut files = Files(out);
    let source = Recorded::new(&journal, &key).past_unreadable();
    let events = finalize(&source, &mut files, &request, &mut |_| {})?;
    let text = serde_json::to_vec_pretty(&events)?;
    create(&out.join("events.json"))?.write_all(&text)?;
    write_texts(&source, &request, &events, &out.join("data.json"))?;
    let mut replay = Replay::of(&journal, &key)?;
    (&mut replay).for_each(drop);
    let reports = replay.into_reports();
    let bad = reports.iter().filter(|report| !is_whole(report));
    let bad: Vec<String> =
        bad.map(|report| format!("journal file {}", report.file)).chain(changed).collect();
    for what in &bad {
        writeln!(io::stdout(), "WRONG: {what}: was changed or cannot be read")?;
    }
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The texts of a recording, if there are any: its rule is not known here.
fn write_texts(
    source: &Recorded<'_>,
    request: &Request,
    events: &Events,
    path: &Path,
) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    let mut file = BufWriter::new(create(path).with_context(shown)?);
    let written = texts(source, &mut file, request, events)?;
    file.flush().with_context(shown)?;
    match written.entries + written.left_out + written.lost {
        0 => fs::remove_file(path).with_context(shown),
        _ => Ok(writeln!(io::stdout(), "data.json: {} texts", written.entries)?),
    }
}

/// A journal that a crash cut ends with its last whole chunk: nothing of it was changed.
fn is_whole(report: &FileReport) -> bool {
    let ending = report.found.as_ref().map(|found| &found.ending);
    matches!(ending, Ok(Ending::Whole { .. } | Ending::Truncated { .. }))
}

/// The journal while it is worked on; removed at the end, whichever.
struct Work(PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // It is encrypted.
    }
}

fn make(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().mode(0o700).create(path).with_context(|| path.display().to_string())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn data_key(path: &Path, identities: &Identities) -> anyhow::Result<DataKey> {
    let sealed = read(path, KEYS_FILE_BYTES_MAX)?;
    let mut wrap = zeroize::Zeroizing::new(Vec::new());
    open(&sealed[..], &mut *wrap, identities).with_context(|| path.display().to_string())?;
    let wrap = str::from_utf8(&wrap).with_context(|| path.display().to_string())?;
    identities.data_key(wrap).with_context(|| path.display().to_string())
}

/// Unseals the journal's files, which are encrypted by themselves, into a folder of their recording; gives
/// those that were changed. What stands before a change is genuine.
fn open_journal(
    folder: &Path,
    work: &Path,
    identities: &Identities,
) -> anyhow::Result<(Folder, Vec<String>)> {
    let (mut opened, mut changed) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(".age").filter(|name| name.ends_with(".journal")) else {
            continue;
        };
        let shown = || path.display().to_string();
        let mut output = BufWriter::new(create(&work.join(name))?);
        match open(File::open(&path).with_context(shown)?, &mut output, identities) {
            Err(OpenError::Damaged) => changed.push(shown()),
            other => drop(other.with_context(shown)?),
        }
        output.flush().with_context(shown)?;
        opened.push(name.to_owned());
    }
    ensure!(!opened.is_empty(), "{}: no journal", folder.display());
    let recording = recording(folder, work, &opened)?;
    let journal = Folder::create(work, recording)?;
    for name in opened {
        fs::rename(work.join(&name), journal.path().join(&name))?;
    }
    Ok((journal, changed))
}

/// As the manifest says; without one, as a file of the journal says: others are then refused.
fn recording(folder: &Path, work: &Path, opened: &[String]) -> anyhow::Result<RecordingId> {
    let path = folder.join(MANIFEST_FILE);
    if path.exists() {
        let manifest = Manifest::parse(&read(&path, EVIDENCE_BYTES_MAX)?);
        let manifest = manifest.with_context(|| format!("{}: no manifest", path.display()))?;
        return Ok(manifest.recording);
    }
    let header = |name: &String| {
        let mut bytes = Vec::new();
        File::open(work.join(name)).ok()?.take(HEADER_BYTES).read_to_end(&mut bytes).ok()?;
        Header::parse(&bytes).ok()
    };
    let header = opened.iter().find_map(header);
    Ok(header.with_context(|| format!("{}: no journal", folder.display()))?.recording)
}

/// Plain files in a folder.
struct Files<'a>(&'a Path);

impl Sinks for Files<'_> {
    type Sink = BufWriter<File>;

    fn open(&mut self, file: &FileInfo) -> io::Result<Self::Sink> {
        create(&self.0.join(&file.name)).map(BufWriter::new)
    }

    fn close(&mut self, sink: Self::Sink, result: &TrackResult) -> io::Result<()> {
        sink.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let seconds = result.duration_ms as f64 / 1000.0;
        let (name, gaps) = (&result.file.name, result.gaps.len());
        writeln!(io::stdout(), "{name}: {seconds:.1} s, {} bytes, {gaps} gaps", result.bytes)
    }
}
