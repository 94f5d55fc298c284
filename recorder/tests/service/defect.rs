//! A defect that media bring about ends no more than what it is in. It is brought about where the
//! recorder notes what it begins: whoever writes that down panics.

use std::{
    fmt::{Debug, Write as _},
    sync::{Mutex, Once},
};

use recorder::{
    composite::{Sandbox, Tools},
    evidence::ArtifactKind,
    service::ledger::{News, Outputs},
};
use sfu_proto::id::RecordingId;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::world::{World, records};

/// Recordings, and what is noted when they are to fail.
static DEFECTS: Mutex<Vec<(String, &str)>> = Mutex::new(Vec::new());

fn fail(id: RecordingId, when: &'static str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Defective).unwrap());
    DEFECTS.lock().unwrap().push((id.to_string(), when));
}

struct Defective;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{value:?} ");
    }
}

impl Subscriber for Defective {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("recorder::service::finish")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let defects = DEFECTS.lock().unwrap().clone();
        let is_one = |(id, when): &(String, &str)| text.0.contains(id) && text.0.contains(when);
        assert!(!defects.iter().any(is_one), "a defect, on purpose");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_no_files_can_be_made_of_for_a_defect_is_handed_over() {
    let world = World::new("panic");
    let id = RecordingId::from_bits(401);
    fail(id, "files are made");
    let (recorder, tap) = world.start();
    world.record(&tap, world.row(id), records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "00000001.journal.age").await;
    assert_eq!(world.ledger.trouble().makes[&id], 3, "tried twice before");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_arrive_when_a_defect_ends_what_is_made_of_them() {
    let mut world = World::new("panic-shown");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    let id = RecordingId::from_bits(402);
    fail(id, "a composite is made");
    let (recorder, tap) = world.start();
    let mut row = world.row(id);
    row.0.outputs = Outputs { tracks: true, audio_mix: true, ..Outputs::default() };
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, ".ogg.age").await;
    assert_eq!(world.ledger.trouble().makes[&id], 1, "at once");
    let lacks_it = |news: &News| matches!(news, News::Finalized { missing, .. } if missing == &[ArtifactKind::AudioMix]);
    assert!(world.ledger.told(id).iter().any(lacks_it));
    recorder.shut_down().await;
}
