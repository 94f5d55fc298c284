//! Finalizing, with real media: encoded by the ffmpeg program, cut into packets by `rtc-rtp` (not our
//! code), sent through a network that delays, reorders, doubles and loses, and the files judged by
//! ffprobe and ffmpeg (not our code either).
#![allow(clippy::unwrap_used, reason = "tests")]

mod checks;
mod codecs;
mod hostile;
mod media;
mod sealed;
mod speed;
mod sync;
mod tape;
mod texts;
