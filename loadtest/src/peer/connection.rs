//! A webrtc-rs peer connection that offers VP8 and Opus.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rtc::{
    peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8},
    rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind},
};
use tokio::{sync::watch, time::timeout};
use webrtc::{
    media_stream::track_remote::TrackRemote,
    peer_connection::{
        MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
        RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry,
        register_default_interceptors,
    },
};

use super::http::{self, Resource};

/// Payload type of Opus in our offers.
pub(crate) const OPUS_PAYLOAD_TYPE: u8 = 111;
/// Payload type of VP8 in our offers.
pub(crate) const VP8_PAYLOAD_TYPE: u8 = 96;

/// Opus as offered.
pub(crate) fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// VP8 as offered; the default interceptors add its feedback types.
pub(crate) fn vp8() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    }
}

/// What a peer does with an incoming track.
pub(crate) type OnTrack = Box<dyn Fn(Arc<dyn TrackRemote>) + Send + Sync>;

struct Handler {
    on_track: OnTrack,
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        (self.on_track)(track);
    }
}

/// A peer connection and its news.
pub(crate) struct Connection {
    pub(crate) peer: Arc<dyn PeerConnection>,
    gathered: watch::Receiver<bool>,
    state: watch::Receiver<RTCPeerConnectionState>,
}

impl Connection {
    /// A connection on every interface and on loopback.
    pub(crate) async fn new(on_track: OnTrack) -> Result<Self> {
        let (gathered_tx, gathered) = watch::channel(false);
        let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
        let mut engine = MediaEngine::default();
        let codec = |rtp_codec, payload_type| RTCRtpCodecParameters { rtp_codec, payload_type };
        engine.register_codec(codec(opus(), OPUS_PAYLOAD_TYPE), RtpCodecKind::Audio)?;
        engine.register_codec(codec(vp8(), VP8_PAYLOAD_TYPE), RtpCodecKind::Video)?;
        let registry = register_default_interceptors(Registry::new(), &mut engine)?;
        let handler = Arc::new(Handler { on_track, gathered: gathered_tx, state: state_tx });
        let builder = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_handler(handler)
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned(), "0.0.0.0:0".to_owned()]);
        let peer = Box::pin(builder.build()).await.context("cannot build a peer connection")?;
        Ok(Self { peer: Arc::new(peer), gathered, state })
    }

    /// Offers to the endpoint and applies its answer.
    pub(crate) async fn negotiate(&mut self, url: &str, token: &str) -> Result<Resource> {
        const GATHERING_MAX: Duration = Duration::from_secs(5);
        let offer = self.peer.create_offer(None).await.context("cannot make an offer")?;
        self.peer.set_local_description(offer).await.context("own offer")?;
        // The server is ICE lite and learns our address from checks: candidates are no condition.
        let _ = timeout(GATHERING_MAX, self.gathered.wait_for(|gathered| *gathered)).await;
        let offer = self.peer.local_description().await.context("no offer")?;
        let (answer, resource) = http::post(url, token, offer.sdp).await?;
        let answer = RTCSessionDescription::answer(answer).context("the server's answer")?;
        self.peer.set_remote_description(answer).await.context("the server's answer")?;
        Ok(resource)
    }

    /// Waits for ICE and DTLS; `None` when they did not come up in time.
    pub(crate) async fn connected(&mut self, within: Duration) -> Option<Duration> {
        let start = Instant::now();
        let up = self.state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        timeout(within, up).await.ok()?.ok()?;
        Some(start.elapsed())
    }

    /// Whether ICE and DTLS are up now.
    pub(crate) fn is_connected(&self) -> bool {
        *self.state.borrow() == RTCPeerConnectionState::Connected
    }
}
