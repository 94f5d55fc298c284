//! Looks at all rows and starts what is due: which recording, which stage, in which place.
//!
//! | stage | places |
//! |---|---|
//! | make | one for each core |
//! | make, with a composite or a mix | one, its own: it takes hours |
//! | push | [`PUSHES_MAX`], of them [`PUSHES_PER_PROJECT_MAX`] for a project |
//! | push of what goes on | of those, [`LIVE_PUSHES_MAX`] and [`LIVE_PUSHES_PER_PROJECT_MAX`] |
//! | purge | [`PURGES_MAX`], its own: nothing that is slow elsewhere delays it |
//!
//! Oldest first; what goes on after what is over, by turns. What failed waits longer each time, but not for another stage than the one that failed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bus::tap::Progress;
use sfu_proto::id::RecordingId;
use tokio::{
    sync::{oneshot, watch},
    task::{Id, JoinError, JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use super::{
    Shared,
    capture::{Order, Orders},
    ledger::{Entry, LedgerError, News, State, Step},
    now_ms,
    patience::is_shown,
    spool,
    sweep::sweep,
    turns::Ended,
    work::{Job, Stage, WorkError, over, stopped},
};
use crate::{
    key::DataKey,
    limits::{
        CLOSE_AFTER, CLOSE_AFTER_MAX, CLOSE_WAIT, EPOCHS_LOOK, JOBS_END, LIVE_PUSHES_MAX,
        LIVE_PUSHES_PER_PROJECT_MAX, LOOK, LOOK_AGAIN, PURGES_MAX, PUSHES_MAX,
        PUSHES_PER_PROJECT_MAX, WARN_PERCENTS,
    },
};

/// A job at work.
struct Running {
    task: Id,
    stage: Stage,
    project: String,
    /// Whether pictures or a mix are made, which takes long.
    is_shown: bool,
    /// Tells it that the recording is over.
    over: watch::Sender<bool>,
}

/// How a job ended.
enum Done {
    Well,
    /// Something else is due.
    Changed,
    Failed,
}

type Closing = oneshot::Receiver<Option<Arc<DataKey>>>;

/// All that is under way.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    orders: Orders,
    /// Journals whose end is ordered, and those that are closed.
    closing: HashMap<RecordingId, Closing>,
    closed: HashSet<RecordingId>,
    running: HashMap<RecordingId, Running>,
    /// What failed, and when it is tried again.
    due: HashMap<RecordingId, (Stage, Instant)>,
    jobs: JoinSet<Done>,
    makes_max: usize,
    sweeping: Option<JoinHandle<()>>,
    sweep_at: Instant,
    began: Instant,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, orders: Orders) -> Self {
        Self {
            shared,
            orders,
            closing: HashMap::new(),
            closed: HashSet::new(),
            running: HashMap::new(),
            due: HashMap::new(),
            jobs: JoinSet::new(),
            makes_max: std::thread::available_parallelism().map_or(1, usize::from),
            sweeping: None,
            sweep_at: Instant::now(),
            began: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut news = self.shared.ledger.news();
        let mut stop = self.shared.stop.clone();
        loop {
            let began = Instant::now();
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = self.round() => {}
            }
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = self.rest(&mut news, began) => {}
            }
        }
        self.end().await;
    }

    async fn round(&mut self) {
        self.sweep();
        match self.shared.ledger.open().await {
            Ok(entries) => self.look(entries).await,
            Err(error) => tracing::warn!(%error, "recordings cannot be read"),
        }
    }

    /// Until something may be due.
    async fn rest(&mut self, news: &mut watch::Receiver<u64>, began: Instant) {
        tokio::select! {
            changed = news.changed() => if changed.is_err() {
                sleep(LOOK).await;
            },
            Some(done) = self.jobs.join_next_with_id() => self.on_done(done),
            () = sleep(LOOK) => {}
        }
        sleep_until(began + LOOK_AGAIN).await;
        while let Some(done) = self.jobs.try_join_next_with_id() {
            self.on_done(done);
        }
    }

    /// Jobs see that the process ends; what does not hear it is left to the next start.
    async fn end(mut self) {
        let all = async { while self.jobs.join_next().await.is_some() {} };
        if timeout(JOBS_END, all).await.is_err() {
            tracing::warn!("some work on recordings did not stop in time");
        }
        self.jobs.abort_all();
        if let Some(sweeping) = self.sweeping {
            sweeping.abort();
        }
    }

    /// A job that failed by a defect is one that failed: the others go on.
    fn on_done(&mut self, done: Result<(Id, Done), JoinError>) {
        let (task, done) = done.unwrap_or_else(|error| {
            tracing::error!("the work on a recording failed by a defect");
            (error.id(), Done::Failed)
        });
        let recording = self.running.iter().find(|(_, one)| one.task == task).map(|(id, _)| *id);
        let Some(recording) = recording else { return };
        let Some(was) = self.running.remove(&recording) else { return };
        if was.stage == Stage::Live {
            return self.shared.turns.ended(recording, done.of_turn());
        }
        match done {
            Done::Well => {
                self.shared.tries.forget(recording);
                self.due.remove(&recording);
            }
            Done::Changed => {}
            Done::Failed => {
                let again = self.shared.tries.again_after(recording);
                self.shared.tries.failed(recording);
                self.due.insert(recording, (was.stage, Instant::now() + again));
            }
        }
    }

    async fn look(&mut self, mut entries: Vec<Entry>) {
        self.measure(&entries);
        self.forget_all_but(&entries.iter().map(|entry| entry.id).collect());
        let (live, over): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.state == State::Live);
        entries = over;
        self.end_turns(&live);
        entries.sort_by_key(|entry| entry.stopped_at_ms);
        for entry in &mut entries {
            // While the store stands still nothing can be told; what is due is tried none the less.
            if self.serve(entry).await.is_err() || self.warn(entry).await.is_err() {
                break;
            }
        }
        self.close(&entries).await;
        for entry in entries {
            self.begin(entry).await;
        }
        self.begin_turns(live);
    }

    /// Whoever pushes something of a recording that is over by now lets it be.
    fn end_turns(&self, live: &[Entry]) {
        let live: HashSet<RecordingId> = live.iter().map(|entry| entry.id).collect();
        let turns = self.running.iter().filter(|(_, one)| one.stage == Stage::Live);
        turns.filter(|(id, _)| !live.contains(id)).for_each(|(_, one)| {
            one.over.send_replace(true);
        });
    }

    /// Starts what is due of recordings that go on; who waits the longest is the first.
    fn begin_turns(&mut self, live: Vec<Entry>) {
        let is_pushed =
            |entry: &Entry| entry.outputs.journal && entry.has_journal && entry.target.is_some();
        let turns =
            live.into_iter().filter(is_pushed).map(|one| (self.shared.turns.at(one.id), one));
        let now = Instant::now();
        let mut due: Vec<_> = turns.filter(|(at, _)| at.is_none_or(|at| at <= now)).collect();
        due.retain(|(_, entry)| !self.running.contains_key(&entry.id));
        due.sort_by_key(|(at, _)| *at);
        for (_, entry) in due {
            if self.has_place(Stage::Live, &entry.project, false) {
                self.start(entry, Stage::Live, false);
            }
        }
    }

    fn forget_all_but(&mut self, known: &HashSet<RecordingId>) {
        self.shared.keys.keep(known);
        self.shared.tries.keep(known);
        self.shared.turns.keep(known);
        self.closing.retain(|id, _| known.contains(id));
        self.closed.retain(|id| known.contains(id));
        self.due.retain(|id, _| known.contains(id));
    }

    /// The partner wants a push: what waits is due now, once.
    async fn serve(&mut self, entry: &mut Entry) -> Result<(), LedgerError> {
        if !entry.push_wanted || entry.state == State::Purging {
            return Ok(());
        }
        let step = Step { served: true, ..Step::default() };
        if self.tell(entry, step).await? {
            entry.push_wanted = false;
            self.due.remove(&entry.id);
            self.shared.tries.forget_pauses(entry.id);
        }
        Ok(())
    }

    /// Says at some ages that a recording is not delivered yet.
    async fn warn(&mut self, entry: &mut Entry) -> Result<(), LedgerError> {
        let Some(percent) = warning(entry, self.shared.ages.now_ms()) else { return Ok(()) };
        let news = Some(News::Expiring { age_percent: percent });
        if self.tell(entry, Step { news, ..Step::default() }).await? {
            entry.warned_percent = percent;
        }
        Ok(())
    }

    /// A step of a row that a job may work on: the job reads it again. False: the next round does it.
    async fn tell(&self, entry: &mut Entry, step: Step) -> Result<bool, LedgerError> {
        match self.shared.ledger.step(entry.id, entry.version, step).await {
            Ok(version) => entry.version = version,
            Err(LedgerError::Unavailable) => return Err(LedgerError::Unavailable),
            Err(LedgerError::Changed | LedgerError::Held) => return Ok(false),
        }
        Ok(true)
    }

    /// Orders the end of journals that are over, all at once, and takes the answers that come soon.
    async fn close(&mut self, entries: &[Entry]) {
        let up = self.began.elapsed();
        for entry in entries.iter().filter(|entry| is_quiet(entry, &self.shared.progress, up)) {
            if !self.closed.contains(&entry.id) && !self.closing.contains_key(&entry.id) {
                let (done, answer) = oneshot::channel();
                if self.orders.send(Order::Close(entry.id, done)).is_ok() {
                    self.closing.insert(entry.id, answer);
                }
            }
        }
        let until = Instant::now() + CLOSE_WAIT;
        let ids: Vec<RecordingId> = self.closing.keys().copied().collect();
        for id in ids {
            let Some(answer) = self.closing.get_mut(&id) else { continue };
            let Ok(answer) = timeout_at(until, answer).await else { continue };
            self.closing.remove(&id);
            let Ok(key) = answer else { continue };
            self.closed.insert(id);
            if let Some(key) = key {
                self.shared.keys.insert(id, key);
            }
        }
    }

    /// Starts what is due, when there is a place for it.
    async fn begin(&mut self, entry: Entry) {
        let id = entry.id;
        if self.running.contains_key(&id) || !self.closed.contains(&id) {
            return;
        }
        let Some(stage) = self.stage(&entry).await else { return };
        let waits =
            self.due.get(&id).is_some_and(|(failed, at)| *failed == stage && *at > Instant::now());
        let is_shown = stage == Stage::Make
            && is_shown(&entry, self.shared.ages.now_ms())
            && !spool::has_export(&self.shared.spool, id).await;
        if waits || !self.has_place(stage, &entry.project, is_shown) {
            return;
        }
        self.start(entry, stage, is_shown);
    }

    fn start(&mut self, entry: Entry, stage: Stage, is_shown: bool) {
        let (id, project) = (entry.id, entry.project.clone());
        let key = if stage == Stage::Make { self.shared.keys.of(id) } else { None };
        let (over, is_over) = watch::channel(false);
        // Of one that goes on the first failure in a row is told.
        let is_known = stage == Stage::Live && self.shared.turns.is_failing(id);
        let job = Job { shared: Arc::clone(&self.shared), entry, key, over: is_over };
        let work = async move { done(id, is_known, Box::pin(job.run(stage)).await) };
        let task = self.jobs.spawn(work).id();
        self.running.insert(id, Running { task, stage, project, is_shown, over });
    }

    /// What of the work is there tells more than the row: a step may have been lost, or a file.
    async fn stage(&self, entry: &Entry) -> Option<Stage> {
        if over(entry, self.shared.ages.now_ms()).is_some() {
            return Some(Stage::Purge);
        }
        match entry.state {
            State::Recorded | State::Finalizing => Some(Stage::Make),
            State::Pushing | State::PushBlocked => {
                let is_made = spool::has_export(&self.shared.spool, entry.id).await;
                Some(if is_made { Stage::Push } else { Stage::Make })
            }
            // Delivered and held.
            State::Live | State::Delivered | State::Purging | State::Purged => None,
        }
    }

    fn has_place(&self, stage: Stage, project: &str, is_shown: bool) -> bool {
        let taken = || self.running.values().filter(|one| one.stage == stage);
        let pushes = || self.running.values().filter(|one| one.stage.is_push());
        let is_ours = |one: &&Running| one.project == project;
        let has_push = || {
            pushes().count() < PUSHES_MAX
                && pushes().filter(is_ours).count() < PUSHES_PER_PROJECT_MAX
        };
        match stage {
            Stage::Make if is_shown => !taken().any(|one| one.is_shown),
            Stage::Make => taken().filter(|one| !one.is_shown).count() < self.makes_max,
            Stage::Push => has_push(),
            Stage::Live => {
                taken().count() < LIVE_PUSHES_MAX
                    && taken().filter(is_ours).count() < LIVE_PUSHES_PER_PROJECT_MAX
                    && has_push()
            }
            Stage::Purge => taken().count() < PURGES_MAX,
        }
    }

    fn measure(&self, entries: &[Entry]) {
        let metrics = &self.shared.metrics;
        let over = || entries.iter().filter(|entry| !entry.held);
        let oldest = over().filter_map(|entry| entry.stopped_at_ms).min();
        let age = oldest.map_or(0, |at| now_ms().saturating_sub(at) / 1000);
        metrics.oldest_seconds.set(i64::try_from(age).unwrap_or(i64::MAX));
        metrics.unpurged.set(entries.len() as i64);
        let blocked = entries.iter().filter(|entry| entry.state == State::PushBlocked).count();
        metrics.blocked.set(blocked as i64);
        let rows = entries.iter().flat_map(|entry| &entry.artifacts);
        let lag: u64 = rows.map(|row| row.bytes.saturating_sub(row.pushed_bytes)).sum();
        metrics.push_lag_bytes.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// From time to time, beside everything else.
    fn sweep(&mut self) {
        let is_busy = self.sweeping.as_ref().is_some_and(|sweeping| !sweeping.is_finished());
        if !is_busy && self.sweep_at <= Instant::now() {
            self.sweep_at = Instant::now() + EPOCHS_LOOK;
            self.sweeping = Some(tokio::spawn(sweep(Arc::clone(&self.shared))));
        }
    }
}

