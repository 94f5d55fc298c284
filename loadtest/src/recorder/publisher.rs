//! A WHIP publisher of the film, which notes when it sent what.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time::interval};

use super::film::Film;
use crate::{
    load::server::Target,
    peer::{
        connection::{Connection, opus, vp8},
        http::Resource,
        publish::Track,
    },
};

const PICTURE: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// RTP clock ticks of one picture at 90 kHz.
const PICTURE_TICKS: u32 = 3_000;
const SOUND: Duration = Duration::from_millis(20);
/// RTP clock ticks of one sound at 48 kHz.
const SOUND_TICKS: u32 = 960;
/// Until ICE and DTLS are up; the machine may be busy.
const CONNECT: Duration = Duration::from_secs(20);

/// What was sent when.
#[derive(Default)]
pub(super) struct Sent {
    /// Of each picture, by its index since the beginning.
    pictures: Mutex<Vec<Instant>>,
    /// Payload bytes, pictures and sounds.
    bytes: AtomicU64,
}

impl Sent {
    /// When this picture was sent.
    pub(super) fn at(&self, index: usize) -> Option<Instant> {
        self.lock().get(index).copied()
    }

    /// The picture with this number that was sent nearest to a moment.
    pub(super) fn nearest(&self, number: u32, moment: Instant) -> Option<usize> {
        let sent = self.lock();
        let away = |index: &usize| {
            let at = sent[*index];
            at.saturating_duration_since(moment).max(moment.saturating_duration_since(at))
        };
        (number as usize..sent.len()).step_by(Film::LENGTH).min_by_key(away)
    }

    /// Payload bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes until it is ended.
pub(super) struct Publisher {
    pub(super) sent: Arc<Sent>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<()>>,
    connection: Connection,
    resource: Resource,
}

impl Publisher {
    /// Comes into a room and begins to send, the pictures `hurry` times as fast as they were meant.
    pub(super) async fn start(
        target: &Target,
        room: &str,
        film: &Arc<Film>,
        hurry: u32,
    ) -> Result<Self> {
        let grants = json!({ "publish": ["camera", "microphone"] });
        let handle = format!("publisher-{:x}", rand::random::<u32>()); // Some share a room.
        let body = json!({ "handle": handle, "grants": grants });
        let minted = target.post(&format!("/v1/rooms/{room}/tokens"), &body, 0).await?;
        let token = minted["token"].as_str().context("token")?;
        let mut connection = Connection::new(Box::new(|_| {})).await?;
        let sound = Track::add(&connection, "audio", RtpCodecKind::Audio, opus()).await?;
        let picture = Track::add(&connection, "video", RtpCodecKind::Video, vp8()).await?;
        let resource = connection.negotiate(&format!("{}/v1/whip", target.url), token).await?;
        connection.connected(CONNECT).await.context("the publisher did not connect")?;
        let sent = Arc::<Sent>::default();
        let (stop, stopped) = watch::channel(false);
        let tracks = (sound, picture, hurry);
        let task = tokio::spawn(send(Arc::clone(film), tracks, Arc::clone(&sent), stopped));
        Ok(Self { sent, stop, task, connection, resource })
    }

    /// Leaves the room as one does.
    pub(super) async fn leave(self) -> Result<()> {
        let Self { stop, task, connection, resource, .. } = self;
        stop.send_replace(true);
        task.await??;
        resource.delete().await?;
        connection.peer.close().await.context("closing")
    }

    /// Ends without a word: the server is gone.
    pub(super) async fn abandon(self) {
        self.stop.send_replace(true);
        let _ = self.task.await; // Nobody was there to send to.
        let _ = self.connection.peer.close().await;
    }
}

async fn send(
    film: Arc<Film>,
    (sound, picture, hurry): (Track, Track, u32),
    sent: Arc<Sent>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let both = async {
        let sounds = send_sounds(&film, sound, &sent);
        tokio::try_join!(sounds, send_pictures(&film, (picture, hurry), &sent)).map(drop)
    };
    tokio::select! {
        ended = both => ended,
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}

async fn send_sounds(film: &Film, mut track: Track, sent: &Sent) -> Result<()> {
    let mut clock = interval(SOUND);
    for index in 0u32.. {
        clock.tick().await;
        let sound = &film.sounds[index as usize % film.sounds.len()];
        sent.bytes.fetch_add(sound.len() as u64, Relaxed);
        track.write(index.wrapping_mul(SOUND_TICKS), index == 0, sound.to_vec()).await?;
    }
    Ok(())
}

async fn send_pictures(film: &Film, (mut track, hurry): (Track, u32), sent: &Sent) -> Result<()> {
    let mut clock = interval(PICTURE / hurry);
    for index in 0usize.. {
        clock.tick().await;
        let payloads = film.payloads(index);
        let last = payloads.len() - 1;
        for (place, payload) in payloads.into_iter().enumerate() {
            sent.bytes.fetch_add(payload.len() as u64, Relaxed);
            let ticks = (index as u32).wrapping_mul(PICTURE_TICKS / hurry);
            track.write(ticks, place == last, payload).await?;
        }
        sent.lock().push(Instant::now());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_number_stands_for_the_picture_that_was_sent_nearest() {
        let (sent, begin) = (Sent::default(), Instant::now());
        let second = |s: f64| begin + Duration::from_secs_f64(s);
        sent.lock().extend((0..900).map(|index| second(f64::from(index) / 30.0)));
        assert_eq!(sent.nearest(5, second(0.0)), Some(5));
        assert_eq!(sent.nearest(5, second(11.0)), Some(305));
        assert_eq!(sent.nearest(299, second(9.0)), Some(299));
        assert_eq!(sent.nearest(0, second(100.0)), Some(600));
        assert_eq!(sent.at(899), Some(second(899.0 / 30.0)));
        assert_eq!(sent.at(900), None);
    }
}
