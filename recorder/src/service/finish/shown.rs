//! Composite, HLS and audio mix beside the tracks. That one cannot be made loses nothing else.

use std::{fs, io};

use sfu_proto::control::Source;

use super::{
    Finish, FinishError, caught,
    sealing::{Rule, SealedFile},
};
use crate::{
    composite::{
        Canvas, CompositeError, Control, Done, Layout, Made, Order, Outputs, audio_mix, composite,
    },
    evidence::{Artifact, ArtifactKind},
    finalize::Events,
    key::DataKey,
    limits::COMPOSITE_TRIES_MAX,
    seal::Recipients,
    service::{cancel::Stoppable, ledger::Composite, now_ms, spool::Spool},
};

/// Percent of all work that tracks are, when pictures are encoded too.
const TRACKS_PERCENT: u8 = 20;

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
    fn remove(self) -> io::Result<()> {
        self.opened.iter().try_for_each(|name| match fs::remove_file(self.spool.file(name)) {
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
    /// when something else is missing.
    pub(super) fn tracks_and_shown(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        key: &DataKey,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Shown, FinishError> {
        let (outputs, unmasked) = (&self.entry.outputs, self.unmasked()?);
        let masked: Vec<Source> = outputs.masks.iter().map(|mask| mask.source).collect();
        let wanted = outputs.tracks.then_some(recipients);
        let rule = Rule { masked: &masked, unmasked: unmasked.as_ref(), tracks: wanted };
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
        if !missing.is_empty() {
            let hides = |track: &crate::finalize::TrackResult| masked.contains(&track.file.source);
            if wanted.is_none() {
                let rule = Rule { masked: &masked, unmasked: None, tracks: Some(recipients) };
                artifacts.extend(self.tracks(spool, rule, key, &mut |_| {})?.0);
            }
            // All that hides something stays here; the rest arrives, and says what is missing.
            if artifacts.is_empty() && events.tracks.iter().any(hides) {
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
        let (mut artifacts, mut missing) = (Vec::new(), Vec::new());
        let mut rest = |percent: u8| {
            let percent = u16::from(percent) * u16::from(100 - TRACKS_PERCENT) / 100;
            progress(TRACKS_PERCENT + percent as u8);
        };
        for kind in self.wanted() {
            let made = match kind {
                ArtifactKind::Hls => continue, // Made with the composite.
                _ => self.tried(spool, recipients, key, &order, kind, &mut rest)?,
            };
            match made {
                Some(made) => artifacts.extend(made),
                None => missing.push(kind),
            }
        }
        if hls && missing.contains(&ArtifactKind::Composite) {
            missing.push(ArtifactKind::Hls);
        }
        Ok((artifacts, missing))
    }

    /// None: each try failed.
    fn tried(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        key: &DataKey,
        order: &Order<'_>,
        kind: ArtifactKind,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Option<Vec<Artifact>>, FinishError> {
        let recording = self.entry.id;
        for attempt in 1..=COMPOSITE_TRIES_MAX {
            if self.is_late() {
                tracing::warn!(%recording, ?kind, "left out: half of its age is over");
                return Ok(None);
            }
            let mut sealing =
                Sealing { spool, recipients, opened: Vec::new(), artifacts: Vec::new() };
            let source = self.source(key);
            match caught(|| self.once(&source, order, kind, &mut sealing, progress)) {
                Some(Ok(Done { flawed })) => {
                    if flawed > 0 {
                        tracing::warn!(%recording, flawed, "tracks could not be decoded to the end");
                    }
                    return Ok(Some(sealing.artifacts));
                }
                _ if self.cancel.is_set() => return Err(FinishError::Cancelled),
                failed => {
                    let error = failed.and_then(Result::err);
                    let is_final = error.as_ref().is_some_and(CompositeError::is_final);
                    let error = error.map(|error| error.to_string());
                    let error = error.unwrap_or_else(|| "a defect".to_owned());
                    tracing::warn!(%recording, ?kind, attempt, %error, "composite_failed");
                    sealing.remove()?;
                    if is_final {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    /// What else there is must not miss its age for it.
    fn is_late(&self) -> bool {
        self.patience.shown_until_ms.is_some_and(|at| now_ms() >= at)
    }

    fn once(
        &self,
        source: &Stoppable<'_>,
        order: &Order<'_>,
        kind: ArtifactKind,
        sealing: &mut Sealing<'_>,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Done, CompositeError> {
        let tools = self.composites.ok_or(CompositeError::NoTools)?;
        let cancelled = || self.cancel.is_set() || self.is_late();
        tracing::debug!(recording = %self.entry.id, ?kind, "a composite is made");
        let mut control = Control { cancelled: &cancelled, progress };
        match kind {
            ArtifactKind::AudioMix => audio_mix(tools, source, order, sealing, &mut control),
            _ => composite(tools, source, order, sealing, &mut control),
        }
    }
}
