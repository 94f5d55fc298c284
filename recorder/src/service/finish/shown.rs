//! Composite, HLS and audio mix beside the tracks. That one cannot be made loses nothing else.

use super::{
    Finish, FinishError, caught, has_room,
    sealing::{Rule, SealedFile},
};
use crate::{
    composite::{
        Canvas, CompositeError, Control, Done, Layout, Made, Order, Outputs, Work, audio_mix,
        composite,
    },
    evidence::{Artifact, ArtifactKind},
    finalize::Events,
    journal::{Space, is_full},
    key::DataKey,
    limits::{COMPOSITE_TIME_MIN, COMPOSITE_TIME_PER_TIME, COMPOSITE_TRIES_MAX},
    seal::Recipients,
    service::{ledger::Composite, spool::Spool},
};
use std::{
    fs, io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Percent of all work that tracks are, when pictures are encoded too.
const TRACKS_PERCENT: u8 = 20;
/// And what decoders read.
const WORK_PERCENT: u8 = 10;
/// And what a mix is of, when pictures are encoded too.
const MIX_PERCENT: u8 = 5;

/// Time between two looks at the disk.
const DISK_LOOK: Duration = Duration::from_secs(1);

/// What came of a recording.
pub(super) struct Shown {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) events: Events,
    /// What was wanted and could not be made.
    pub(super) missing: Vec<ArtifactKind>,
}

/// Seals what is made. What was begun and not kept is removed.
struct Sealing<'a> {
    spool: &'a Spool,
    recipients: &'a Recipients,
    opened: Vec<String>,
    artifacts: Vec<Artifact>,
}

impl Outputs for Sealing<'_> {
    type File = SealedFile;

    fn open(&mut self, name: &str) -> io::Result<SealedFile> {
        let name = format!("{name}.age");
        self.opened.push(name.clone()); // What fails half way may be there.
        SealedFile::create(self.spool, &name, self.recipients)
    }

    fn close(&mut self, file: SealedFile, made: Made) -> io::Result<()> {
        let Made { name, kind, media_type, duration_ms } = made;
        let (sealed, who) = (file.finish()?, self.recipients.fingerprints());
        let name = format!("{name}.age").parse().map_err(io::Error::other)?;
        let artifact = Artifact::new(name, kind, media_type, &sealed, who);
        self.artifacts.push(Artifact { offset_ms: Some(0), duration_ms, ..artifact });
        Ok(())
    }
}