impl Done {
    fn of_turn(self) -> Ended {
        match self {
            Self::Well => Ended::Done,
            Self::Changed => Ended::More,
            Self::Failed => Ended::Failed,
        }
    }
}

/// `is_known`: that it fails was told before.
fn done(recording: RecordingId, is_known: bool, result: Result<(), WorkError>) -> Done {
    match result {
        Ok(()) => {
            if is_known {
                tracing::info!(%recording, "it is pushed again while it goes on");
            }
            Done::Well
        }
        Err(WorkError::Changed) => Done::Changed,
        Err(error) => {
            match is_known {
                true => tracing::debug!(%recording, %error, "a recording waits"),
                false => tracing::warn!(%recording, %error, "a recording waits"),
            }
            Done::Failed
        }
    }
}

/// Media workers have handed over what came before the end, and it is here; or it does not come any more.
/// `up`: for how long this process has been there to take it.
fn is_quiet(entry: &Entry, progress: &Progress, up: Duration) -> bool {
    let Some(stopped_at_ms) = entry.stopped_at_ms else { return false };
    let since = Duration::from_millis(now_ms().saturating_sub(stopped_at_ms));
    let all_ms = stopped_at_ms.saturating_add(CLOSE_AFTER.as_millis() as u64);
    since >= CLOSE_AFTER && (progress.has_all_until(all_ms) || since.min(up) >= CLOSE_AFTER_MAX)
}

/// The percents of its age that are to be told now.
fn warning(entry: &Entry, now_ms: u64) -> Option<u32> {
    let (from, to) = (entry.stopped_at_ms?, entry.expires_at_ms?);
    let is_over = matches!(entry.state, State::Delivered | State::Purging);
    if entry.held || is_over || to <= from {
        return None;
    }
    let age = now_ms.saturating_sub(from).saturating_mul(100) / (to - from);
    let passed = WARN_PERCENTS.iter().filter(|percent| u64::from(**percent) <= age);
    passed.max().copied().filter(|percent| *percent > entry.warned_percent)
}
