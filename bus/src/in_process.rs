//! The bus inside one process: a table of nodes and one broadcast channel.
//!
//! A command is handed to the node's inbox on the caller's thread, so a full inbox is known at
//! once. No inbox is called under the table's lock. Events are sent under it, which makes fencing
//! exact: after a `NodeUp` no event of the superseded registration can follow.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sfu_proto::{
    control::{Command, Event},
    id::NodeId,
};
use tokio::sync::broadcast;

use crate::{
    Bus, Inbox, InboxFull, Load, Membership, NodeStatus, Notice, PublishError, RegisterError,
    Registration, SendError, Subscription, Wait, limits,
};

/// [`Bus`] within one process. Clones share it.
#[derive(Clone)]
pub struct InProcessBus {
    shared: Arc<Shared>,
}

struct Shared {
    table: RwLock<Table>,
    notices: broadcast::Sender<Notice>,
}

#[derive(Default)]
struct Table {
    nodes: BTreeMap<NodeId, Entry>,
    /// Last fencing number of ids that left, oldest first.
    left: VecDeque<Registration>,
}

struct Entry {
    status: NodeStatus,
    inbox: Arc<dyn Inbox>,
}

struct Member {
    shared: Arc<Shared>,
    registration: Registration,
}

impl Default for InProcessBus {
    fn default() -> Self {
        Self::new()
    }
}

impl InProcessBus {
    /// A bus without nodes.
    pub fn new() -> Self {
        let (notices, _) = broadcast::channel(limits::NOTICES_MAX);
        Self { shared: Arc::new(Shared { table: RwLock::default(), notices }) }
    }
}

impl Bus for InProcessBus {
    fn send(&self, to: Registration, command: Command) -> Result<(), SendError> {
        let inbox = self.shared.inbox(to).ok_or(SendError::Gone)?;
        inbox.deliver(command).map_err(|InboxFull| SendError::Busy)
    }

    fn nodes(&self) -> Vec<NodeStatus> {
        self.shared.read().nodes.values().map(|entry| entry.status).collect()
    }

    fn subscribe(&self) -> Subscription {
        Subscription::new(self.shared.notices.subscribe())
    }

    fn register(
        &self,
        node: NodeId,
        inbox: Arc<dyn Inbox>,
    ) -> Wait<'_, Result<Arc<dyn Membership>, RegisterError>> {
        Box::pin(async move {
            let registration = self.shared.register(node, inbox)?;
            let shared = Arc::clone(&self.shared);
            Ok(Arc::new(Member { shared, registration }) as Arc<dyn Membership>)
        })
    }
}

impl Shared {
    /// The table stays consistent at every point where a panic could unwind, so poison is ignored.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self, to: Registration) -> Option<Arc<dyn Inbox>> {
        self.read().current(to).map(|entry| Arc::clone(&entry.inbox))
    }

    /// No receiver is no error: events without a listener are dropped.
    fn notify(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    fn register(&self, node: NodeId, inbox: Arc<dyn Inbox>) -> Result<Registration, RegisterError> {
        let mut table = self.write();
        if table.nodes.len() >= limits::NODES_MAX && !table.nodes.contains_key(&node) {
            return Err(RegisterError::TooMany);
        }
        let registration = Registration { node, fence: table.fence(node) + 1 };
        let status = NodeStatus { registration, load: Load::default() };
        let superseded = table.nodes.insert(node, Entry { status, inbox });
        if let Some(old) = &superseded {
            self.notify(Notice::NodeDown(old.status.registration));
        }
        self.notify(Notice::NodeUp(status));
        drop(table);
        if let Some(old) = superseded {
            old.inbox.superseded();
        }
        Ok(registration)
    }

    fn leave(&self, registration: Registration) {
        let mut table = self.write();
        if table.current(registration).is_none() {
            return;
        }
        let gone = table.nodes.remove(&registration.node);
        if table.left.len() == limits::FENCES_MAX {
            table.left.pop_front();
        }
        table.left.push_back(registration);
        self.notify(Notice::NodeDown(registration));
        drop(table);
        drop(gone); // The inbox may hold much; not under the lock.
    }
}

impl Table {
    fn current(&self, registration: Registration) -> Option<&Entry> {
        self.nodes.get(&registration.node).filter(|e| e.status.registration == registration)
    }

    /// The last fencing number given to `node`, 0 if none is remembered.
    fn fence(&self, node: NodeId) -> u64 {
        let left = self.left.iter().filter(|r| r.node == node).map(|r| r.fence);
        let here = self.nodes.get(&node).map(|e| e.status.registration.fence);
        left.chain(here).max().unwrap_or(0)
    }
}

impl Membership for Member {
    fn registration(&self) -> Registration {
        self.registration
    }

    fn publish(&self, event: Event) -> Result<(), PublishError> {
        let table = self.shared.read();
        table.current(self.registration).ok_or(PublishError::Superseded)?;
        self.shared.notify(Notice::Event { from: self.registration, event });
        Ok(())
    }

    fn report(&self, load: Load) {
        let mut table = self.shared.write();
        if let Some(entry) = table.nodes.get_mut(&self.registration.node)
            && entry.status.registration == self.registration
        {
            entry.status.load = load;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.leave(self.registration);
    }
}
