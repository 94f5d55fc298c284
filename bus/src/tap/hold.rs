//! What keeps the sender of a batch from forgetting it before it is safe.

use std::{fmt, sync::Arc};

/// Whoever keeps batches until they are let go of.
pub trait Keeper: Send + Sync {
    /// The batch of this number is safe on disk, or given up for good. Called once, from any thread.
    fn let_go(&self, number: u64);
}

/// Held as long as a batch is nowhere else than in this process and still wanted. Dropped, its sender
/// forgets it: whoever takes a batch drops this after the disk has it, or to give the batch up.
#[derive(Default)]
pub struct Hold(Option<(Arc<dyn Keeper>, u64)>);

impl Hold {
    /// `number`: by which the keeper knows the batch.
    #[must_use]
    pub fn new(keeper: Arc<dyn Keeper>, number: u64) -> Self {
        Self(Some((keeper, number)))
    }

    /// The batch was not handed over: nobody is told.
    pub(crate) fn cancel(mut self) {
        self.0 = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((keeper, number)) = self.0.take() {
            keeper.let_go(number);
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&self.0.as_ref().map(|(_, number)| number)).finish()
    }
}
