//! Whether the disk has room for composite, HLS and audio mix beside the tracks.

use super::{Finish, FinishError, Raw, has_room};
use crate::{
    composite::bytes_max,
    journal::{Folder, Space},
    service::{ledger::Outputs, spool::Live},
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
        let (from_ms, to_ms) = self.row_times();
        let shown = shown_bytes(&self.entry.outputs, (to_ms - from_ms).div_ceil(1000));
        if shown == 0 {
            return Ok(());
        }
        let mut bytes = shown;
        for (_, path) in self.folder.files()? {
            // For the sealed tracks, and for the work file: it holds the same media.
            bytes = bytes.saturating_add(path.metadata()?.len().saturating_mul(2));
        }
        match has_room(Space::of(self.folder.path())?, bytes) {
            true => Ok(()),
            false => Err(FinishError::NoRoom),
        }
    }
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
}
