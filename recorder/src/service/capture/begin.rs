//! How a journal begins: a task asks the ledger, makes the folder with the wrapped keys, and claims the
//! recording for this recorder. Batches wait meanwhile; the threads do not. A recording that a process
//! before this one wrote goes on in the next file, when its media come from a process that lives.

use std::{
    io,
    path::Path,
    sync::{Arc, mpsc},
    time::SystemTime,
};

use sfu_proto::id::RecordingId;
use tokio::time::{sleep, timeout};

use super::{Common, Message, load::Place, unsynced::Unsynced};
use crate::{
    journal::{Folder, FolderError, Moment, WriteError, Writer, is_full},
    key::{DataKey, EpochError, WrapError, WrappedKeys},
    limits::{LEDGER_AGAIN, LEDGER_WAIT},
    seal::{RecipientError, Recipients},
    service::finish::is_gone,
    service::ledger::{Entry, LedgerError, State, Stop},
};

/// A recording that is written.
pub(super) struct Live {
    pub(super) writer: Writer,
    pub(super) unsynced: Unsynced,
    pub(super) key: Arc<DataKey>,
    pub(super) folder: Folder,
    pub(super) place: Place,
    /// No process before this one wrote to it.
    pub(super) is_new: bool,
}

impl Live {
    fn new(
        writer: Writer,
        key: Arc<DataKey>,
        (folder, place): (Folder, Place),
        is_new: bool,
    ) -> Self {
        Self { writer, unsynced: Unsynced::default(), key, folder, place, is_new }
    }
}

/// Why a recording is not written.
pub(super) enum Refusal {
    /// The ledger does not answer: ask again.
    Later,
    /// The disk does not give or take its journal now: ask again, but not for ever.
    Stuck(JournalError),
    /// It is over, or there is none.
    Over,
    /// It must end.
    Stop(Stop),
}

