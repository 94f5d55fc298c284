//! Making files needs room, and leaves live recordings theirs.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, process::Command, time::Duration};

use recorder::{
    composite::{Sandbox, Tools},
    journal::Space,
    limits::LIVE_LOOK,
    service::ledger::{Block, News, State},
};
use sfu_proto::id::RecordingId;

use crate::{
    live::{self, Feed},
    world::{Sound, World, records, until},
};

/// Set in the process that runs on the small disk.
const CHILD: &str = "CONCLAVE_TEST_SMALL_DISK";

/// The mount is seen by the child only and ends with it.
#[test]
fn files_wait_until_the_disk_has_room_for_them() {
    let disk = std::env::temp_dir().join(format!("conclave-room-{}", std::process::id()));
    fs::create_dir(&disk).unwrap();
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let alone: &[&str] =
        if root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let script = "mount -t tmpfs -o size=64m none \"$1\" && TMPDIR=\"$1\" exec \"$2\" \
                  --exact room::child_on_a_small_disk --ignored --nocapture";
    let output = Command::new("unshare")
        .args(alone)
        .args(["sh", "-c", script, "sh"])
        .arg(&disk)
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .expect("unshare of util-linux is installed");
    fs::remove_dir(&disk).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{failed}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on the small disk that the other test mounts"]
async fn child_on_a_small_disk() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    let world = World::new("room");
    let id = RecordingId::from_bits(171);
    let (recorder, tap) = world.start();
    // 2 MB of journal; a twentieth of the disk is 3.2 MB.
    let sound = Sound { index: 0, seconds: 40, padding: 1000 };
    world.record(&tap, world.row(id), sound.records(id)).await;
    let filler = world.root.join("filler");
    let free = Space::of(&world.root).unwrap().free;
    fs::write(&filler, vec![1; usize::try_from(free - 5_000_000).unwrap()]).unwrap();
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::SpoolFull, .. });
    until("it is told", || world.ledger.told(id).iter().any(is_told)).await;
    assert!(!World::files(&world.folder(id)).iter().any(|file| file.ends_with("export.json")));
    fs::remove_file(&filler).unwrap();
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_delivered(&recorder, id, ".ogg.age").await;
    recorder.shut_down().await;
    nothing_is_sealed_ahead_without_room().await;
    nothing_is_sealed_again_without_room().await;
    a_mix_that_runs_out_of_room_is_made_when_there_is_some().await;
}

async fn a_mix_that_runs_out_of_room_is_made_when_there_is_some() {
    let mut world = World::new("room-mix");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    let id = RecordingId::from_bits(173);
    let mut row = world.row(id);
    row.0.outputs.audio_mix = true;
    let (recorder, tap) = world.start();
    // So long that the disk is looked at while it is mixed.
    world.record(&tap, row, records(id, 600)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.ledger.stop_now(id);
    let out = world.folder(id).join("out");
    let is_mixed = |file: &PathBuf| file.to_string_lossy().contains("mix");
    until("it is mixed", || out.exists() && World::files(&out).iter().any(is_mixed)).await;
    let filler = world.root.join("filler");
    let free = Space::of(&world.root).unwrap().free;
    fs::write(&filler, vec![1; usize::try_from(free - 2_000_000).unwrap()]).unwrap();
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::SpoolFull, .. });
    until("it is told", || world.ledger.told(id).iter().any(is_told)).await;
    fs::remove_file(&filler).unwrap();
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_delivered(&recorder, id, "audio-mix.ogg.age").await;
    recorder.shut_down().await;
}

async fn nothing_is_sealed_again_without_room() {
    let mut world = World::new("room-again");
    world.rotation = live::SMALL;
    let id = RecordingId::from_bits(174);
    let (first, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, live::row(&world, id)).await;
    feed.fill(&world, &tap, 20).await;
    let there = live::at(&world.partner(), id);
    until("closed files arrive", || live::has(&there, 20)).await;
    first.shut_down().await;
    live::age(&world, id);
    let mut gone = 0;
    for number in 1..=20 {
        let file = there.join(format!("{number:08}.journal.age"));
        gone += fs::metadata(&file).unwrap().len();
        fs::remove_file(file).unwrap();
    }
    // Enough for the last file, and for what is gone; but not for a twentieth besides, which is 3.2 MB.
    let filler = world.root.join("filler");
    let free = Space::of(&world.root).unwrap().free;
    fs::write(&filler, vec![1; usize::try_from(free - gone - 1_500_000).unwrap()]).unwrap();
    let (second, _tap) = world.start();
    world.ledger.stop_now(id);
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::SpoolFull, .. });
    until("it is told", || world.ledger.told(id).iter().any(is_told)).await;
    assert!(world.folder(id).join("export.json").exists(), "all else was made");
    fs::remove_file(&filler).unwrap();
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_delivered(&second, id, "00000020.journal.age").await;
    assert_eq!(world.ledger.trouble().makes[&id], 1, "made once");
    second.shut_down().await;
}

async fn nothing_is_sealed_ahead_without_room() {
    let mut world = World::new("room-live");
    world.rotation = live::SMALL;
    let id = RecordingId::from_bits(172);
    let (recorder, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, live::row(&world, id)).await;
    let filler = world.root.join("filler");
    let free = Space::of(&world.root).unwrap().free;
    fs::write(&filler, vec![1; usize::try_from(free - 3_200_000).unwrap()]).unwrap();
    feed.fill(&world, &tap, 3).await;
    tokio::time::sleep(LIVE_LOOK + Duration::from_secs(1)).await;
    let there = live::at(&world.partner(), id);
    assert!(!live::has(&there, 1), "what is recorded needs the room");
    assert_eq!(world.ledger.state(id), State::Live, "it goes on");
    fs::remove_file(&filler).unwrap();
    until("there is room", || live::has(&there, 3)).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "00000004.journal.age").await;
    recorder.shut_down().await;
}
