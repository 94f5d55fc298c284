//! The encoder: pictures and sound in, sealed files out.

use std::{
    io::{self, Read as _, Write as _},
    process::ChildStdout,
    thread::{self, Scope},
};

use super::{
    CompositeError, Made, Order, Outputs,
    burden::go_last,
    decode::Kitchen,
    draw::{Drawing, draw},
    fragments::{Fragments, Piece},
    hls::Hls,
    layout::{FRAMES_PER_SECOND, frames, intervals},
    mix::mix,
    place::Canvas,
    sandbox::Limits,
    told,
    watch::Watch,
};
use crate::{
    evidence::ArtifactKind,
    limits::{
        ENCODER_CPU_PER_SECOND, ENCODER_CPU_SECONDS_MIN, ENCODER_MEMORY_BYTES_MAX, KEY_FRAMES_EVERY,
    },
};

const COMPOSITE: &str = "composite.mp4";
const LAYOUT: &str = "layout.json";
const AUDIO_MIX: &str = "audio-mix.ogg";
/// Voices add up: what would be too loud is turned down, not cut.
const LIMITER: &str = "alimiter=limit=0.95:level=disabled:latency=1";

/// Told how far it is.
pub(super) type Progress<'a> = &'a mut dyn FnMut(u8);

pub(super) fn composite<'scope, O: Outputs>(
    scope: &'scope Scope<'scope, '_>,
    kitchen: Kitchen<'scope>,
    order: &Order<'_>,
    outputs: &mut O,
    progress: Progress<'_>,
) -> Result<(), CompositeError> {
    let (sound, microphone) = io::pipe().map_err(CompositeError::Start)?;
    let args = composite_args(order.canvas);
    let limits = limits(kitchen.events.duration_ms);
    let child = kitchen.tools.ffmpeg(limits, &args, Some(sound.into()));
    let mut child = child.map_err(CompositeError::Start)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let running = kitchen.watch.adopt(child)?;
    let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
        return Err(CompositeError::Encoder); // Both are asked for.
    };
    let drawing = Drawing {
        canvas: order.canvas,
        intervals: intervals(kitchen.events, order.layout, order.canvas),
        masks: order.masks.to_vec(),
    };
    let watch = kitchen.watch;
    spawn(scope, watch, move || draw(scope, kitchen, &drawing, stdin))?;
    let masks = order.masks.to_vec();
    spawn(scope, watch, move || mix(scope, kitchen, &masks, microphone))?;
    let wanted = frames(kitchen.events);
    let found = deliver(stdout, order.hls, wanted, outputs, (watch, progress))?;
    let status = running.finish().map_err(CompositeError::Start)?;
    match status.success() {
        false => Err(CompositeError::Encoder),
        true if found != wanted => Err(CompositeError::Pictures { wanted, found }),
        true => tell_layout(order, outputs).map_err(CompositeError::Output),
    }
}

/// Says beside the picture who is where in it.
fn tell_layout<O: Outputs>(order: &Order<'_>, outputs: &mut O) -> io::Result<()> {
    let Order { events, layout, canvas, .. } = *order;
    let mut file = outputs.open(LAYOUT)?;
    told::write(&mut file, canvas, &intervals(events, layout, canvas), events)?;
    let (kind, media_type) = (ArtifactKind::Layout, "application/json");
    let duration_ms = Some(events.duration_ms);
    outputs.close(file, Made { name: LAYOUT.to_owned(), kind, media_type, duration_ms })
}

/// A thread whose failure ends everything.
fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    watch: &'scope Watch<'scope>,
    work: impl FnOnce() -> Result<(), CompositeError> + Send + 'scope,
) -> Result<(), CompositeError> {
    let work = move || {
        go_last();
        if let Err(error) = work() {
            watch.fail(error);
        }
    };
    thread::Builder::new().spawn_scoped(scope, work).map_err(CompositeError::Start)?;
    Ok(())
}

