//! Places for SDP bodies being read: bounds the memory that slow senders hold, in all and for each
//! token.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sdk_spec::problem::Code;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Failure, limit};
use crate::{limits::SDP_READING_MAX, token::TokenId};

/// How long who sends a second body with one token is told to wait.
const AGAIN: Duration = Duration::from_secs(1);

/// Bodies being read. The tokens are no more than the places.
pub(crate) struct Reading {
    places: Semaphore,
    tokens: Mutex<HashSet<TokenId>>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { places: Semaphore::new(SDP_READING_MAX), tokens: Mutex::default() }
    }
}

/// The place of one body. Dropping it gives it back.
pub(super) struct Place<'a> {
    reading: &'a Reading,
    token: TokenId,
    _permit: SemaphorePermit<'a>,
}

impl Reading {
    /// A place for a body that came with a verified token.
    ///
    /// # Errors
    /// [`Code::RateLimited`] while another body of this token is read, [`Code::Unavailable`] while
    /// all places are taken.
    pub(super) fn take(&self, token: TokenId) -> Result<Place<'_>, Failure> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.contains(&token) {
            return Err(limit::refusal(AGAIN));
        }
        let permit = self.places.try_acquire().map_err(|_| Failure::new(Code::Unavailable))?;
        tokens.insert(token.clone());
        Ok(Place { reading: self, token, _permit: permit })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.reading.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}
