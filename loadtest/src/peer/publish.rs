//! Publishes synthetic VP8 (20 frames of 3 packets a second) and Opus (50 packets a second).

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use rtc::{
    media_stream::MediaStreamTrack,
    rtp,
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
    },
};
use tokio::time::{Instant, interval, timeout_at};
use webrtc::media_stream::track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP};

use super::{
    Options, Report,
    connection::{Connection, OPUS_PAYLOAD_TYPE, VP8_PAYLOAD_TYPE, opus, vp8},
    content::{self, Vp8},
};

const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// RTP clock ticks of one audio packet at 48 kHz.
const AUDIO_TICKS: u32 = 960;
const AUDIO_BODY_LEN: u16 = 80;
const VIDEO_INTERVAL: Duration = Duration::from_millis(50);
/// RTP clock ticks of one frame at 90 kHz.
const VIDEO_TICKS: u32 = 4_500;
const VIDEO_BODY_LEN: u16 = 1_000;
const PACKETS_PER_FRAME: u32 = 3;
/// A key frame each second, so that a late subscriber need not ask.
const FRAMES_PER_KEY: u32 = 20;

/// Publishes until the time is over.
pub(super) async fn run(url: &str, options: &Options) -> Result<Report> {
    let mut report = Report::new("publish");
    let mut connection = Connection::new(Box::new(|_| {})).await?;
    let audio = Track::add(&connection, "audio", RtpCodecKind::Audio, opus()).await?;
    let video = Track::add(&connection, "video", RtpCodecKind::Video, vp8()).await?;
    let resource = connection.negotiate(url, &options.token).await?;
    let connected = connection.connected(options.connect_time()).await;
    report.connected_ms = connected.map(|time| time.as_millis() as u64);
    if connected.is_some() {
        let end = Instant::now() + options.duration();
        let (audio, video) = tokio::join!(send_audio(audio, end), send_video(video, end));
        (report.audio_sent, report.video_sent) = (audio?, video?);
    }
    report.passed = connection.is_connected() && report.audio_sent > 0 && report.video_sent > 0;
    report.deleted = Some(resource.delete().await?);
    connection.peer.close().await?;
    Ok(report)
}

/// A track that packets can be written to.
pub(crate) struct Track {
    local: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: u8,
    seq: u16,
}

impl Track {
    pub(crate) async fn add(
        connection: &Connection,
        label: &str,
        kind: RtpCodecKind,
        codec: RTCRtpCodec,
    ) -> Result<Self> {
        let ssrc = rand::random();
        let payload_type = match kind {
            RtpCodecKind::Video => VP8_PAYLOAD_TYPE,
            _ => OPUS_PAYLOAD_TYPE,
        };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..Default::default()
            },
            codec,
            ..Default::default()
        };
        let (stream, id) = ("loadtest".to_owned(), format!("loadtest-{label}"));
        let track = MediaStreamTrack::new(stream, id, label.to_owned(), kind, vec![encoding]);
        let local = Arc::new(TrackLocalStaticRTP::new(track));
        let added = Arc::clone(&local) as Arc<dyn TrackLocal>;
        connection.peer.add_track(added).await.context("cannot add a track")?;
        Ok(Self { local, ssrc, payload_type, seq: rand::random() })
    }

    pub(crate) async fn write(
        &mut self,
        timestamp: u32,
        marker: bool,
        payload: Vec<u8>,
    ) -> Result<()> {
        let header = rtp::header::Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            sequence_number: self.seq,
            timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        self.seq = self.seq.wrapping_add(1);
        let packet = rtp::Packet { header, payload: Bytes::from(payload) };
        self.local.write_rtp(packet).await.context("cannot write RTP")
    }
}

async fn send_audio(mut track: Track, end: Instant) -> Result<u64> {
    let mut clock = interval(AUDIO_INTERVAL);
    let mut number = 0u32;
    while timeout_at(end, clock.tick()).await.is_ok() {
        let payload = content::opus(number, AUDIO_BODY_LEN);
        track.write(number.wrapping_mul(AUDIO_TICKS), number == 0, payload).await?;
        number += 1;
    }
    Ok(u64::from(number))
}

async fn send_video(mut track: Track, end: Instant) -> Result<u64> {
    let mut clock = interval(VIDEO_INTERVAL);
    let (mut frame, mut number) = (0u32, 0u32);
    while timeout_at(end, clock.tick()).await.is_ok() {
        for i in 0..PACKETS_PER_FRAME {
            let key = frame.is_multiple_of(FRAMES_PER_KEY);
            let place = Vp8 { picture: frame as u16, first: i == 0, key };
            let payload = content::vp8(number, VIDEO_BODY_LEN, place);
            let last = i + 1 == PACKETS_PER_FRAME;
            track.write(frame.wrapping_mul(VIDEO_TICKS), last, payload).await?;
            number += 1;
        }
        frame += 1;
    }
    Ok(u64::from(number))
}
