//! Recordings that were made through kills, and what must hold of them: at any time nothing in the clear, in the
//! end each delivered once and whole, purged once, and nothing left.

use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Table,
    events::Events,
    film::Film,
    needles::Needles,
    server::{Place, Server},
    take::{LOSS, MEDIA, Outcome, Take},
};
use crate::load::report::Bound;

/// Until everything is delivered and purged after the last kill.
const SETTLE: Duration = Duration::from_secs(180);

/// All recordings of a run.
pub(super) struct Aftermath {
    pub(super) place: Place,
    pub(super) film: Arc<Film>,
    takes: Vec<Take>,
    outcomes: Vec<(bool, Outcome)>,
    /// What must never be on the disk.
    clear: Needles,
    searched: u64,
    failures: Vec<String>,
}

impl Aftermath {
    pub(super) fn new(place: Place, film: Arc<Film>) -> Self {
        let mut clear = Needles::new();
        film.samples().for_each(|sample| clear.add(MEDIA, sample));
        let (takes, outcomes, failures) = (Vec::new(), Vec::new(), Vec::new());
        Self { place, film, takes, outcomes, clear, searched: 0, failures }
    }

    /// Right after a kill, `when`: searches the disk, also for the keys of these. `written` are those that the
    /// kill met while they were recorded.
    pub(super) fn on_kill(&mut self, takes: &[Take], written: &[Take], when: &str) -> Result<()> {
        self.check_search(written)?;
        for take in takes {
            let lived = take.ended.saturating_duration_since(take.started);
            let is_known = take.add_key(&self.place, &mut self.clear)?;
            if !is_known && lived > LOSS {
                self.failures.push(format!("{}: no keys.json was seen in {lived:?}", take.id));
            }
        }
        self.search(when)
    }

    /// These are over, and must be delivered.
    pub(super) fn add(&mut self, takes: Vec<Take>) {
        self.takes.extend(takes);
    }

    /// While wraps are there the search must find them: else it proves nothing later.
    fn check_search(&mut self, written: &[Take]) -> Result<()> {
        for take in written.iter().filter(|take| take.wraps.is_some()) {
            let mut wraps = Needles::new();
            take.add_wraps(&mut wraps);
            let spool = self.place.spool(&take.id);
            if wraps.on_disk(&spool)?.hits.len() < 2 {
                self.failures.push(format!("{}: its wraps are not found where they are", take.id));
            }
        }
        Ok(())
    }

    /// Nothing in the clear, neither here nor at the partner's.
    fn search(&mut self, when: &str) -> Result<()> {
        for folder in [&self.place.data, &self.place.delivered] {
            let scan = self.clear.on_disk(folder)?;
            self.searched += scan.bytes;
            self.failures.extend(scan.hits.into_iter().map(|hit| format!("{when}: {hit}")));
        }
        Ok(())
    }

    /// Waits until everything is purged, and checks each of them.
    pub(super) async fn settle(&mut self, server: &Server) -> Result<()> {
        self.await_purged(server).await;
        let events = Events::read(server).await?;
        let mut known = BTreeSet::new();
        for take in &self.takes {
            let mut delivered = 1;
            match take.check(server, &self.place, &self.film).await {
                Ok(outcome) => {
                    delivered -= usize::from(outcome.is_empty);
                    self.outcomes.push((take.was_killed, outcome));
                }
                Err(error) => self.failures.push(format!("{}: {error:#}", take.id)),
            }
            if delivered > 0 {
                known.insert(take.delivered(&self.place));
            }
            // The receipt is in the event: one event is one receipt.
            for (kind, wanted) in [("recording.purged", 1), ("recording.delivered", delivered)] {
                let count = events.count(kind, &take.id);
                if count != wanted {
                    self.failures.push(format!("{}: {count} events {kind}", take.id));
                }
            }
        }
        for room in fs::read_dir(self.place.delivered.join(&self.place.project))? {
            for recording in fs::read_dir(room?.path())? {
                let path = recording?.path();
                if !known.contains(&path) {
                    self.failures.push(format!("left at the partner's: {}", path.display()));
                }
            }
        }
        self.search("while the server runs, everything purged")
    }

    async fn await_purged(&mut self, server: &Server) {
        let end = Instant::now() + SETTLE;
        for take in &self.takes {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            if let Err(error) = server.until(&take.id, left, |now| now["state"] == "purged").await {
                self.failures.push(format!("{error:#}"));
            }
        }
    }

    /// Once nothing runs any more the spool is empty, and of keys nothing is left: also not in the database and
    /// its log.
    pub(super) fn check_nothing_is_left(&mut self) -> Result<()> {
        let spool = self.place.data.join("recorder/spool");
        for entry in fs::read_dir(&spool)? {
            self.failures.push(format!("left in the spool: {}", entry?.path().display()));
        }
        let mut wraps = Needles::new();
        for take in &self.takes {
            take.add_wraps(&mut wraps);
        }
        let scan = wraps.on_disk(&self.place.data)?;
        self.searched += scan.bytes;
        self.failures.extend(scan.hits);
        self.search("everything purged, the server ended")
    }

    /// Into the table, as `part`. `missing_max`: pictures that one recording may lack between its first and last.
    pub(super) fn tell(self, part: &str, missing_max: f64, table: &mut Table) {
        let (report, outcomes) = (&mut table.report, self.outcomes);
        let of = |what: &str| format!("{part}: {what}");
        let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, one)| is(one)).count();
        let resumed = count(|one| one.was_purge_resumed);
        report.add(of("killed before the receipt"), resumed as f64, "kills");
        report.add(of("recordings"), self.takes.len() as f64, "recordings");
        report.add(of("killed before anything was safe"), count(|one| one.is_empty) as f64, "");
        let is_early = |one: &Outcome| one.pictures == 0 && !one.is_empty;
        report.add(of("ended before a key frame"), count(is_early) as f64, "");
        let pictures: u64 = outcomes.iter().map(|(_, outcome)| outcome.pictures).sum();
        report.add(of("pictures decoded"), pictures as f64, "pictures");
        let missing = outcomes.iter().map(|(_, outcome)| outcome.missing).max().unwrap_or_default();
        let bound = Bound::AtMost(missing_max);
        report.judge(of("missing in between, most"), missing as f64, "pictures", bound);
        let most = |is: &dyn Fn(&(bool, Outcome)) -> bool, of: fn(&Outcome) -> Duration| {
            let all = outcomes.iter().filter(|one| is(one)).map(|(_, outcome)| of(outcome));
            all.max().unwrap_or_default().as_secs_f64()
        };
        let limit = Bound::AtMost(LOSS.as_secs_f64());
        let lost = most(&|one| one.0, |one| one.lost);
        report.judge(of("lost before a kill, most"), lost, "s", limit);
        let lost = most(&|one| !one.0, |one| one.lost);
        report.judge(of("lost before a stop, most"), lost, "s", limit);
        let late = most(&|_| true, |one| one.late);
        report.judge(of("start to first picture, most"), late, "s", limit);
        report.add(of("searched for media and keys"), self.searched as f64 / 1e6, "MB");
        table.fail(part, self.failures);
    }
}
