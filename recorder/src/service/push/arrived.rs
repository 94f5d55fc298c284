//! The look at what arrived a while ago, before the evidence is pushed: rules and people remove things
//! from storages, and once a recording is delivered there is no other copy.
//!
//! ```text
//! seen ─────▶ noted with the time: neither this attempt nor the next one looks again
//! gone ─────▶ due again
//! refused ──▶ gone, if we may look at what is there, and it is refused still: S3 says 403 of what is missing
//!             to those that may not list; and to all whose credentials have ended meanwhile
//! failed ───▶ looked at again after a pause, alone
//! ```

use std::mem;

use tokio::time::sleep;

use super::{File, PushError, Pusher, key_of};
use crate::{
    limits::{ARRIVED_LOOK_AFTER, ARRIVED_LOOK_FILES, ARRIVED_LOOK_PAUSE, ARRIVED_LOOK_TRIES},
    service::{
        now_ms,
        spool::{Push, Sending},
    },
    storage::{StoreError, TEST_NAME},
};

/// What was found of the files that were looked at.
#[derive(Default)]
struct Found<'a> {
    gone: Vec<&'a File>,
    refused: Vec<(&'a File, StoreError)>,
    failed: Vec<(&'a File, StoreError)>,
}

impl Pusher<'_> {
    /// Whether all that arrived a while ago is there still, as it arrived. What is not is due again.
    ///
    /// # Errors
    /// [`PushError`]; what was seen until then is kept.
    pub(super) async fn is_all_there(
        &self,
        files: &[File],
        push: &mut Push,
    ) -> Result<bool, PushError> {
        let now = now_ms();
        let is_due = |file: &&File| push.files.get(&file.name).is_some_and(|one| is_old(one, now));
        let mut left: Vec<&File> = files.iter().filter(is_due).collect();
        let mut found = Found::default();
        for tries_left in (0..ARRIVED_LOOK_TRIES).rev() {
            self.look_at(&left, push, &mut found).await?;
            let failed = mem::take(&mut found.failed);
            match failed.first() {
                None => break,
                Some((_, error)) if tries_left == 0 => return Err(error.clone().into()),
                Some(_) => sleep(ARRIVED_LOOK_PAUSE).await,
            }
            left = failed.into_iter().map(|(file, _)| file).collect();
        }
        let gone = self.gone(found, push).await?;
        self.forget(&gone, push).await?;
        Ok(gone.is_empty())
    }

    /// Looks at files, some at a time, and keeps what it saw.
    async fn look_at<'a>(
        &self,
        files: &[&'a File],
        push: &mut Push,
        found: &mut Found<'a>,
    ) -> Result<(), PushError> {
        for some in files.chunks(ARRIVED_LOOK_FILES) {
            if self.cancel.is_set() {
                return Err(PushError::Stopped);
            }
            let sent = some.iter().filter_map(|file| Some((*file, push.files.get(&file.name)?)));
            let (some, sent): (Vec<_>, Vec<_>) =
                sent.map(|(file, sending)| (file, (&sending.upload, file.expected()))).unzip();
            let seen = self.store.are_there(&sent).await;
            let failed_before = found.failed.len();
            for (file, seen) in some.iter().zip(seen) {
                found.note(file, seen, push)?;
            }
            self.keep(push).await?;
            // A storage that answers nothing is not asked for the rest.
            let failed = &found.failed[failed_before..];
            if let ([(_, error), ..], ARRIVED_LOOK_FILES) = (failed, failed.len()) {
                return Err(error.clone().into());
            }
        }
        Ok(())
    }

    /// What is surely not there.
    async fn gone<'a>(
        &self,
        found: Found<'a>,
        push: &mut Push,
    ) -> Result<Vec<&'a File>, PushError> {
        let Found { mut gone, refused, .. } = found;
        let Some((_, error)) = refused.first() else { return Ok(gone) };
        // Beside the files: credentials may be for that place alone.
        if !self.store.may_look(&key_of(self.entry, TEST_NAME)?).await? {
            return Err(error.clone().into());
        }
        // A firewall may have refused us for a while.
        let refused: Vec<&File> = refused.into_iter().map(|(file, _)| file).collect();
        let mut again = Found::default();
        self.look_at(&refused, push, &mut again).await?;
        if let Some((_, error)) = again.failed.into_iter().next() {
            return Err(error.into());
        }
        gone.extend(again.gone);
        gone.extend(again.refused.into_iter().map(|(file, _)| file));
        Ok(gone)
    }

    async fn forget(&self, gone: &[&File], push: &mut Push) -> Result<(), PushError> {
        if gone.is_empty() {
            return Ok(());
        }
        tracing::error!(recording = %self.entry.id, files = gone.len(), "gone from the storage");
        gone.iter().for_each(|file| drop(push.files.remove(&file.name)));
        self.keep(push).await
    }
}

impl<'a> Found<'a> {
    /// # Errors
    /// What a look at any file would end in until somebody acts.
    fn note(
        &mut self,
        file: &'a File,
        seen: Result<bool, StoreError>,
        push: &mut Push,
    ) -> Result<(), StoreError> {
        match seen {
            Ok(true) => {
                let sending = push.files.get_mut(&file.name);
                sending.into_iter().for_each(|one| one.verified_at_ms = Some(now_ms()));
            }
            Ok(false) => self.gone.push(file),
            Err(
                error @ (StoreError::Credentials(_)
                | StoreError::Refused(_)
                | StoreError::Unverifiable),
            ) => self.refused.push((file, error)),
            Err(error) if error.is_blocking() => return Err(error),
            Err(error) => self.failed.push((file, error)),
        }
        Ok(())
    }
}

/// Verified or seen so long ago that much may have happened since.
fn is_old(sending: &Sending, now_ms: u64) -> bool {
    let age = now_ms.saturating_sub(sending.verified_at_ms.unwrap_or(0));
    sending.verified.is_some() && u128::from(age) >= ARRIVED_LOOK_AFTER.as_millis()
}
