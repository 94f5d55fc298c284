//! Whether the disk has room for composite, HLS and audio mix beside the tracks.

use std::collections::BTreeSet;

use super::{Finish, FinishError, Raw, has_room};
use crate::{
    composite::bytes_max,
    journal::{Folder, Space},
    limits::{VOICE_BITS_PER_SECOND, VOICES_MAX},
    service::{
        ledger::Outputs,
        spool::{Live, Spool},
    },
};

/// Bytes of sealed tracks, about as many as of the journal, and of the journal's files that are not sealed.
pub(super) fn bytes_to_make(
    outputs: &Outputs,
    folder: &Folder,
    live: &Live,
    past_unreadable: bool,
) -> Result<u64, FinishError> {
    let sealed = live.names();
    let mut bytes = 0;
    for (number, path) in folder.files()? {
        let length = match path.metadata() {
            Err(_) if past_unreadable => continue,
            found => found?.len(),
        };
        let is_raw = outputs.journal && !sealed.contains(&*Raw::name(number));
        bytes += length * (u64::from(!outputs.is_journal_only()) + u64::from(is_raw));
    }
    Ok(bytes)
}

impl Finish<'_> {
    /// Until half of its age is over it waits for room: the operator is told. Then tracks come first.
    ///
    /// # Errors
    /// [`FinishError::NoRoom`], or the folder's.
    pub(super) fn look_at_room(&self) -> Result<(), FinishError> {
        let is_late = self.patience.shown_until_ms.is_some_and(|at| self.now_ms >= at);
        if self.composites.is_none() || is_late {
            return Ok(());
        }
        let ((from_ms, to_ms), outputs) = (self.row_times(), &self.entry.outputs);
        let seconds = (to_ms - from_ms).div_ceil(1000);
        let shown = shown_bytes(outputs, seconds);
        if shown == 0 {
            return Ok(());
        }
        let mut journal = 0u64;
        for (_, path) in self.folder.files()? {
            journal = journal.saturating_add(path.metadata()?.len());
        }
        // The work file holds the same media; without pictures only voices.
        let work = match outputs.composite {
            Some(_) => journal,
            None => journal.min(voice_bytes(seconds, self.people())),
        };
        let live = Spool::of(self.folder).live()?;
        let rest = bytes_to_make(outputs, self.folder, &live, self.patience.is_last)?;
        let bytes = shown.saturating_add(work).saturating_add(rest);
        match has_room(Space::of(self.folder.path())?, bytes) {
            true => Ok(()),
            false => Err(FinishError::NoRoom),
        }
    }

    /// Who was there; nothing known: as many as may be.
    fn people(&self) -> usize {
        let people: BTreeSet<_> = self.timeline.stays.iter().map(|stay| stay.participant).collect();
        if people.is_empty() { VOICES_MAX } else { people.len() }
    }
}

/// Of voices in a work file: each may send a microphone and the sound of a screen.
fn voice_bytes(seconds: u64, people: usize) -> u64 {
    let voices = people.saturating_mul(2).min(VOICES_MAX) as u64;
    seconds.saturating_mul(voices).saturating_mul(VOICE_BITS_PER_SECOND / 8)
}

fn shown_bytes(outputs: &Outputs, seconds: u64) -> u64 {
    bytes_max(seconds, outputs.composite.is_some(), outputs.hls, outputs.audio_mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        composite::{Canvas, Layout},
        service::ledger::Composite,
    };

    #[test]
    fn room_is_wanted_for_what_is_made_by_its_length() {
        let composite = Some(Composite { layout: Layout::Grid, canvas: Canvas::HD });
        let tracks = Outputs { tracks: true, ..Outputs::default() };
        let (picture, sound) = (
            Outputs { composite, ..tracks.clone() },
            Outputs { audio_mix: true, ..tracks.clone() },
        );
        let hls = Outputs { hls: true, ..picture.clone() };
        let hour = |outputs| shown_bytes(outputs, 3600);
        assert_eq!(hour(&tracks), 0);
        assert!((2_700_000_000..3_000_000_000).contains(&hour(&picture)), "6 Mbit/s");
        assert_eq!(hour(&hls), 2 * hour(&picture));
        assert!((43_000_000..60_000_000).contains(&hour(&sound)), "96 kbit/s");
        assert_eq!(hour(&Outputs { hls: true, ..sound.clone() }), hour(&sound), "HLS of nothing");
    }

    #[test]
    fn a_mix_alone_wants_room_for_voices_only() {
        assert_eq!(voice_bytes(3600, 2), 4 * 3600 * VOICE_BITS_PER_SECOND / 8);
        assert_eq!(voice_bytes(1, VOICES_MAX), voice_bytes(1, usize::MAX), "more are not mixed");
    }
}
