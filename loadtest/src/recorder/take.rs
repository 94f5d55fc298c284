//! A recording that was made under load, and whether what the partner got of it is whole.

use std::{
    collections::BTreeSet,
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
    publisher::{Publisher, Sent},
    server::{Place, Server},
};

/// Until a key frame that was sent is also received.
const SLACK: Duration = Duration::from_millis(300);
/// What a crash may cost.
pub(super) const LOSS: Duration = Duration::from_secs(2);
/// What is found where pictures or sounds lie in the clear.
pub(super) const MEDIA: &str = "media";
/// What is found where a data key is.
pub(super) const DATA_KEY: &str = "a data key";
/// Files of a recording at the partner's that `SHA256SUMS` does not name.
const NOT_SUMMED: [&str; 3] = ["SHA256SUMS", "manifest.json", "manifest.json.sig"];

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

/// What arrived at the partner's.
struct Delivery {
    /// None: nothing was safe before the kill.
    folder: Option<PathBuf>,
    /// Of the receipt, milliseconds since 1970.
    signed_at_ms: u64,
}

impl Take {
    /// A room with a publisher, and its recording.
    ///
    /// # Errors
    /// The publisher does not connect, or nothing is recorded.
    pub(super) async fn begin(server: &Server, film: &Arc<Film>) -> Result<(Publisher, Self)> {
        let room = server.room().await?;
        let publisher = Publisher::start(&server.target, &room, film, 1).await?;
        let id = server.record(&room).await?;
        let now = Instant::now();
        let take = Self {
            id,
            room,
            started: now,
            ended: now,
            was_killed: false,
            killed_in_purge_ms: None,
            sent: Arc::clone(&publisher.sent),
            wraps: None,
        };
        Ok((publisher, take))
    }

    /// Asks the server to stop it.
    pub(super) async fn end(&mut self, server: &Server) -> Result<()> {
        self.ended = Instant::now();
        server.end_recording(&self.id).await
    }

    /// Its folder at the partner's.
    pub(super) fn delivered(&self, place: &Place) -> PathBuf {
        place.delivered.join(&place.project).join(&self.room).join(&self.id)
    }

    /// Reads the wraps of the data key, while the recording is there.
    pub(super) fn note_wraps(&mut self, place: &Place) {
        let text = fs::read(place.spool(&self.id).join("keys.json"));
        let read = text.ok().and_then(|text| serde_json::from_slice(&text).ok());
        self.wraps = read.or(self.wraps.take());
    }

    /// Its data key, if its wraps were seen.
    ///
    /// # Errors
    /// `age` does not open the partner's wrap.
    pub(super) fn data_key(&self, place: &Place) -> Result<Option<Vec<u8>>> {
        let Some(partner) = self.wraps.as_ref().and_then(|wraps| wraps["partner"].as_str()) else {
            return Ok(None);
        };
        let (sealed, key) = (place.folder.join("wrap.age"), place.folder.join("wrap.key"));
        fs::write(&sealed, partner)?;
        age(place, &sealed, &key)?;
        let bytes = fs::read(&key)?;
        fs::remove_file(&key)?;
        ensure!(bytes.len() == 32, "a data key of {} bytes", bytes.len());
        Ok(Some(bytes))
    }

    /// Needles of its data key, in the forms in which one might be written; whether it is known.
    ///
    /// # Errors
    /// `age` does not open the partner's wrap.
    pub(super) fn add_key(&self, place: &Place, needles: &mut Needles) -> Result<bool> {
        let Some(bytes) = self.data_key(place)? else { return Ok(false) };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        needles.add(DATA_KEY, &bytes);
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
        let delivery = self.check_delivery(server, place).await?;
        let Some(folder) = delivery.folder else {
            let lost = self.lived();
            return Ok(Outcome { lost, is_empty: true, ..Outcome::default() });
        };
        let mut outcome = self.check_files(place, film, &folder)?;
        let signed_at_ms = delivery.signed_at_ms;
        outcome.was_purge_resumed = self.killed_in_purge_ms.is_some_and(|at| at < signed_at_ms);
        Ok(outcome)
    }

