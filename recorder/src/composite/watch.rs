//! Watches over the programs of a composite: the first failure ends them all, as do a cancelled job and
//! a standstill.

use std::{
    collections::BTreeMap,
    process::{Child, ExitStatus},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{CompositeError, Done};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Of one composite.
pub(super) struct Watch<'a> {
    cancelled: &'a (dyn Fn() -> bool + Sync),
    /// How long nothing may happen.
    stall: Duration,
    state: Mutex<State>,
    ended: Condvar,
    /// Counts frames; what does not count stands still.
    steps: AtomicU64,
    /// Tracks whose decoders failed: their tiles are plain, or their voices silent. And whether it was for
    /// want of time alone.
    flawed: Mutex<BTreeMap<String, bool>>,
}

#[derive(Default)]
struct State {
    children: Vec<Arc<Mutex<Child>>>,
    failure: Option<CompositeError>,
    is_over: bool,
}

/// A program that runs; ended when dropped.
pub(super) struct Running(Arc<Mutex<Child>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Watch<'a> {
    pub(super) fn new(cancelled: &'a (dyn Fn() -> bool + Sync), stall: Duration) -> Self {
        Self {
            cancelled,
            stall,
            state: Mutex::default(),
            ended: Condvar::new(),
            steps: AtomicU64::new(0),
            flawed: Mutex::default(),
        }
    }

    /// Takes a program into its care.
    pub(super) fn adopt(&self, child: Child) -> Result<Running, CompositeError> {
        let running = Running(Arc::new(Mutex::new(child)));
        let mut state = lock(&self.state);
        state.children.retain(|child| Arc::strong_count(child) > 1);
        if state.is_over {
            return Err(CompositeError::Cancelled); // `running` ends it.
        }
        state.children.push(Arc::clone(&running.0));
        Ok(running)
    }

    /// A frame, or a piece of output.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// A track, by the name of its file, is not decoded to its end.
    pub(super) fn flaw(&self, name: &str) {
        lock(&self.flawed).insert(name.to_owned(), false);
    }

    /// As [`Self::flaw`], because its decoder gave nothing in time.
    pub(super) fn flaw_late(&self, name: &str) {
        lock(&self.flawed).entry(name.to_owned()).or_insert(true);
    }

    /// Ends everything. The first reason is the one that is told.
    pub(super) fn fail(&self, error: CompositeError) {
        let mut state = lock(&self.state);
        if !state.is_over {
            state.failure = Some(error);
        }
        self.close(state);
    }

    /// All is done.
    pub(super) fn end(&self) {
        self.close(lock(&self.state));
    }

    fn close(&self, mut state: MutexGuard<'_, State>) {
        state.is_over = true;
        for child in state.children.drain(..) {
            kill(&mut lock(&child));
        }
        self.ended.notify_all();
    }

    /// Looks after everything until the end.
    pub(super) fn guard(&self) {
        let (mut seen, mut since) = (0, Instant::now());
        let mut state = lock(&self.state);
        while !state.is_over {
            let waited = self.ended.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let steps = self.steps.load(Ordering::Relaxed);
            if steps != seen {
                (seen, since) = (steps, Instant::now());
            }
            let failure = match since.elapsed() > self.stall {
                _ if (self.cancelled)() => CompositeError::Cancelled,
                true => CompositeError::Stalled,
                false => continue,
            };
            drop(state);
            self.fail(failure);
            return;
        }
    }

    /// How many tracks are not decoded to their ends.
    pub(super) fn into_result(self) -> Result<Done, CompositeError> {
        let flawed = lock(&self.flawed);
        let late = flawed.values().filter(|is_late| **is_late).count();
        let count = |tracks| u32::try_from(tracks).unwrap_or(u32::MAX);
        let done = Done { flawed: count(flawed.len()), late: count(late) };
        drop(flawed);
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failure.map_or(Ok(done), Err)
    }
}

impl Running {
    /// How it ended, when it has closed its output. Others can still end it meanwhile.
    pub(super) fn finish(self) -> std::io::Result<ExitStatus> {
        loop {
            if let Some(status) = lock(&self.0).try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = lock(&self.0);
        kill(&mut child);
        let _ = child.wait(); // It is dead, or was waited for.
    }
}

/// Kills all of a program's group: `bwrap` that dies before it has let its own child go on leaves that one
/// waiting for ever, with both our pipes.
fn kill(child: &mut Child) {
    // As long as nobody has waited for it, its number is nobody else's.
    if matches!(child.try_wait(), Ok(None)) {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL); // It may end just now.
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{io::Read as _, time::Duration};

    use super::*;
    use crate::composite::sandbox::{Limits, Sandbox, Tools};

    /// The output of a program ends with it, however early it is killed.
    #[test]
    fn a_program_that_is_killed_while_it_starts_leaves_nothing_behind() {
        let tools = Tools::look(Sandbox::Bwrap).expect("run .ci/setup (ffmpeg, bubblewrap)");
        for n in 0..100 {
            let watch = Watch::new(&|| false, Duration::from_secs(60));
            let args = ["-f", "rawvideo", "-i", "pipe:0", "-f", "null", "-"].map(str::to_owned);
            let mut child = tools.ffmpeg(Limits::LOOK, &args, None).unwrap();
            let (mut output, stdin) = (child.stdout.take().unwrap(), child.stdin.take());
            let running = watch.adopt(child).unwrap();
            thread::sleep(Duration::from_micros(n * 50));
            watch.fail(CompositeError::Cancelled);
            drop(running);
            let (told, ended) = std::sync::mpsc::channel();
            thread::spawn(move || told.send(output.read_to_end(&mut Vec::new()).is_ok()));
            assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(true), "after {n} × 50 µs");
            drop(stdin); // Its end would end the program too.
        }
    }
}
