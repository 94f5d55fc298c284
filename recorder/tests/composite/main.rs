//! Composites of real media: encoded by the ffmpeg program, sent through a bad network, composed in the
//! sandbox, and judged by ffprobe and ffmpeg.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared with the tests of finalize")]

#[path = "../finalize/checks.rs"]
mod checks;
mod ending;
mod kitchen;
mod many;
#[path = "../finalize/media.rs"]
mod media;
mod picture;
mod sound;
mod speed;
#[path = "../finalize/tape.rs"]
mod tape;