impl Sealing<'_> {
    /// As before it began.
    fn clear(&mut self) -> io::Result<()> {
        self.artifacts.clear();
        self.opened.drain(..).try_for_each(|name| match fs::remove_file(self.spool.file(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

impl Finish<'_> {
    /// What was wanted besides tracks.
    pub(super) fn wanted(&self) -> Vec<ArtifactKind> {
        let outputs = &self.entry.outputs;
        let composite = outputs.composite.is_some();
        let kinds = [
            (composite, ArtifactKind::Composite),
            (composite && outputs.hls, ArtifactKind::Hls),
            (outputs.audio_mix, ArtifactKind::AudioMix),
        ];
        kinds.into_iter().filter_map(|(is, kind)| is.then_some(kind)).collect()
    }

    /// Who may have what masks hide.
    pub(super) fn unmasked(&self) -> Result<Option<Recipients>, FinishError> {
        let keys = &self.entry.outputs.unmasked_recipients;
        Ok(if keys.is_empty() { None } else { Some(Recipients::parse(keys)?) })
    }

    /// Tracks first; then what is made of the same journal. Tracks that nobody asked for are delivered
    /// when something else is missing, or lacks a voice or a picture. `has_texts`: there is
    /// something that no mask hides.
    pub(super) fn tracks_and_shown(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        (key, has_texts): (&DataKey, bool),
        progress: &mut dyn FnMut(u8),
    ) -> Result<Shown, FinishError> {
        let outputs = &self.entry.outputs;
        // Who may see what is masked has it in the journal.
        let unmasked = if outputs.is_journal_only() { None } else { self.unmasked()? };
        let masks = &outputs.masks[..];
        let is_masked = outputs.journal && self.entry.raw_recipients()?.is_none();
        let wanted = (outputs.tracks || is_masked).then_some(recipients);
        let rule = Rule { masks, unmasked: unmasked.as_ref(), tracks: wanted };
        if self.wanted().is_empty() {
            let (artifacts, events) = self.tracks(spool, rule, key, progress)?;
            return Ok(Shown { artifacts, events, missing: Vec::new() });
        }
        let mut first = |percent: u8| progress(percent / (100 / TRACKS_PERCENT));
        let (mut artifacts, events) = self.tracks(spool, rule, key, &mut first)?;
        let (shown, missing) = match events.tracks.is_empty() {
            true => (Vec::new(), self.wanted()),
            false => self.shown(spool, recipients, (key, &events), progress)?,
        };
        artifacts.extend(shown);
        let is_flawed = artifacts.iter().any(|one| one.flawed_tracks > 0);
        if is_flawed || !missing.is_empty() {
            let hides = |track| masks.iter().any(|mask| mask.hides_track(track, &events));
            if wanted.is_none() {
                let rule = Rule { masks, unmasked: None, tracks: Some(recipients) };
                artifacts.extend(self.tracks(spool, rule, key, &mut |_| {})?.0);
            }
            // All that hides something stays here; the rest arrives, and says what is missing.
            if artifacts.is_empty() && !has_texts && events.tracks.iter().any(hides) {
                return Err(FinishError::Masked);
            }
        }
        Ok(Shown { artifacts, events, missing })
    }

    /// Files, and what is missing.
    fn shown(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        (key, events): (&DataKey, &Events),
        progress: &mut dyn FnMut(u8),
    ) -> Result<(Vec<Artifact>, Vec<ArtifactKind>), FinishError> {
        let outputs = &self.entry.outputs;
        let (hls, masks) = (outputs.hls, &outputs.masks[..]);
        let plain = Composite { layout: Layout::Grid, canvas: Canvas::HD };
        let Composite { layout, canvas } = outputs.composite.unwrap_or(plain);
        let order = Order { events, layout, canvas, hls, masks };
        let length = Duration::from_millis(events.duration_ms);
        let time = COMPOSITE_TIME_MIN + length.saturating_mul(COMPOSITE_TIME_PER_TIME);
        let showing = Showing {
            finish: self,
            spool,
            order,
            begun: Instant::now(),
            time,
            disk: Mutex::new((Instant::now(), false)),
        };
        let mut work = showing
            .work(key, &mut within(TRACKS_PERCENT, TRACKS_PERCENT + WORK_PERCENT, progress))?;
        let (mut artifacts, mut missing) = (Vec::new(), Vec::new());
        let mut from = TRACKS_PERCENT + WORK_PERCENT;
        // The mix first: it takes a hundredth of the time, and must not be lost to a slow composite.
        for kind in self.wanted().into_iter().rev().filter(|kind| *kind != ArtifactKind::Hls) {
            let is_last = kind == ArtifactKind::Composite || outputs.composite.is_none();
            let to = if is_last { 100 } else { from + MIX_PERCENT };
            let mut rest = within(from, to, progress);
            from = to;
            let made = match &mut work {
                Some(work) => showing.made((work, key), recipients, kind, &mut rest)?,
                None => None,
            };
            match made {
                Some(made) => artifacts.extend(made),
                None => missing.push(kind),
            }
        }
        missing.reverse(); // As they were wanted.
        if hls && missing.contains(&ArtifactKind::Composite) {
            missing.push(ArtifactKind::Hls); // Made with the composite.
        }
        Ok((artifacts, missing))
    }
}

/// Percents of a part as percents of the whole: from `from` on, at most to `to`.
fn within(from: u8, to: u8, progress: &mut dyn FnMut(u8)) -> impl FnMut(u8) {
    move |percent| {
        let part = u16::from(percent.min(100)) * u16::from(to.saturating_sub(from)) / 100;
        progress(from + part as u8);
    }
}

/// Whether what took so long can be done again, with as much to spare: what is there is lost by it.
fn has_time_for(taken: Duration, left: Duration) -> bool {
    left >= taken.saturating_mul(2)
}

/// Of one of the things that are made.
struct Tries {
    left: u32,
    /// One gave something whole that lacks tracks for want of time, and it was thrown away.
    was_late: bool,
}

impl Tries {
    /// Whether such a thing may be thrown away for another try: once, and not when only one is left.
    fn may_be_late(&self) -> bool {
        !self.was_late && self.left > 1
    }

    /// `None`: by a defect.
    fn failed(&mut self, error: Option<&CompositeError>) {
        match error {
            // What takes its place has as many tries as it had.
            Some(CompositeError::Late(_)) if !self.was_late => self.was_late = true,
            _ => self.left = self.left.saturating_sub(1),
        }
    }
}

/// Composite and mix of a recording being made.
struct Showing<'a> {
    finish: &'a Finish<'a>,
    spool: &'a Spool,
    order: Order<'a>,
    /// Not by the wall clock, which may be set meanwhile.
    begun: Instant,
    /// How long it may take: what else there is must not wait for it for ever.
    time: Duration,
    /// When the disk was looked at, and whether live recordings lack room.
    disk: Mutex<(Instant, bool)>,
}

impl Showing<'_> {
    /// What decoders read. None: it cannot be made.
    fn work(
        &self,
        key: &DataKey,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Option<Work>, FinishError> {
        self.tried("work file", |_| {
            if self.finish.composites.is_none() {
                return Err(CompositeError::NoTools);
            }
            self.sorted(key, progress)
        })
    }

    fn sorted(&self, key: &DataKey, progress: &mut dyn FnMut(u8)) -> Result<Work, CompositeError> {
        let pictures = self.finish.entry.outputs.composite.is_some();
        let file = self.spool.nameless().map_err(CompositeError::Output)?;
        let source = self.finish.source(key);
        let mut control = Control { cancelled: &|| self.is_over(), progress };
        Work::make(&source, &self.order, pictures, file, &mut control)
    }

    /// None: it cannot be made. A work file that turns out to be damaged is made anew. What lacks tracks for
    /// want of time alone is made once more, if there is time.
    fn made(
        &self,
        (work, key): (&mut Work, &DataKey),
        recipients: &Recipients,
        kind: ArtifactKind,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Option<Vec<Artifact>>, FinishError> {
        let (opened, artifacts) = (Vec::new(), Vec::new());
        let mut sealing = Sealing { spool: self.spool, recipients, opened, artifacts };
        let (name, order) =
            (if kind == ArtifactKind::AudioMix { "audio mix" } else { "composite" }, &self.order);
        let mut is_damaged = false;
        let done = self.tried(name, |tries| {
            let begun = Instant::now();
            sealing.clear().map_err(CompositeError::Output)?;
            if std::mem::take(&mut is_damaged) {
                *work = self.sorted(key, &mut |_| {})?;
            }
            let tools = self.finish.composites.ok_or(CompositeError::NoTools)?;
            let mut control = Control { cancelled: &|| self.is_over(), progress };
            let done = match kind {
                ArtifactKind::AudioMix => audio_mix(tools, work, order, &mut sealing, &mut control),
                _ => composite(tools, work, order, &mut sealing, &mut control),
            };
            is_damaged = matches!(done, Err(CompositeError::Work(_)));
            match done {
                Ok(Done { late, .. })
                    if late > 0
                        && tries.may_be_late()
                        && has_time_for(begun.elapsed(), self.left()) =>
                {
                    Err(CompositeError::Late(late))
                }
                other => other,
            }
        })?;
        let Some(Done { flawed, .. }) = done else {
            sealing.clear()?;
            return Ok(None);
        };
        if flawed > 0 {
            let recording = self.finish.entry.id;
            tracing::warn!(%recording, name, flawed, "tracks could not be decoded to the end");
        }
        let mut artifacts = sealing.artifacts;
        for artifact in artifacts.iter_mut().filter(|artifact| artifact.kind == kind) {
            artifact.flawed_tracks = flawed;
        }
        Ok(Some(artifacts))
    }

    /// None: each try failed, or it took too long.
    ///
    /// # Errors
    /// [`FinishError::NoRoom`] until half of the age is over: then it is left out, as what takes too long.
    fn tried<T>(
        &self,
        name: &str,
        mut work: impl FnMut(&Tries) -> Result<T, CompositeError>,
    ) -> Result<Option<T>, FinishError> {
        let recording = self.finish.entry.id;
        let mut tries = Tries { left: COMPOSITE_TRIES_MAX, was_late: false };
        while tries.left > 0 {
            if self.is_late() {
                tracing::warn!(%recording, name, "left out: it took too long, or half of the age is over");
                return Ok(None);
            }
            let begun = || {
                tracing::debug!(%recording, name, "a composite is made");
                work(&tries)
            };
            let failed = match caught(begun) {
                Some(Ok(made)) => return Ok(Some(made)),
                _ if self.finish.cancel.is_set() => return Err(FinishError::Cancelled),
                failed => failed.and_then(Result::err),
            };
            // What was begun is given back at once: live recordings need the room. Room comes back.
            if failed.as_ref().is_some_and(|error| self.lacks_room(error)) && !self.is_late() {
                tracing::warn!(%recording, name, "no room: it is made again when there is some");
                return Err(FinishError::NoRoom);
            }
            let is_final = failed.as_ref().is_some_and(CompositeError::is_final);
            let error = failed.as_ref().map_or_else(|| "a defect".to_owned(), ToString::to_string);
            tries.failed(failed.as_ref());
            tracing::warn!(%recording, name, tries_left = tries.left, %error, "composite_failed");
            if is_final {
                break;
            }
        }
        Ok(None)
    }

    fn lacks_room(&self, error: &CompositeError) -> bool {
        match error {
            CompositeError::Cancelled => self.is_crowded(),
            CompositeError::Output(error) => is_full(error),
            _ => false,
        }
    }

    /// It took too long, or what else there is would miss its age.
    fn is_late(&self) -> bool {
        self.left().is_zero()
    }

    /// Until it takes too long, or what else there is would miss its age.
    fn left(&self) -> Duration {
        let now_ms = self.finish.ages.now_ms();
        let of_age = self.finish.patience.shown_until_ms.map(|at| at.saturating_sub(now_ms));
        let left = self.time.saturating_sub(self.begun.elapsed());
        left.min(of_age.map_or(left, Duration::from_millis))
    }

    fn is_over(&self) -> bool {
        self.finish.cancel.is_set() || self.is_late() || self.is_crowded()
    }

    /// Whether live recordings need the room that is taken here. Looks at the disk once a second; it stays
    /// so.
    fn is_crowded(&self) -> bool {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let (looked_at, is_crowded) = &mut *disk;
        if !*is_crowded && looked_at.elapsed() >= DISK_LOOK {
            let space = Space::of(self.finish.folder.path());
            *is_crowded = space.is_ok_and(|space| !has_room(space, 0));
            *looked_at = Instant::now();
        }
        *is_crowded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tries are made of what ends so, and whether something comes of it.
    fn made(ends: &[Result<u32, CompositeError>]) -> (usize, bool) {
        let mut tries = Tries { left: COMPOSITE_TRIES_MAX, was_late: false };
        let mut count = 0;
        while tries.left > 0 {
            let end = &ends[count];
            count += 1;
            match end {
                Ok(late) if *late > 0 && tries.may_be_late() => {
                    tries.failed(Some(&CompositeError::Late(*late)));
                }
                Ok(_) => return (count, true),
                Err(error) => tries.failed(Some(error)),
            }
        }
        (count, false)
    }

    #[test]
    fn what_comes_late_is_not_lost_to_tries_that_fail() {
        let fails = || Err(CompositeError::Stalled);
        assert_eq!(made(&[fails(), fails(), Ok(1)]), (3, true), "the last one is kept");
        assert_eq!(made(&[Ok(1), fails(), fails(), Ok(0)]), (4, true));
        assert_eq!(made(&[Ok(1), Ok(1)]), (2, true), "late once more");
        assert_eq!(made(&[Ok(1), fails(), fails(), fails()]), (4, false));
        assert_eq!(made(&[fails(), fails(), fails()]), (3, false));
    }
}
