//! What a process before this one made or sent is neither made twice nor left behind.

use std::fs;

use recorder::service::ledger::{News, State};
use sfu_proto::id::RecordingId;

use crate::world::{Sound, World, records, until};

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_whole_are_not_made_anew_when_the_step_was_lost() {
    let world = World::new("whole-export");
    let id = RecordingId::from_bits(411);
    let (first, tap) = world.start();
    let mut row = world.row(id);
    row.0.target = None;
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    first.shut_down().await;
    world.ledger.change(id, |row| {
        (row.state, row.target) = (State::Finalizing, Some("st_local".to_owned()));
        row.artifacts.clear();
    });
    let (second, _tap) = world.start();
    world.until_delivered(&second, id, ".ogg.age").await;
    assert_eq!(world.ledger.trouble().makes[&id], 1, "made once");
    let told = world.ledger.told(id);
    let made = told.iter().filter(|news| matches!(news, News::Finalized { seconds: 2, .. }));
    assert_eq!(made.count(), 2, "told with what is in them: {told:?}");
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_half_sent_is_taken_back_before_files_are_made_anew() {
    let mut world = World::new("half-sent");
    world.rate = std::num::NonZeroU64::new(256 * 1024);
    let id = RecordingId::from_bits(412);
    let (first, tap) = world.start();
    let sound = Sound { index: 0, seconds: 100, padding: 1000 };
    world.record(&tap, world.row(id), sound.records(id)).await;
    world.ledger.stop_now(id);
    let half = || {
        let files = World::files(&world.partner());
        files.into_iter().any(|file| file.to_string_lossy().ends_with(".part"))
    };
    // The storage has it a moment before it is written down.
    let under_way = || half() && world.folder(id).join("push.json").exists();
    until("the push is under way", under_way).await;
    first.shut_down().await;
    assert!(under_way());
    fs::remove_file(world.folder(id).join("export.json")).unwrap();
    world.ledger.change(id, |row| row.path = "elsewhere/{recording}/{artifact}".to_owned());
    world.rate = None;
    let (second, _tap) = world.start();
    world.until_delivered(&second, id, ".ogg.age").await;
    let parts = World::files(&world.partner());
    assert!(!parts.iter().any(|file| file.to_string_lossy().ends_with(".part")), "{parts:?}");
    second.shut_down().await;
}
