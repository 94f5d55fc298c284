//! A recording that was made under load, and whether what the partner got of it is whole.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    film::Film,
    needles::Needles,
    publisher::Sent,
    server::{Place, Server},
};

/// Until a key frame that was sent is also received.
const SLACK: Duration = Duration::from_millis(300);
/// What a crash may cost.
pub(super) const LOSS: Duration = Duration::from_secs(2);

/// A recording as its maker saw it.
pub(super) struct Take {
    pub(super) id: String,
    pub(super) room: String,
    /// When the request to start was answered.
    pub(super) started: Instant,
    /// When it was asked to stop, or killed before.
    pub(super) ended: Instant,
    /// Whether the server was killed while it was recorded.
    pub(super) was_killed: bool,
    /// When the server was killed, milliseconds since 1970, if that was while this one was purged.
    pub(super) killed_in_purge_ms: Option<u64>,
    pub(super) sent: Arc<Sent>,
    /// `keys.json` while there was one.
    pub(super) wraps: Option<Value>,
}

/// What came of a take.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// From the last picture to the end.
    pub(super) lost: Duration,
    /// From the start to the first picture.
    pub(super) late: Duration,
    /// Pictures between the first and the last that are missing, or no pictures of ours.
    pub(super) missing: u64,
    /// None of a recording that ended before its first key frame; its sound is there.
    pub(super) pictures: u64,
    /// Nothing was recorded before the kill.
    pub(super) is_empty: bool,
    /// The kill met its purge, and the receipt was signed by the next process.
    pub(super) was_purge_resumed: bool,
}

impl Take {
    /// Reads the wraps of the data key, while the recording is there.
    pub(super) fn note_wraps(&mut self, place: &Place) {
        let text = fs::read(place.spool(&self.id).join("keys.json"));
        let read = text.ok().and_then(|text| serde_json::from_slice(&text).ok());
        self.wraps = read.or(self.wraps.take());
    }

    /// Needles of its data key, in the forms in which one might be written.
    ///
    /// # Errors
    /// `age` does not open the partner's wrap.
    pub(super) fn add_key(&self, place: &Place, needles: &mut Needles) -> Result<bool> {
        let Some(partner) = self.wraps.as_ref().and_then(|wraps| wraps["partner"].as_str()) else {
            return Ok(false);
        };
        let (sealed, key) = (place.folder.join("wrap.age"), place.folder.join("wrap.key"));
        fs::write(&sealed, partner)?;
        age(place, &sealed, &key)?;
        let bytes = fs::read(&key)?;
        fs::remove_file(&key)?;
        ensure!(bytes.len() == 32, "a data key of {} bytes", bytes.len());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        needles.add("a data key", &bytes);
        needles.add("a data key, hexadecimal", hex.as_bytes());
        needles.add("a data key, base64", &STANDARD.encode(&bytes).as_bytes()[..40]);
        Ok(true)
    }

    /// Needles of the wraps, which must be gone when it is purged.
    pub(super) fn add_wraps(&self, needles: &mut Needles) {
        let Some(wraps) = &self.wraps else { return };
        let partner = wraps["partner"].as_str().unwrap_or_default();
        for line in partner.lines().filter(|line| !line.starts_with('-')).skip(1) {
            needles.add("a partner's wrap of a purged recording", line.as_bytes());
        }
        let operator = wraps["operator"]["bytes"].as_str().unwrap_or_default();
        needles.add("an operator's wrap of a purged recording", operator.as_bytes());
        let raw = STANDARD.decode(operator).unwrap_or_default();
        needles.add("an operator's wrap of a purged recording, binary", &raw);
    }

    /// Checks everything that the partner has and was told. `film` also tells whether the needles are
    /// good: what is inside must have them.
    ///
    /// # Errors
    /// What is not as promised.
    pub(super) async fn check(
        &self,
        server: &Server,
        place: &Place,
        film: &Film,
    ) -> Result<Outcome> {
        let told = server.get(&format!("/v1/recordings/{}", self.id)).await?;
        ensure!(told["state"] == "purged", "is {}", told["state"]);
        let reason = told["purge_reason"].as_str().unwrap_or_default();
        let lived = self.ended.saturating_duration_since(self.started);
        if reason == "empty" {
            ensure!(self.was_killed && lived < LOSS, "purged as empty after {lived:?}");
            self.check_receipt(server, place, None).await?;
            return Ok(Outcome { lost: lived, is_empty: true, ..Outcome::default() });
        }
        ensure!(reason == "delivered", "purged because: {reason}");
        let folder = place.delivered.join(&place.project).join(&self.room).join(&self.id);
        let signed_at_ms = self.check_receipt(server, place, Some(&folder)).await?;
        let keys = keys(place);
        let (shown, identity) = (text(&folder)?, text(&place.identity)?);
        place.conclave(&[
            "recording",
            "verify",
            shown,
            "--key",
            text(&keys)?,
            "--identity",
            identity,
        ])?;
        let mut outcome = self.check_files(place, film, &folder)?;
        outcome.was_purge_resumed = self.killed_in_purge_ms.is_some_and(|at| at < signed_at_ms);
        Ok(outcome)
    }