/// Why a journal cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error(transparent)]
    Recipients(#[from] RecipientError),
    #[error(transparent)]
    Wrap(#[from] WrapError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It was begun, and its folder is not there: the disk may be mounted later.
    #[error("its folder is missing")]
    Missing,
    /// Nobody here has its key.
    #[error("it is sealed, and the process that began it is gone")]
    Sealed,
    #[error(transparent)]
    Key(#[from] EpochError),
}

impl JournalError {
    /// Why the recording ends.
    pub(super) fn stop(&self) -> Stop {
        match self {
            _ if self.disk().is_some_and(is_full) => Stop::DiskFull,
            Self::Write(WriteError::DiskFull) => Stop::DiskFull,
            Self::Missing
            | Self::Sealed
            | Self::Key(EpochError::Destroyed(_) | EpochError::Wrap)
            | Self::Folder(FolderError::Keys) => Stop::Lost,
            _ => Stop::Failed,
        }
    }

    /// Whether time may mend it: a disk that is mounted late, too many open files, a key's file mode.
    fn is_passing(&self) -> bool {
        match self {
            Self::Missing
            | Self::Key(EpochError::Open(_) | EpochError::Length(_))
            | Self::Wrap(WrapError::Epoch(EpochError::Open(_) | EpochError::Length(_))) => true,
            other => other.disk().is_some_and(|error| !is_full(error)),
        }
    }

    /// What the disk said.
    fn disk(&self) -> Option<&io::Error> {
        match self {
            Self::Folder(FolderError::File(error))
            | Self::Write(WriteError::Disk(error))
            | Self::Key(EpochError::File(error))
            | Self::Wrap(WrapError::Epoch(EpochError::File(error))) => Some(error),
            _ => None,
        }
    }
}

/// Begins the journal of a recording, tells the thread, and claims the recording until that is stored.
pub(super) async fn begin(
    common: Arc<Common>,
    recording: RecordingId,
    thread: mpsc::Sender<Message>,
) {
    let opening = tokio::spawn(open(Arc::clone(&common), recording));
    let begun = opening.await.unwrap_or_else(|error| {
        if error.is_panic() {
            tracing::error!(%recording, "a journal cannot begin by a defect");
        }
        Err(Refusal::Later)
    });
    let is_ours = begun.is_ok();
    let told = thread.send(Message::Begun(recording, Box::new(begun)));
    if told.is_ok() && is_ours && !claim(&common, recording).await {
        let _ = thread.send(Message::Foreign(recording)); // It may have ended.
    }
}

async fn open(common: Arc<Common>, recording: RecordingId) -> Result<Live, Refusal> {
    let found = timeout(LEDGER_WAIT, common.ledger.entry(recording)).await;
    let Ok(Ok(entry)) = found else { return Err(Refusal::Later) };
    // It may have been stopped while its first batches waited for the ledger.
    let is_due = |entry: &Entry| matches!(entry.state, State::Live | State::Recorded);
    let entry = entry.filter(is_due).ok_or(Refusal::Over)?;
    if common.load.is_disk_low() {
        return Err(Refusal::Stop(Stop::DiskFull));
    }
    let place = common.load.place(recording).ok_or(Refusal::Stop(Stop::NoCapacity))?;
    let is_over = entry.state == State::Recorded;
    let shared = Arc::clone(&common);
    let made = tokio::task::spawn_blocking(move || journal(&shared, &entry, place)).await;
    match made {
        Ok(Ok(live)) => Ok(live),
        // Whoever makes its files says that it is missing, and waits for it as long as it is kept.
        Ok(Err(JournalError::Missing)) if is_over => Err(Refusal::Over),
        Ok(Err(error)) if error.is_passing() => Err(Refusal::Stuck(error)),
        Ok(Err(error)) => {
            tracing::error!(%recording, %error, "a journal cannot begin");
            Err(Refusal::Stop(error.stop()))
        }
        // The process ends, or a defect.
        Err(_) => Err(Refusal::Later),
    }
}

/// The folder with the keys and the first, empty file; nothing of it stays when that fails.
pub(super) fn journal(common: &Common, entry: &Entry, place: Place) -> Result<Live, JournalError> {
    match Folder::open(&common.spool.join(entry.id.to_string())) {
        // A crash left it before anything was in it.
        Ok(folder) if !entry.has_journal && is_blank(&folder)? => folder.destroy()?,
        Ok(folder) => return go_on(common, entry, folder, place),
        Err(error) if !is_gone(&error) => return Err(error.into()),
        Err(_) if entry.has_journal => return Err(JournalError::Missing),
        Err(_) => {}
    }
    let recipients = Recipients::parse(&entry.recipients)?;
    let key = Arc::new(DataKey::generate());
    let epochs = (!entry.sealed).then_some(&*common.epochs);
    let now = SystemTime::now();
    let mut keys = WrappedKeys::wrap(entry.id, &key, recipients.as_slice(), epochs, now)?;
    // Keys that nothing can be sealed to keep nobody from recording; whoever seals to them says so.
    if !entry.outputs.masks.is_empty()
        && let Ok(Some(to)) = entry.raw_recipients()
    {
        keys = keys.with_journal(&key, to.as_slice())?;
    }
    let folder = Folder::create(&common.spool, entry.id)?;
    let first = || {
        folder.write_keys(&keys)?;
        Ok(writer(common, entry, &folder, &key)?)
    };
    match first() {
        Ok(writer) => Ok(Live::new(writer, key, (folder, place), true)),
        Err(error) => {
            destroy(folder);
            Err(error)
        }
    }
}

fn writer(
    common: &Common,
    entry: &Entry,
    folder: &Folder,
    key: &Arc<DataKey>,
) -> Result<Writer, WriteError> {
    let capture = Arc::clone(&common.capture);
    let writer = Writer::create(folder, Arc::clone(key), capture, Moment::now())?;
    Ok(match entry.outputs.journal {
        true => writer.rotating(common.rotation),
        false => writer,
    })
}

/// Whether nothing is in the folder's journal, for sure.
fn is_blank(folder: &Folder) -> Result<bool, FolderError> {
    Ok(match &folder.files()?[..] {
        [] => true,
        [(1, first)] => first.metadata()?.len() < Folder::OPENING_BYTES,
        _ => false,
    })
}

/// The next file of a journal that a process before this one wrote.
fn go_on(
    common: &Common,
    entry: &Entry,
    folder: Folder,
    place: Place,
) -> Result<Live, JournalError> {
    let wrap = folder.keys()?.operator.ok_or(JournalError::Sealed)?;
    let key = Arc::new(common.epochs.unwrap(entry.id, &wrap)?);
    let writer = writer(common, entry, &folder, &key)?;
    tracing::info!(recording = %entry.id, "a recording goes on in its next journal file");
    Ok(Live::new(writer, key, (folder, place), false))
}

/// Says that this recorder writes the journal, until it is stored. False: another one does.
async fn claim(common: &Common, recording: RecordingId) -> bool {
    loop {
        match timeout(LEDGER_WAIT, common.ledger.begun(recording)).await {
            Ok(Ok(())) => return true,
            Ok(Err(LedgerError::Changed)) => return false,
            Ok(Err(LedgerError::Held | LedgerError::Unavailable)) | Err(_) => {
                sleep(LEDGER_AGAIN).await;
            }
        }
    }
}

/// Claims what a process before this one wrote and was killed before it could claim it. Until then
/// another recorder at the same store takes a recording without a claim for one that nobody wrote.
pub(super) async fn adopt(common: Arc<Common>) {
    let spool = common.spool.clone();
    let Ok(begun) = tokio::task::spawn_blocking(move || begun_in(&spool)).await else { return };
    for recording in begun {
        if let Some(Entry { has_journal: false, .. }) = found(&common, recording).await {
            claim(&common, recording).await;
        }
    }
}

/// Recordings whose journals have begun; also those of which the disk does not say so now.
fn begun_in(spool: &Path) -> Vec<RecordingId> {
    let paths = std::fs::read_dir(spool).into_iter().flatten().filter_map(Result::ok);
    let folders = paths.filter_map(|entry| Folder::open(&entry.path()).ok());
    let begun = folders.filter(|folder| !is_blank(folder).unwrap_or(false));
    begun.map(|folder| folder.recording()).collect()
}

/// The row, unless there is none or it is purged.
async fn found(common: &Common, recording: RecordingId) -> Option<Entry> {
    loop {
        match timeout(LEDGER_WAIT, common.ledger.entry(recording)).await {
            Ok(Ok(entry)) => return entry.filter(|entry| entry.state != State::Purged),
            Ok(Err(_)) | Err(_) => sleep(LEDGER_AGAIN).await,
        }
    }
}

/// Removes a folder that nobody needs.
pub(super) fn destroy(folder: Folder) {
    let recording = folder.recording();
    if let Err(error) = folder.destroy() {
        tracing::error!(%recording, %error, "a folder that nobody needs cannot be removed");
    }
}
