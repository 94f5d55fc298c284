//! Survives panics of the state machine it owns: a defect ends one session, not the node.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

/// A state machine, how to mend it, and how to make a new one.
pub(crate) struct Guard<S> {
    state: S,
    build: Box<dyn Fn(Instant) -> S + Send>,
    mend: fn(&mut S, Instant),
    was_reset: bool,
}

impl<S> Guard<S> {
    /// `mend` is called after a panic; if it panics too, the state is replaced by `build`'s.
    pub(crate) fn new(
        build: Box<dyn Fn(Instant) -> S + Send>,
        mend: fn(&mut S, Instant),
        now: Instant,
    ) -> Self {
        Self { state: build(now), build, mend, was_reset: false }
    }

    /// Takes one step; `None` after a panic in it.
    pub(crate) fn run<R>(&mut self, now: Instant, step: impl FnOnce(&mut S) -> R) -> Option<R> {
        let result = catch_unwind(AssertUnwindSafe(|| step(&mut self.state)));
        if result.is_err() {
            self.recover(now);
        }
        result.ok()
    }

    /// A look without a step: must not panic.
    pub(crate) fn state(&self) -> &S {
        &self.state
    }

    /// Whether the state was replaced since the last call.
    pub(crate) fn take_reset(&mut self) -> bool {
        mem::take(&mut self.was_reset)
    }

    #[cold]
    fn recover(&mut self, now: Instant) {
        tracing::error!("defect in the media core: one session is given up");
        let mend = self.mend;
        if catch_unwind(AssertUnwindSafe(|| mend(&mut self.state, now))).is_ok() {
            return;
        }
        tracing::error!("the media core could not be mended: this worker starts over");
        let broken = mem::replace(&mut self.state, (self.build)(now));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
        self.was_reset = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        steps: u32,
        mended: u32,
        hopeless: bool,
    }

    fn guard() -> Guard<Machine> {
        let build = |_| Machine { steps: 0, mended: 0, hopeless: false };
        let mend = |machine: &mut Machine, _| {
            assert!(!machine.hopeless);
            machine.mended += 1;
        };
        Guard::new(Box::new(build), mend, Instant::now())
    }

    #[test]
    fn a_panic_is_mended_and_the_rest_goes_on() {
        let (mut guard, now) = (guard(), Instant::now());
        guard.run(now, |machine| machine.steps += 1);
        assert_eq!(guard.run(now, |_| -> u32 { panic!("defect, on purpose") }), None);
        assert_eq!(guard.run(now, |machine| machine.steps), Some(1));
        assert_eq!(guard.state().mended, 1);
        assert!(!guard.take_reset());
    }

    #[test]
    fn a_panic_while_mending_starts_over() {
        let (mut guard, now) = (guard(), Instant::now());
        guard.run(now, |machine| (machine.steps, machine.hopeless) = (7, true));
        assert_eq!(guard.run(now, |_| -> u32 { panic!("defect, on purpose") }), None);
        assert!(guard.take_reset() && !guard.take_reset());
        assert_eq!(guard.state().steps, 0);
    }
}