    /// The same, but of the media only that the programs take them: for those that came all at once after a
    /// while, and have no times to be judged by. How many files with media there are.
    ///
    /// # Errors
    /// What is not as promised.
    pub(super) async fn check_playable(&self, server: &Server, place: &Place) -> Result<usize> {
        let folder = self.check_delivery(server, place).await?.folder.context("it is empty")?;
        let mut files = 0;
        open_each(place, &folder, |extension, plain| {
            if matches!(extension, "webm" | "ogg") {
                probe(plain)?;
                files += 1;
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// What the API says, what was signed, and which files there are.
    async fn check_delivery(&self, server: &Server, place: &Place) -> Result<Delivery> {
        let told = server.get(&format!("/v1/recordings/{}", self.id)).await?;
        ensure!(told["state"] == "purged", "is {}", told["state"]);
        let reason = told["purge_reason"].as_str().unwrap_or_default();
        if reason == "empty" {
            let lived = self.lived();
            ensure!(self.was_killed && lived < LOSS, "purged as empty after {lived:?}");
            let signed_at_ms = self.check_receipt(server, place, None).await?;
            return Ok(Delivery { folder: None, signed_at_ms });
        }
        ensure!(reason == "delivered", "purged because: {reason}");
        let folder = self.delivered(place);
        let signed_at_ms = self.check_receipt(server, place, Some(&folder)).await?;
        let keys = keys(place);
        let (shown, keys, identity) = (text(&folder)?, text(&keys)?, text(&place.identity)?);
        let words = ["recording", "verify", shown, "--key", keys, "--identity", identity];
        place.conclave(&words)?;
        check_names(&folder)?;
        Ok(Delivery { folder: Some(folder), signed_at_ms })
    }

    /// How long it was recorded.
    fn lived(&self) -> Duration {
        self.ended.saturating_duration_since(self.started)
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
        film.samples().for_each(|sample| needles.add(MEDIA, sample));
        open_each(place, folder, |extension, plain| {
            let shown = plain.display();
            match extension {
                "webm" => {
                    ensure!(probe(plain)? == "vp8", "{shown} is not VP8");
                    let there = !needles.within(&fs::read(plain)?).is_empty();
                    ensure!(there, "no needle is in {shown}: the search would find nothing");
                    ensure!(outcome.is_none(), "pictures in more than one file");
                    outcome = Some(self.read(film, plain)?);
                }
                "ogg" => {
                    ensure!(probe(plain)? == "opus", "{shown} is not Opus");
                    sounds += 1;
                }
                _ => {}
            }
            Ok(())
        })?;
        ensure!(sounds == 1, "{sounds} files with sound");
        let lived = self.lived();
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

/// The folder has the files that its evidence names and no others: nothing half done is left behind.
fn check_names(folder: &Path) -> Result<()> {
    let sums = fs::read_to_string(folder.join(NOT_SUMMED[0]))?;
    let named = sums.lines().filter_map(|line| line.split_once("  ")).map(|(_, name)| name);
    let wanted: BTreeSet<String> = named.chain(NOT_SUMMED).map(str::to_owned).collect();
    let entries = fs::read_dir(folder)?;
    let there = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let there = there.collect::<Result<BTreeSet<_>>>()?;
    ensure!(there == wanted, "the partner has {there:?} instead of {wanted:?}");
    Ok(())
}

/// Public keys of the recorder.
fn keys(place: &Place) -> PathBuf {
    place.data.join("recorder/evidence/keys.json")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// Opens each artifact of a folder for a moment: `look` gets the extension of its name, and the file.
fn open_each(
    place: &Place,
    folder: &Path,
    mut look: impl FnMut(&str, &Path) -> Result<()>,
) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let sealed = entry?.path();
        let name = sealed.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(".age") else { continue };
        let plain = place.folder.join(format!("plain-{name}"));
        age(place, &sealed, &plain)?;
        look(name.rsplit_once('.').map_or("", |(_, extension)| extension), &plain)?;
        fs::remove_file(&plain)?;
    }
    Ok(())
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