/// Writes the stream as one file and as HLS; gives the pictures in it.
fn deliver<O: Outputs>(
    stream: ChildStdout,
    as_hls: bool,
    wanted: u64,
    outputs: &mut O,
    (watch, progress): (&Watch<'_>, Progress<'_>),
) -> Result<u64, CompositeError> {
    let (mut fragments, mut found) = (Fragments::new(stream), 0);
    let mut file = outputs.open(COMPOSITE).map_err(CompositeError::Output)?;
    let mut hls = as_hls.then(|| Hls::new(wanted));
    while let Some(piece) = fragments.next()? {
        let written = match &piece {
            Piece::Front(bytes) => file.write_all(bytes).and_then(|()| match &hls {
                Some(hls) => hls.front(bytes, outputs),
                None => Ok(()),
            }),
            Piece::Fragment(bytes, frames) => {
                found += frames;
                file.write_all(bytes).and_then(|()| match &mut hls {
                    Some(hls) => hls.fragment(bytes, *frames, outputs),
                    None => Ok(()),
                })
            }
            Piece::Other(bytes) => file.write_all(bytes),
        };
        written.map_err(CompositeError::Output)?;
        watch.step();
        progress((found * 100 / wanted).min(100) as u8);
    }
    let duration_ms = Some(found * 1000 / FRAMES_PER_SECOND);
    let (kind, media_type) = (ArtifactKind::Composite, "video/mp4");
    let made = Made { name: COMPOSITE.to_owned(), kind, media_type, duration_ms };
    outputs.close(file, made).map_err(CompositeError::Output)?;
    hls.map_or(Ok(()), |hls| hls.finish(outputs)).map_err(CompositeError::Output)?;
    Ok(found)
}

pub(super) fn audio_mix<'scope, O: Outputs>(
    scope: &'scope Scope<'scope, '_>,
    kitchen: Kitchen<'scope>,
    order: &Order<'_>,
    outputs: &mut O,
    progress: Progress<'_>,
) -> Result<(), CompositeError> {
    let input = "-f f32le -ar 48000 -ac 2 -i pipe:0";
    let output = format!("-af {LIMITER} -c:a libopus -b:a 96k -f ogg pipe:1");
    let args = words(&[input, &output]);
    let duration_ms = kitchen.events.duration_ms;
    let child = kitchen.tools.ffmpeg(limits(duration_ms), &args, None);
    let mut child = child.map_err(CompositeError::Start)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let running = kitchen.watch.adopt(child)?;
    let (Some(stdin), Some(mut stdout)) = (stdin, stdout) else {
        return Err(CompositeError::Encoder); // Both are asked for.
    };
    let masks = order.masks.to_vec();
    spawn(scope, kitchen.watch, move || mix(scope, kitchen, &masks, stdin))?;
    let mut file = outputs.open(AUDIO_MIX).map_err(CompositeError::Output)?;
    let mut piece = vec![0; 64 * 1024];
    loop {
        match stdout.read(&mut piece).map_err(|_| CompositeError::Encoder)? {
            0 => break,
            n => file.write_all(&piece[..n]).map_err(CompositeError::Output)?,
        }
    }
    if !running.finish().map_err(CompositeError::Start)?.success() {
        return Err(CompositeError::Encoder);
    }
    let made = Made {
        name: AUDIO_MIX.to_owned(),
        kind: ArtifactKind::AudioMix,
        media_type: "audio/ogg",
        duration_ms: Some(duration_ms),
    };
    progress(100);
    outputs.close(file, made).map_err(CompositeError::Output)
}

fn limits(duration_ms: u64) -> Limits {
    let seconds = duration_ms.div_ceil(1000) * ENCODER_CPU_PER_SECOND;
    let cpu_seconds = ENCODER_CPU_SECONDS_MIN + seconds;
    Limits { cpu_seconds, memory_bytes: ENCODER_MEMORY_BYTES_MAX }
}

/// No B-frames and a key frame at each fragment: time 0 is the first picture, and every fragment can
/// begin an HLS segment.
fn composite_args(canvas: Canvas) -> Vec<String> {
    let Canvas { width, height } = canvas;
    let rate = FRAMES_PER_SECOND;
    let video = format!(
        "-f rawvideo -pix_fmt yuv420p -video_size {width}x{height} -framerate {rate} -i pipe:0"
    );
    let sound = "-f f32le -ar 48000 -ac 2 -i pipe:3 -map 0:v -map 1:a";
    let every = KEY_FRAMES_EVERY;
    let encoded = format!(
        "-c:v libx264 -preset veryfast -crf 23 -maxrate 6M -bufsize 12M -bf 0 -g {every} \
         -keyint_min {every} -sc_threshold 0 -pix_fmt yuv420p -colorspace smpte170m \
         -color_primaries smpte170m -color_trc smpte170m -color_range tv"
    );
    let heard = format!("-af {LIMITER} -c:a aac -b:a 128k");
    let stream = "-movflags +frag_keyframe+empty_moov+default_base_moof -f mp4 pipe:1";
    words(&[&video, sound, &encoded, &heard, stream])
}

/// None of them has a space within.
fn words(lines: &[&str]) -> Vec<String> {
    lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
}
