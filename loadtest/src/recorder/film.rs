//! What is published: pictures that show their number and a tone, coded by ffmpeg once for a run.
//!
//! ```text
//! picture │ 16 cells, black or white: number, 10 bits │ its lower 6 bits, inverted │
//!         │ moving test picture                                                    │
//! ```
//! The film is sent over and over, so a number stands for many pictures; [`Film::LENGTH`] tells them apart.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;

/// Bytes of a picture in one packet.
const PACKET_BYTES: usize = 1100;
/// Cells with a bit of the number.
const NUMBER_BITS: usize = 10;
/// All cells.
const CELLS: usize = 16;

/// Lines of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Size {
    /// 1280x720 at 30 Hz, 1.5 Mbit/s.
    #[value(name = "720")]
    Lines720,
    /// 640x360 at 30 Hz, 500 kbit/s: for tests of builds that are not optimised.
    #[value(name = "360")]
    Lines360,
}

impl Size {
    fn pixels(self) -> (u32, u32) {
        match self {
            Self::Lines720 => (1280, 720),
            Self::Lines360 => (640, 360),
        }
    }

    /// Bits per second of the picture.
    pub(super) fn rate(self) -> u32 {
        match self {
            Self::Lines720 => 1_500_000,
            Self::Lines360 => 500_000,
        }
    }

    /// The part of a picture that shows the number.
    fn strip(self) -> (u32, u32) {
        let (width, height) = self.pixels();
        (width, height / 15)
    }
}

/// Coded pictures and sounds.
pub(super) struct Film {
    /// VP8 frames, 30 a second; each second begins with a key frame.
    pub(super) pictures: Vec<Bytes>,
    /// Opus packets of 20 ms.
    pub(super) sounds: Vec<Bytes>,
    pub(super) size: Size,
}

impl Film {
    /// Pictures of the film: 10 s.
    pub(super) const LENGTH: usize = 300;

    /// Between key frames: publishers here do not answer requests for one.
    pub(super) const KEY_INTERVAL: Duration = Duration::from_secs(1);

    /// Makes it with files in `folder`.
    pub(super) fn make(folder: &Path, size: Size) -> Result<Self> {
        let (pictures, sounds) = (folder.join("film.ivf"), folder.join("film.ogg"));
        let (width, height) = size.pixels();
        let (strip_width, strip_height) = size.strip();
        let rate = size.rate().to_string();
        let test = format!("testsrc2=s={width}x{height}:r=30");
        let bit = "if(lt(X,10),if(mod(floor(N/pow(2,X)),2),235,16),if(mod(floor(N/pow(2,X-10)),2),16,235))";
        let code = format!(
            "color=s={CELLS}x2:r=30,format=gray,geq=lum='{bit}',\
             scale={strip_width}:{strip_height}:flags=neighbor,format=yuv420p"
        );
        let length = Self::LENGTH.to_string();
        let mut coded = vec!["-f", "lavfi", "-i", &test, "-f", "lavfi", "-i", &code];
        coded.extend(["-filter_complex", "[0][1]overlay=0:0,format=yuv420p"]);
        coded.extend(["-frames:v", &length, "-c:v", "libvpx", "-deadline", "realtime"]);
        coded.extend(["-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0"]);
        coded.extend(["-error-resilient", "1", "-g", "30", "-keyint_min", "30"]);
        coded.extend(["-b:v", &rate, "-minrate", &rate, "-maxrate", &rate, "-bufsize", &rate]);
        ffmpeg(&coded, &pictures)?;
        let tone = ["-f", "lavfi", "-i", "sine=f=440:beep_factor=4:r=48000:d=10", "-ac", "2"];
        let opus = ["-c:a", "libopus", "-b:a", "48k", "-vbr", "off", "-frame_duration", "20"];
        ffmpeg(&[&tone[..], &opus[..]].concat(), &sounds)?;
        let film =
            Self { pictures: ivf(&fs::read(pictures)?)?, sounds: ogg(&fs::read(sounds)?)?, size };
        ensure!(film.pictures.len() == Self::LENGTH, "{} pictures", film.pictures.len());
        Ok(film)
    }

    /// The payloads of a picture (RFC 7741 section 4.2), with a 15-bit picture id.
    pub(super) fn payloads(&self, index: usize) -> Vec<Vec<u8>> {
        let picture = &self.pictures[index % self.pictures.len()];
        let [high, low] = (index as u16 & 0x7fff | 0x8000).to_be_bytes();
        let payload = |(place, piece): (usize, &[u8])| {
            let start = 0x80 | u8::from(place == 0) << 4;
            [&[start, 0x80, high, low][..], piece].concat()
        };
        picture.chunks(PACKET_BYTES).enumerate().map(payload).collect()
    }

