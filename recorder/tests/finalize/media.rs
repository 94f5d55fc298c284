//! Encoded media from the ffmpeg program, frame by frame.

use std::process::{Command, Stdio};

use bytes::Bytes;
use rtc_rtp::{
    codec::{av1::Av1Payloader, h264::H264Payloader, vp8::Vp8Payloader, vp9::Vp9Payloader},
    packetizer::Payloader,
};
use sfu_proto::sdp::Codec;

/// A flash a second for 100 ms on a moving picture.
pub(crate) const FLASHES: &str =
    "drawbox=w=iw:h=ih:color=white:t=fill:enable='lt(mod(t\\,1)\\,0.1)'";

/// Runs a program of ffmpeg's; gives its output and what it complained about.
pub(crate) fn run(program: &str, args: &[&str]) -> (Vec<u8>, String) {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: run .ci/setup (ffmpeg): {error}"));
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn encode(args: &[&str]) -> Vec<u8> {
    let quiet = ["-v", "error", "-threads", "1"];
    let (bytes, complaints) = run("ffmpeg", &[&quiet, args, &["-"]].concat());
    assert!(!bytes.is_empty(), "ffmpeg made nothing: {complaints}");
    bytes
}

/// Pictures of `seconds`, 30 a second, with a key frame a second.
pub(crate) fn video(codec: Codec, size: &str, seconds: u32) -> Vec<Vec<u8>> {
    video_of(codec, size, seconds, 30, &[])
}

/// As [`video`], with a key frame each `group` pictures and more options.
pub(crate) fn video_of(
    codec: Codec,
    size: &str,
    seconds: u32,
    group: u32,
    more: &[&str],
) -> Vec<Vec<u8>> {
    let source = format!("testsrc2=s={size}:r=30:d={seconds},{FLASHES}");
    let group = group.to_string();
    let codec_args: &[&str] = match codec {
        Codec::Vp8 => &[
            "-c:v",
            "libvpx",
            "-deadline",
            "realtime",
            // Below zero it is a speed; above, the encoder adapts to how busy the machine is.
            "-cpu-used",
            "-8",
            "-auto-alt-ref",
            "0",
            "-f",
            "ivf",
        ],
        Codec::Vp9 { .. } => &[
            "-c:v",
            "libvpx-vp9",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-auto-alt-ref",
            "0",
            "-lag-in-frames",
            "0",
            "-f",
            "ivf",
        ],
        Codec::Av1 { .. } => &[
            "-c:v",
            "libaom-av1",
            "-usage",
            "realtime",
            "-cpu-used",
            "8",
            "-lag-in-frames",
            "0",
            "-f",
            "ivf",
        ],
        _ => &[
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-profile:v",
            "baseline",
            "-bsf:v",
            "h264_metadata=aud=insert",
            "-f",
            "h264",
        ],
    };
    let front: &[&str] =
        &["-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p", "-g", &group, "-b:v", "400k"];
    let bytes = encode(&[front, more, codec_args].concat());
    match codec {
        Codec::H264 { .. } => access_units(&bytes),
        _ => ivf(&bytes),
    }
}

/// Opus packets of `seconds` of a 1 kHz beep a second, 20 ms each.
pub(crate) fn audio(seconds: u32) -> Vec<Vec<u8>> {
    let source = format!("aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000:d={seconds}");
    let args = [
        "-f",
        "lavfi",
        "-i",
        &source,
        "-c:a",
        "libopus",
        "-b:a",
        "32k",
        "-frame_duration",
        "20",
        "-f",
        "ogg",
    ];
    ogg(&encode(&args)).split_off(2)
}

fn ivf(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &bytes[32..];
    let mut frames = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let len = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        frames.push(after[..len].to_vec());
        rest = &after[len..];
    }
    frames
}

/// Cut at access unit delimiters (00 00 00 01 09).
fn access_units(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<_> = bytes
        .windows(5)
        .enumerate()
        .filter(|(_, window)| *window == [0, 0, 0, 1, 9])
        .map(|(at, _)| at)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&from, to)| bytes[from..to].to_vec()).collect()
}

fn ogg(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    while bytes.len() >= 27 {
        let count = usize::from(bytes[26]);
        let (lacing, mut data) = bytes[27..].split_at(count);
        for &len in lacing {
            packet.extend_from_slice(&data[..usize::from(len)]);
            data = &data[usize::from(len)..];
            if len < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        bytes = data;
    }
    packets
}

/// Cuts frames into RTP payloads of at most `mtu`.
pub(crate) struct Cutter(Option<Box<dyn Payloader>>);

impl Cutter {
    pub(crate) fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::Opus => None,
            Codec::Vp8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Some(Box::new(payloader))
            }
            Codec::Vp9 { .. } => Some(Box::new(Vp9Payloader::default())),
            Codec::H264 { .. } => Some(Box::new(H264Payloader::default())),
            Codec::Av1 { .. } => Some(Box::new(Av1Payloader::default())),
        })
    }

    pub(crate) fn cut(&mut self, frame: &[u8], mtu: usize) -> Vec<Vec<u8>> {
        let Some(payloader) = &mut self.0 else { return vec![frame.to_vec()] };
        let payloads = payloader.payload(mtu, &Bytes::copy_from_slice(frame)).unwrap();
        payloads.iter().map(|payload| payload.to_vec()).collect()
    }
}
