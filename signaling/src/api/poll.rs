//! Places for requests that wait for events: bounded in all and for each project.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sdk_spec::{limits::EVENTS_WAITING_MAX, problem::Code};

use super::{Failure, limit};
use crate::limits::POLLS_MAX;

/// How long a project with too many waiting requests is told to wait.
const AGAIN: Duration = Duration::from_secs(1);

/// Requests that wait, by project.
#[derive(Default)]
pub(crate) struct Polls(Mutex<HashMap<Arc<str>, usize>>);

/// The place of one request. Dropping it gives it back.
pub(super) struct Place<'a> {
    polls: &'a Polls,
    project: Arc<str>,
}

impl Polls {
    /// A place to wait.
    ///
    /// # Errors
    /// [`Code::RateLimited`] when the project has too many, [`Code::Unavailable`] when all have.
    pub(super) fn take(&self, project: &Arc<str>) -> Result<Place<'_>, Failure> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.get(project).is_some_and(|count| *count >= EVENTS_WAITING_MAX) {
            return Err(limit::refusal(AGAIN)
                .detail("As many requests of the project wait for events as may."));
        }
        if waiting.values().sum::<usize>() >= POLLS_MAX {
            return Err(Failure::new(Code::Unavailable)
                .detail("Too many requests wait for events; ask without `wait_seconds`."));
        }
        *waiting.entry(Arc::clone(project)).or_default() += 1;
        Ok(Place { polls: self, project: Arc::clone(project) })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.polls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.project) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_project_and_in_all_and_come_back() {
        let polls = Polls::default();
        let one: Arc<str> = "pj_1".into();
        let mine: Vec<_> = (0..EVENTS_WAITING_MAX).map(|_| polls.take(&one)).collect();
        assert!(mine.iter().all(Result::is_ok) && polls.take(&one).is_err());
        let projects = (0..POLLS_MAX).map(|i| Arc::from(format!("pj_other_{i}")));
        let others: Vec<_> = projects.map(|project| polls.take(&project)).collect();
        assert_eq!(others.iter().filter(|p| p.is_ok()).count(), POLLS_MAX - EVENTS_WAITING_MAX);
        drop((mine, others));
        assert!(polls.take(&one).is_ok());
        assert!(polls.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }
}
