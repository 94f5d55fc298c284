//! Watches a room: receives one audio and one video track and counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use webrtc::{
    media_stream::track_remote::{TrackRemote, TrackRemoteEvent},
    rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit},
};

use super::{
    Options, Report,
    connection::Connection,
    tally::{Received, Tally},
};

/// Counts by kind and SSRC.
type Tallies = Arc<Mutex<HashMap<(bool, u32), Tally>>>;

/// Watches until the time is over.
pub(super) async fn run(url: &str, options: &Options) -> Result<Report> {
    let mut report = Report::new("watch");
    let tallies = Tallies::default();
    let counted = Arc::clone(&tallies);
    let on_track = move |track| drop(tokio::spawn(count(track, Arc::clone(&counted))));
    let mut connection = Connection::new(Box::new(on_track)).await?;
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        let direction = RTCRtpTransceiverDirection::Recvonly;
        let init = RTCRtpTransceiverInit { direction, ..Default::default() };
        let added = connection.peer.add_transceiver_from_kind(kind, Some(init)).await;
        added.context("cannot add a receiver")?;
    }
    let resource = connection.negotiate(url, &options.token).await?;
    let connected = connection.connected(options.connect_time()).await;
    report.connected_ms = connected.map(|time| time.as_millis() as u64);
    if connected.is_some() {
        tokio::time::sleep(options.duration()).await;
    }
    report.audio = total(&tallies, false);
    report.video = total(&tallies, true);
    report.passed = connection.is_connected() && is_good(&report, options.expect_synthetic);
    report.deleted = Some(resource.delete().await?);
    connection.peer.close().await?;
    Ok(report)
}

fn is_good(report: &Report, expect_synthetic: bool) -> bool {
    let (audio, video) = (&report.audio, &report.video);
    let anything = audio.packets + video.packets > 0;
    let intact = audio.corrupt + video.corrupt == 0;
    let synthetic = audio.synthetic > 0 && video.synthetic > 0;
    anything && intact && (synthetic || !expect_synthetic)
}

fn total(tallies: &Tallies, video: bool) -> Received {
    let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
    let mut total = Received::default();
    for (_, tally) in tallies.iter().filter(|((is_video, _), _)| *is_video == video) {
        total += tally.received();
    }
    total
}

async fn count(track: Arc<dyn TrackRemote>, tallies: Tallies) {
    let video = track.kind().await == RtpCodecKind::Video;
    while let Some(event) = track.poll().await {
        if let TrackRemoteEvent::OnRtpPacket(packet) = event {
            let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
            let tally = tallies.entry((video, packet.header.ssrc)).or_default();
            tally.add(packet.header.sequence_number, &packet.payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(packets: u64, synthetic: u64, corrupt: u64) -> Report {
        let received = Received { packets, synthetic, corrupt, ..Received::default() };
        Report { audio: received.clone(), video: received, ..Report::new("watch") }
    }

    #[test]
    fn nothing_received_or_anything_corrupt_does_not_pass() {
        assert!(!is_good(&report(0, 0, 0), false));
        assert!(!is_good(&report(10, 9, 1), false));
        assert!(is_good(&report(10, 0, 0), false));
        assert!(!is_good(&report(10, 0, 0), true));
        assert!(is_good(&report(10, 10, 0), true));
    }
}
