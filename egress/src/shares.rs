//! Places that projects share, of which each can have only some: who fills its own does not fill
//! those of others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// All places.
pub struct Shares {
    all: Arc<Semaphore>,
    /// Places of one project.
    each: usize,
    /// Of projects that have or want a place now.
    of: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A place, until it is dropped.
pub struct Share {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Shares {
    /// `all` places, of which one project can have `each`.
    pub fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, of: Mutex::default() }
    }

    /// A place for `project`, if one gets free within `wait`.
    pub async fn take(&self, project: &str, wait: Duration) -> Option<Share> {
        let own = self.of(project);
        let taken = async {
            // Who waits for its own share holds none of the others.
            let own = own.acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Share { _own: own, _all: all })
        };
        timeout(wait, taken).await.ok().flatten()
    }

    fn of(&self, project: &str) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|_, own| Arc::strong_count(own) > 1);
        let own = of.entry(project.to_owned());
        Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn one_project_leaves_places_to_others_and_nothing_is_kept_of_it() {
        let shares = Shares::new(3, 2);
        let now = Duration::ZERO;
        let first = shares.take("a", now).await.unwrap();
        let second = shares.take("a", now).await.unwrap();
        assert!(shares.take("a", Duration::from_millis(50)).await.is_none());
        let third = shares.take("b", now).await.unwrap();
        assert!(shares.take("c", now).await.is_none(), "all are taken");
        drop(first);
        let again = shares.take("c", now).await.unwrap();
        drop((second, third, again));
        assert!(shares.take("d", now).await.is_some());
        assert_eq!(shares.of.lock().unwrap().len(), 1);
    }
}
