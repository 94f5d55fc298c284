//! What an operator sees while a recording waits, and a partner while it is made.

use std::num::NonZeroU64;

use prometheus::Registry;
use recorder::service::ledger::State;
use sfu_proto::id::RecordingId;

use crate::world::{Sound, World, records, until};

/// A gauge, or how often a histogram was told something.
fn figure(registry: &Registry, name: &str) -> f64 {
    let name = format!("conclave_recorder_{name}");
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let metric = &family.unwrap_or_else(|| panic!("no {name}")).get_metric()[0];
    // What a metric is not counts as nothing.
    metric.get_gauge().get_value() + metric.get_histogram().get_sample_count() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_what_waits_and_for_how_long() {
    const HOUR_MS: u64 = 3_600_000;
    let (world, registry) = (World::new("figures"), Registry::new());
    let id = RecordingId::from_bits(6401);
    let mut row = world.row(id);
    row.0.target = Some("st_missing".to_owned());
    let (recorder, tap) = world.start_measured(&registry);
    let figure = |name: &str| figure(&registry, name);
    world.record(&tap, row, records(id, 2)).await;
    until("it is counted as live", || figure("live") == 1.0).await;
    until("the disk was waited for", || figure("sync_seconds") >= 1.0).await;
    assert_eq!(["push_blocked", "oldest_seconds", "push_lag_bytes"].map(figure), [0.0; 3]);

    world.ledger.stop_now(id);
    world.ledger.change(id, |row| row.stopped_at_ms = row.stopped_at_ms.map(|at| at - HOUR_MS));
    world.until_state(id, State::PushBlocked).await;
    let sealed: u64 = world.ledger.row(id).artifacts.iter().map(|file| file.bytes).sum();
    assert!(sealed > 0);
    until("it is blocked", || figure("push_blocked") == 1.0).await;
    until("what waits is counted", || figure("push_lag_bytes") == sealed as f64).await;
    assert!((3600.0..4000.0).contains(&figure("oldest_seconds")));
    assert_eq!(["live", "unpurged"].map(figure), [0.0, 1.0]);

    world.ledger.set_target("st_missing", world.target());
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_delivered(&recorder, id, ".ogg.age").await;
    for name in ["push_blocked", "push_lag_bytes", "oldest_seconds", "unpurged"] {
        until(name, || figure(name) == 0.0).await;
    }
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_how_far_its_push_is() {
    let mut world = World::new("percents");
    // Six seconds for files of 200 kB, so that its row is told of more than once: every two seconds.
    world.rate = NonZeroU64::new(135_000);
    let id = RecordingId::from_bits(6402);
    let (recorder, tap) = world.start();
    let sounds = (0..4).map(|index| Sound { index, seconds: 4, padding: 1000 });
    world.record(&tap, world.row(id), sounds.flat_map(|sound| sound.records(id)).collect()).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, ".ogg.age").await;
    let made = world.ledger.percents(id, State::Finalizing);
    assert_eq!(made.first(), Some(&0), "{made:?}");
    let pushed = world.ledger.percents(id, State::Pushing);
    assert!(pushed.is_sorted() && pushed.first() == Some(&0), "{pushed:?}");
    assert!(pushed.iter().any(|percent| (1..100).contains(percent)), "{pushed:?}");
    recorder.shut_down().await;
}
