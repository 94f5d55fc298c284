//! What lies on this disk of a recording, besides its journal: sealed files, and how far they are pushed.
//!
//! ```text
//! <spool>/<recording>/keys.json, *.journal    (journal::Folder)
//!                     export.json             what is to be pushed, in order; written when all is sealed
//!                     push.json               how far that is
//!                     live.json               journal files that were sealed while the recording went on
//!                     out/<name>              sealed files and evidence
//!                     out/.again/<name>       files that are sealed again and will take their places
//! ```
//! Small files are replaced by renaming, so a crash leaves the old one or the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sfu_proto::id::RecordingId;

use crate::{evidence, journal::Folder, seal::Fingerprint, storage};

const OUT: &str = "out";
/// In `out`, for the moment between making and unlinking it.
const WORK: &str = ".work";
/// In `out`, for what is sealed again.
const AGAIN: &str = ".again";
const EXPORT: &str = "export.json";
const PUSH: &str = "push.json";
const LIVE: &str = "live.json";

/// What is to be pushed.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Export {
    /// The sealed files.
    pub(super) artifacts: Vec<evidence::Artifact>,
    /// Names of the evidence, in the order in which it is pushed after them.
    pub(super) evidence: Vec<String>,
    /// SHA-256 of the manifest, hexadecimal.
    pub(super) manifest_sha256: String,
    /// From the first to the last packet.
    pub(super) seconds: u64,
    /// What was wanted and could not be made.
    pub(super) missing: Vec<evidence::ArtifactKind>,
    /// Files that were sealed again, and their evidence, lie aside still: [`Spool::settle`].
    #[serde(default)]
    pub(super) is_aside: bool,
}

/// A file on its way.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Sending {
    pub(super) upload: storage::Upload,
    pub(super) verified: Option<storage::Verified>,
    /// When, milliseconds since 1970.
    #[serde(default)]
    pub(super) verified_at_ms: Option<u64>,
    /// How often it began anew.
    pub(super) restarts: u32,
}

/// How far a push is.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Push {
    /// To which target; another one means that everything begins anew.
    pub(super) target: String,
    /// By name of the file.
    pub(super) files: BTreeMap<String, Sending>,
}

/// What was sealed of the journal while the recording went on: the key first, then its files. A file that is
/// verified in the storage may be gone from `out`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Live {
    pub(super) artifacts: Vec<evidence::Artifact>,
}

impl Live {
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
    }
}

impl Push {
    /// Whether a file is at the target.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|sending| sending.verified.is_some())
    }
}

/// The part of a recording's folder that is about files.
#[derive(Clone)]
pub(super) struct Spool {
    path: PathBuf,
    out: PathBuf,
}

impl Spool {
    pub(super) fn of(folder: &Folder) -> Self {
        Self { path: folder.path().to_owned(), out: folder.path().join(OUT) }
    }

    /// An empty place beside the files, for others of the same names: until these are whole nothing may
    /// take them for what export.json and live.json name.
    pub(super) fn aside(&self) -> io::Result<Self> {
        self.remove_aside()?;
        let (path, out) = (self.path.clone(), self.out.join(AGAIN));
        DirBuilder::new().mode(0o700).create(&out)?;
        Ok(Self { path, out })
    }

