//! What ffprobe and ffmpeg say about a file. The A/V check is that of the test bed: a flash and a beep
//! each second.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::media::run;

/// A file for the time of a check.
pub(crate) struct OnDisk(PathBuf);

impl OnDisk {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("finalize-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a file is said to be.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) codec: String,
    pub(crate) seconds: f64,
    pub(crate) frames: u64,
    pub(crate) complaints: String,
}

/// Decodes all of a file.
pub(crate) fn probe(bytes: &[u8]) -> Probe {
    let file = OnDisk::new(bytes);
    let entries = "stream=codec_name,nb_read_frames:format=duration";
    let (json, complaints) = run(
        "ffprobe",
        &["-v", "error", "-count_frames", "-show_entries", entries, "-of", "json", file.path()],
    );
    let said: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let (_, decoding) = run("ffmpeg", &["-v", "error", "-i", file.path(), "-f", "null", "-"]);
    Probe {
        codec: text(&said["streams"][0]["codec_name"]),
        seconds: text(&said["format"]["duration"]).parse().unwrap_or(f64::NAN),
        frames: text(&said["streams"][0]["nb_read_frames"]).parse().unwrap_or(0),
        complaints: (complaints + &decoding).chars().take(500).collect(),
    }
}

/// Seconds at which the picture turns white.
pub(crate) fn flashes(bytes: &[u8]) -> Vec<f64> {
    let file = OnDisk::new(bytes);
    let filter = "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-";
    let (text, _) =
        run("ffmpeg", &["-v", "error", "-i", file.path(), "-vf", filter, "-f", "null", "-"]);
    let text = String::from_utf8(text).unwrap();
    let number =
        |line: &str, key: &str| line.split(key).nth(1)?.split_whitespace().next()?.parse().ok();
    let times = text.lines().filter_map(|line| number(line, "pts_time:"));
    let lights = text.lines().filter_map(|line| number(line, "YAVG="));
    let pictures: Vec<(f64, f64)> = times.zip(lights).collect();
    let mut flashes = Vec::new();
    let mut was_white = false;
    for (at, light) in pictures {
        if light > 200.0 && !was_white {
            flashes.push(at);
        }
        was_white = light > 200.0;
    }
    flashes
}

/// Seconds at which a 1 kHz tone begins, by the times of the file.
pub(crate) fn beeps(bytes: &[u8]) -> Vec<f64> {
    const WINDOW: usize = 240;
    let file = OnDisk::new(bytes);
    let filter = "aresample=48000:async=1:first_pts=0";
    let args = ["-v", "error", "-i", file.path(), "-af", filter, "-ac", "1", "-f", "s16le", "-"];
    let (pcm, _) = run("ffmpeg", &args);
    let samples: Vec<f64> =
        pcm.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]]))).collect();
    let (mut beeps, mut sounds) = (Vec::new(), false);
    for (n, window) in samples.chunks_exact(WINDOW).enumerate() {
        let (mut re, mut im) = (0.0, 0.0);
        for (k, sample) in window.iter().enumerate() {
            let angle = std::f64::consts::TAU * 1000.0 * k as f64 / 48_000.0;
            re += sample * angle.cos();
            im += sample * angle.sin();
        }
        let level = 2.0 * re.hypot(im) / WINDOW as f64 / 32_768.0;
        if level > 0.15 && !sounds {
            sounds = true;
            beeps.push((n * WINDOW) as f64 / 48_000.0);
        } else if level < 0.05 {
            sounds = false;
        }
    }
    beeps
}

/// Milliseconds that each flash's beep is late; beeps farther than half a second away do not count.
pub(crate) fn lateness(flashes: &[f64], beeps: &[f64]) -> Vec<i64> {
    let nearest = |flash: f64| {
        beeps.iter().map(|beep| beep - flash).min_by(|a, b| a.abs().total_cmp(&b.abs()))
    };
    let near = flashes.iter().filter_map(|flash| nearest(*flash)).filter(|late| late.abs() < 0.5);
    near.map(|late| (late * 1000.0).round() as i64).collect()
}
