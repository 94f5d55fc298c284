//! Stops work of a blocking thread: the thread asks, whoever waits for it says.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    finalize::Source,
    recorded::{Recorded, RecordedError},
};

/// Whether to stop.
#[derive(Clone, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says so when it is dropped: a task that is aborted takes its thread with it.
    pub(super) fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }
}

pub(super) struct OnDrop(Cancel);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// The records of a journal, until somebody says stop.
pub(super) struct Stoppable<'a> {
    pub(super) recorded: Recorded<'a>,
    pub(super) cancel: &'a Cancel,
}

/// Why there are no more records.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoppableError {
    #[error("stopped")]
    Stopped,
    #[error(transparent)]
    Recorded(#[from] RecordedError),
}

impl Source for Stoppable<'_> {
    type Error = StoppableError;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, StoppableError>> + '_, StoppableError>
    {
        let mut batches = self.recorded.batches()?;
        Ok(std::iter::from_fn(move || match self.cancel.is_set() {
            true => Some(Err(StoppableError::Stopped)),
            false => Some(batches.next()?.map_err(StoppableError::from)),
        }))
    }

    fn bytes(&self) -> Option<u64> {
        self.recorded.bytes()
    }
}

/// A file, until somebody says stop.
pub(super) struct StoppableRead<'a, R> {
    pub(super) input: R,
    pub(super) cancel: &'a Cancel,
    /// What cannot be read ends the file; else it is an error.
    pub(super) past_unreadable: bool,
}

impl<R: Read> Read for StoppableRead<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_set() {
            return Err(io::Error::other("stopped"));
        }
        match self.input.read(out) {
            Err(error) if self.past_unreadable && error.kind() != io::ErrorKind::Interrupted => {
                Ok(0)
            }
            other => other,
        }
    }
}