    /// Removes what lies aside.
    pub(super) fn remove_aside(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.out.join(AGAIN)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is to be pushed, each file in its place: what lies aside and is whole takes the place of the
    /// files before it. A crash in here: it is done once more. None: files are not made yet.
    pub(super) fn settle(&self) -> io::Result<Option<Export>> {
        let Some(mut export) = self.export()? else { return Ok(None) };
        if !export.is_aside {
            return Ok(Some(export));
        }
        let (mut live, mut push) = (self.live()?, self.push()?.unwrap_or_default());
        push.files.retain(|name, _| !export.evidence.contains(name));
        self.write_push(&push)?;
        for sealed in &mut live.artifacts {
            if let Some(now) = export.artifacts.iter().find(|now| now.name == sealed.name) {
                sealed.clone_from(now);
            }
        }
        self.take_in()?;
        self.write_live(&live)?;
        export.is_aside = false;
        self.write(EXPORT, &export)?;
        Ok(Some(export))
    }

    fn take_in(&self) -> io::Result<()> {
        let from = match fs::read_dir(self.out.join(AGAIN)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in from {
            let entry = entry?;
            fs::rename(entry.path(), self.out.join(entry.file_name()))?;
        }
        self.remove_aside()
    }

    /// A folder for sealed files: of what an interrupted attempt left only those stay that [`Self::live`]
    /// has, and how far these are pushed.
    pub(super) fn clear(&self) -> io::Result<()> {
        remove(&self.path.join(EXPORT))?;
        let live = self.live()?;
        let names = live.names();
        let mut push = self.push()?.unwrap_or_default();
        let before = push.files.len();
        push.files.retain(|name, _| names.contains(name.as_str()));
        match (push.files.is_empty(), before == push.files.len()) {
            (true, _) => remove(&self.path.join(PUSH))?,
            (false, true) => {}
            (false, false) => self.write_push(&push)?,
        }
        match DirBuilder::new().mode(0o700).create(&self.out) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.remove_but(|name| names.contains(name))?;
        sync(&self.path)
    }

    /// Removes what lies in `out`.
    fn remove_but(&self, stays: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.out)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false if entry.file_name().to_str().is_some_and(&stays) => {}
                false => remove(&entry.path())?,
            }
        }
        Ok(())
    }

    /// Forgets of what was sealed meanwhile all that is not right any more: for others than `to`, or neither
    /// here nor at `target`. What is sealed again lies aside until live.json names it ([`Self::settle`]), so
    /// what is here has the bytes that it says.
    pub(super) fn check_live(&self, to: &[Fingerprint], target: Option<&str>) -> io::Result<()> {
        let push = self.push()?.unwrap_or_default();
        let is_there = |name: &str| target.is_none_or(|at| at == push.target) && push.has(name);
        let is_here = |name: &str, bytes| {
            fs::metadata(self.file(name)).is_ok_and(|file| file.is_file() && file.len() == bytes)
        };
        let mut live = self.live()?;
        let before = live.artifacts.len();
        live.artifacts.retain(|artifact| {
            let name = artifact.name.as_str();
            artifact.recipients == to && (is_there(name) || is_here(name, artifact.bytes))
        });
        match (before == live.artifacts.len(), live.artifacts.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => self.forget_live(),
            (false, false) => self.write(LIVE, &live),
        }
    }

    pub(super) fn forget_live(&self) -> io::Result<()> {
        remove(&self.path.join(LIVE))?;
        sync(&self.path)
    }

    /// Says that sealed files are safe on disk.
    pub(super) fn write_live(&self, live: &Live) -> io::Result<()> {
        sync(&self.out)?;
        self.write(LIVE, live)
    }

    /// What was sealed while the recording went on.
    pub(super) fn live(&self) -> io::Result<Live> {
        Ok(self.read(LIVE)?.unwrap_or_default())
    }

    /// Removes a sealed file that arrived: what it was made of is here until it is purged.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        remove(&self.file(name))
    }

    /// Where a file lies. Names are checked where they are made: no dots in front, no way out.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// Makes folders below `out`, and never that one: what was destroyed does not come back.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let path = self.file(name);
        for (end, _) in name.match_indices('/') {
            match DirBuilder::new().mode(0o700).create(self.file(&name[..end])) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// A file that has no name any more: it ends with its descriptor, whatever ends that.
    pub(super) fn nameless(&self) -> io::Result<File> {
        let path = self.file(WORK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// Says that all files are made and safe on disk.
    pub(super) fn write_export(&self, export: &Export) -> io::Result<()> {
        for entry in fs::read_dir(&self.out)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                sync(&entry.path())?;
            }
        }
        sync(&self.out)?;
        self.write(EXPORT, export)
    }

    /// None: files are not made yet.
    pub(super) fn export(&self) -> io::Result<Option<Export>> {
        self.read(EXPORT)
    }

    /// Says that files must be made anew.
    pub(super) fn forget_export(&self) -> io::Result<()> {
        remove(&self.path.join(EXPORT))?;
        sync(&self.path)
    }

    pub(super) fn write_push(&self, push: &Push) -> io::Result<()> {
        self.write(PUSH, push)
    }

    pub(super) fn push(&self) -> io::Result<Option<Push>> {
        self.read(PUSH)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let new = self.path.join(format!("{name}.new"));
        let text = serde_json::to_vec(value)?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, self.path.join(name))?;
        sync(&self.path)
    }

    /// None also for what is not what we wrote: it is made anew.
    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.path.join(name)) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether all files of a recording are made.
pub(super) async fn has_export(spool: &Path, recording: RecordingId) -> bool {
    let path = spool.join(recording.to_string()).join(EXPORT);
    // Whoever reads it finds out why it cannot be told.
    tokio::fs::try_exists(path).await.unwrap_or(true)
}

/// Tells one file system's folder from another one in its place: a disk that is not mounted. None:
/// the system does not tell.
pub(super) fn identity(folder: &Path) -> Option<String> {
    let found = fs::metadata(folder).ok()?;
    let made = found.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}-{}", found.ino(), made.as_nanos()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
