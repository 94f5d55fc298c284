//! A worker's bounded mailbox: commands from the dispatcher, and the word to stop.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use mio::Waker;
use sfu_proto::control::Command;

use crate::limits;

/// The dispatcher's end. Clones share it.
#[derive(Clone)]
pub(crate) struct Mailbox {
    commands: SyncSender<Command>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

/// The worker's end.
pub(crate) struct Letters {
    commands: Receiver<Command>,
    stop: Arc<AtomicBool>,
}

/// The command was not taken.
pub(crate) struct MailboxFull;

/// A mailbox that wakes its worker through `waker`.
pub(crate) fn mailbox(waker: Waker) -> (Mailbox, Letters) {
    let (sender, receiver) = sync_channel(limits::MAILBOX_COMMANDS_MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let mailbox = Mailbox { commands: sender, stop: Arc::clone(&stop), waker: Arc::new(waker) };
    (mailbox, Letters { commands: receiver, stop })
}

impl Mailbox {
    /// Puts a command in, or refuses it when the mailbox is full or its worker is gone.
    pub(crate) fn put(&self, command: Command) -> Result<(), MailboxFull> {
        self.commands.try_send(command).map_err(|_| MailboxFull)?;
        self.wake();
        Ok(())
    }

    /// Tells the worker to end its sessions and itself.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // An eventfd write fails only when its counter is full: then the worker is awake anyway.
        if let Err(error) = self.waker.wake()
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::error!(%error, "cannot wake a worker");
        }
    }
}

impl Letters {
    /// The next command, if there is one.
    pub(crate) fn next(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    /// Whether the worker was told to stop.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