    /// Numbers of the pictures of a file, as a decoder shows them; `None`: not a picture of ours.
    pub(super) fn read(&self, file: &Path) -> Result<Vec<Option<u32>>> {
        let (width, height) = self.size.strip();
        let filter = format!("crop={width}:{height}:0:0,scale={CELLS}:1:flags=area");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-threads", "1", "-i"]).arg(file);
        command.args(["-fps_mode", "passthrough", "-vf", &filter]);
        let output = command.args(["-pix_fmt", "gray", "-f", "rawvideo", "-"]).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() && told.is_empty(), "ffmpeg: {told}");
        Ok(output.stdout.chunks_exact(CELLS).map(number).collect())
    }

    /// Some bytes of every picture and sound as they lie in one packet.
    pub(super) fn samples(&self) -> impl Iterator<Item = &[u8]> {
        let pictures = self.pictures.iter().filter_map(|picture| picture.get(200..216));
        pictures.chain(self.sounds.iter().filter_map(|sound| sound.get(40..56)))
    }
}

/// The number that 16 cells show.
fn number(cells: &[u8]) -> Option<u32> {
    let is_set = |cell: usize| cells.get(cell).is_some_and(|level| *level >= 128);
    let bits = |from: usize, count: usize| {
        (0..count).fold(0u32, |sum, bit| sum | u32::from(is_set(from + bit)) << bit)
    };
    let number = bits(0, NUMBER_BITS);
    let check = bits(NUMBER_BITS, CELLS - NUMBER_BITS);
    (number & 0x3f == !check & 0x3f).then_some(number)
}

fn ffmpeg(arguments: &[&str], output: &Path) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(arguments).arg(output).stdin(Stdio::null());
    let done = command.output().context("ffmpeg is missing: run .ci/setup")?;
    ensure!(done.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Frames of an IVF file: a header of 32 bytes, before each frame its length and time.
fn ivf(bytes: &[u8]) -> Result<Vec<Bytes>> {
    let mut rest = bytes.get(32..).context("an IVF file without a header")?;
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<12>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (frame, tail) = tail.split_at_checked(length).context("an IVF frame is cut off")?;
        frames.push(Bytes::copy_from_slice(frame));
        rest = tail;
    }
    Ok(frames)
}

/// Opus packets of an Ogg file (RFC 3533, RFC 7845): without its two headers.
fn ogg(bytes: &[u8]) -> Result<Vec<Bytes>> {
    let (mut rest, mut packet, mut packets) = (bytes, Vec::new(), Vec::new());
    while let Some((head, tail)) = rest.split_first_chunk::<27>() {
        if &head[..4] != b"OggS" {
            bail!("no Ogg page");
        }
        let (lacing, mut body) = tail.split_at_checked(head[26].into()).context("lacing")?;
        for length in lacing {
            let (piece, tail) = body.split_at_checked((*length).into()).context("a page")?;
            packet.extend_from_slice(piece);
            body = tail;
            if *length < 255 {
                packets.push(Bytes::from(std::mem::take(&mut packet)));
            }
        }
        rest = body;
    }
    ensure!(packets.len() > 2, "no sounds");
    Ok(packets.split_off(2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_picture_shows_its_number_also_when_coded_and_packed_in_webm() {
        let folder = std::env::temp_dir().join(format!("conclave-film-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let film = Film::make(&folder, Size::Lines360).unwrap();
        let webm = folder.join("film.webm");
        let source = folder.join("film.ivf");
        ffmpeg(&["-i", source.to_str().unwrap(), "-c", "copy"], &webm).unwrap();
        let read = film.read(&webm).unwrap();
        assert_eq!(read, (0..300).map(Some).collect::<Vec<_>>());
        let payloads = film.payloads(30);
        let joined: Vec<u8> = payloads.iter().flat_map(|piece| &piece[4..]).copied().collect();
        assert_eq!(joined, film.pictures[30]);
        assert!(film.samples().count() > 700, "{}", film.samples().count());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn cells_that_do_not_agree_are_no_number() {
        let mut cells = [0u8; CELLS];
        cells[0] = 235;
        assert_eq!(number(&cells), None);
        cells[11..].fill(235);
        assert_eq!(number(&cells), Some(1));
        cells[1] = 200;
        assert_eq!(number(&cells), None);
    }

    #[test]
    fn broken_files_are_errors() {
        assert!(ivf(&[0; 31]).is_err() && ogg(&[1; 40]).is_err());
        assert!(ivf(&[[0; 32].as_slice(), &[9; 12]].concat()).is_err());
    }
}