    /// When it was signed, milliseconds since 1970.
    async fn check_receipt(
        &self,
        server: &Server,
        place: &Place,
        of: Option<&Path>,
    ) -> Result<u64> {
        let receipt = server.get(&format!("/v1/recordings/{}/receipt", self.id)).await?;
        let file = place.folder.join("receipt.json");
        fs::write(&file, receipt.to_string())?;
        let keys = keys(place);
        let mut words = vec!["recording", "receipt", text(&file)?, "--key", text(&keys)?];
        if let Some(folder) = of {
            words.extend(["--of", text(folder)?]);
        }
        place.conclave(&words)?;
        let signed = receipt["receipt"].as_str().context("receipt")?;
        let signed: Value = serde_json::from_str(signed)?;
        signed["signed_at_ms"].as_u64().context("signed_at_ms")
    }

    fn check_files(&self, place: &Place, film: &Film, folder: &Path) -> Result<Outcome> {
        let mut outcome = None;
        let (mut sounds, mut needles) = (0, Needles::new());
        film.samples().for_each(|sample| needles.add("media", sample));
        for entry in fs::read_dir(folder)? {
            let sealed = entry?.path();
            let name = sealed.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            ensure!(!name.ends_with(".part"), "{name} is left behind");
            let Some(plain_name) = name.strip_suffix(".age") else { continue };
            let plain = place.folder.join(format!("plain-{plain_name}"));
            age(place, &sealed, &plain)?;
            match plain_name.rsplit_once('.').map(|(_, extension)| extension) {
                Some("webm") => {
                    ensure!(probe(&plain)? == "vp8", "{plain_name} is not VP8");
                    let there = !needles.within(&fs::read(&plain)?).is_empty();
                    ensure!(there, "no needle is in {plain_name}: the search would find nothing");
                    ensure!(outcome.is_none(), "pictures in more than one file");
                    outcome = Some(self.read(film, &plain)?);
                }
                Some("ogg") => {
                    ensure!(probe(&plain)? == "opus", "{plain_name} is not Opus");
                    sounds += 1;
                }
                _ => {}
            }
            fs::remove_file(&plain)?;
        }
        ensure!(sounds == 1, "{sounds} files with sound");
        let lived = self.ended.saturating_duration_since(self.started);
        let is_short = lived < Film::KEY_INTERVAL + SLACK;
        let none = is_short.then(|| Outcome { late: lived, ..Outcome::default() });
        outcome.or(none).with_context(|| format!("no file with pictures, of {lived:?}"))
    }

    /// Which pictures are there, by when they were sent.
    fn read(&self, film: &Film, file: &Path) -> Result<Outcome> {
        let numbers = film.read(file)?;
        let mut outcome = Outcome { pictures: numbers.len() as u64, ..Outcome::default() };
        outcome.missing += numbers.iter().filter(|number| number.is_none()).count() as u64;
        let mut seen = numbers.into_iter().flatten();
        let first = seen.next().context("no picture is readable")?;
        let first = self.sent.nearest(first, self.started).context("never sent")?;
        let mut last = first;
        for number in seen {
            let step = (number as usize + Film::LENGTH - last % Film::LENGTH) % Film::LENGTH;
            ensure!(step != 0, "a picture comes twice");
            outcome.missing += step as u64 - 1;
            last += step;
        }
        let at = |index| self.sent.at(index).context("a picture that was never sent");
        outcome.late = at(first)?.saturating_duration_since(self.started);
        outcome.lost = self.ended.saturating_duration_since(at(last)?);
        Ok(outcome)
    }
}

/// Public keys of the recorder.
fn keys(place: &Place) -> PathBuf {
    place.data.join("recorder/evidence/keys.json")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// Opens a file with the stock program.
fn age(place: &Place, sealed: &Path, plain: &Path) -> Result<()> {
    let mut command = Command::new("age");
    command.arg("-d").arg("-i").arg(&place.identity).arg("-o").arg(plain).arg(sealed);
    let done = command.output().context("age is missing: run .ci/setup")?;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "age does not open {}: {told}", sealed.display());
    Ok(())
}

/// The codec of a file that ffprobe takes without a word.
fn probe(file: &Path) -> Result<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "warning", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]);
    let done = command.arg(file).output().context("ffprobe is missing: run .ci/setup")?;
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success() && told.is_empty(), "ffprobe: {told}");
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
