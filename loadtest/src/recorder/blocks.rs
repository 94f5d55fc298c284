//! What a file system holds after everything is purged, the blocks that it freed included: the data
//! folder is an ext4 image of its own, and the whole image is searched.
//!
//! ```text
//! image ─mount─▶ data folder: record ─ the image has the wraps ─▶ purged ─▶ two hours later: the hour's key is
//!                destroyed ─▶ unmount ─▶ the image has neither media, nor keys, nor wraps
//!       ─mount─▶ a file of ours with media and the data key ─▶ removed ─▶ unmount ─▶ the image has both
//! ```
//! The last line shows that the line before could have failed. It comes last because only then it can have the
//! very key that was looked for, and leaves nothing behind that would have to be forgiven.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Options, Table, age,
    film::Film,
    needles::Needles,
    server::Place,
    take::{DATA_KEY, MEDIA, Take},
};

/// Room for the recorder's reserve and some recordings.
const IMAGE_BYTES: u64 = 384 << 20;
/// How long a recording is made.
const SECONDS: Duration = Duration::from_secs(4);
/// Pictures that are planted.
const PLANTED: usize = 10;
/// Until it is purged, or a key destroyed.
const SETTLE: Duration = Duration::from_secs(60);

/// Runs it.
///
/// # Errors
/// The harness itself: no root, no loop devices. What is found is a failure in the table.
pub(super) async fn run(options: &Options, film: &Arc<Film>, table: &mut Table) -> Result<()> {
    let folder = options.folder("blocks");
    let mut disk = Disk::make(&folder)?;
    disk.mount()?;
    disk.hand_over()?;
    let place = Place::make(&options.spawn, folder, 0)?;
    let image = disk.image.clone();
    let scene = Scene { place: &place, film, image: &image };
    let result = scene.run().await;
    disk.unmount()?;
    let result = result.and_then(|gone| {
        scene.search(&gone)?;
        scene.check_search(&gone, &mut disk)
    });
    table.report.add("image searched", IMAGE_BYTES as f64 / 1e6, "MB");
    let failure = result.err().map(|error| format!("{error:#}"));
    table.fail("freed blocks", failure.into_iter().collect());
    Ok(())
}

/// What must be gone.
struct Gone {
    needles: Needles,
    data_key: Vec<u8>,
}

struct Scene<'a> {
    place: &'a Place,
    film: &'a Arc<Film>,
    image: &'a Path,
}

impl Scene<'_> {
    /// Records, delivers, purges, lets the hour's key be destroyed; gives what must be gone.
    async fn run(&self) -> Result<Gone> {
        let server = self.place.serve().await?;
        self.place.record_to(&server, json!({ "kind": "local" })).await?;
        let (publisher, mut take) = Take::begin(&server, self.film).await?;
        sleep(SECONDS).await;
        take.note_wraps(self.place);
        let mut wraps = Needles::new();
        take.add_wraps(&mut wraps);
        let hours = self.add_hours(&mut wraps)?;
        let seen = self.found(&wraps)?;
        ensure!(seen.len() >= 3, "the search finds only {seen:?} of what is there");
        take.end(&server).await?;
        publisher.leave().await?;
        let purged = server.until(&take.id, SETTLE, |now| now["state"] == "purged").await?;
        ensure!(purged["purge_reason"] == "delivered", "purged: {}", purged["purge_reason"]);
        server.stop().await?;
        let late = [
            ("LD_PRELOAD", age::library()?),
            ("FAKETIME", "+2h".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let server = self.place.serve_with(&late).await?;
        let end = Instant::now() + SETTLE;
        while hours.iter().any(|hour| hour.exists()) {
            ensure!(Instant::now() < end, "the hour's key is not destroyed");
            sleep(Duration::from_millis(100)).await;
        }
        server.stop().await?;
        take.add_key(self.place, &mut wraps)?;
        self.film.samples().for_each(|sample| wraps.add(MEDIA, sample));
        let data_key = take.data_key(self.place)?.context("no data key was seen")?;
        Ok(Gone { needles: wraps, data_key })
    }

    /// The operator's keys that there are.
    fn add_hours(&self, needles: &mut Needles) -> Result<Vec<PathBuf>> {
        let mut hours = Vec::new();
        for entry in fs::read_dir(self.place.data.join("recorder/epochs"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "key") {
                needles.add("an hour's key", &fs::read(&path)?);
                hours.push(path);
            }
        }
        ensure!(!hours.is_empty(), "no hour has a key");
        Ok(hours)
    }

    fn found(&self, needles: &Needles) -> Result<Vec<String>> {
        nix::unistd::sync();
        let bytes = fs::read(self.image)?;
        Ok(needles.within(&bytes).into_iter().map(str::to_owned).collect())
    }

    fn search(&self, gone: &Gone) -> Result<()> {
        let found = self.found(&gone.needles)?;
        ensure!(found.is_empty(), "on the image: {}", found.join(", "));
        Ok(())
    }

    /// A file in the clear that was removed is found by the same search in the same image.
    fn check_search(&self, gone: &Gone, disk: &mut Disk) -> Result<()> {
        disk.mount()?;
        self.plant(&gone.data_key, &disk.at.join("planted"))?;
        disk.unmount()?;
        let found = self.found(&gone.needles)?;
        ensure!(found == [DATA_KEY, MEDIA], "planted in freed blocks, and found: {found:?}");
        Ok(())
    }

    /// Leaves it in blocks that are free again.
    fn plant(&self, data_key: &[u8], path: &Path) -> Result<()> {
        let mut file = File::create_new(path)?;
        self.film.pictures.iter().take(PLANTED).try_for_each(|picture| file.write_all(picture))?;
        file.write_all(data_key)?;
        file.sync_all()?; // Else it would be removed before it had blocks.
        Ok(fs::remove_file(path)?)
    }
}

/// An ext4 image, mounted where the data folder will be.
struct Disk {
    image: PathBuf,
    at: PathBuf,
    is_mounted: bool,
}

impl Disk {
    fn make(folder: &Path) -> Result<Self> {
        let at = folder.join("data");
        fs::create_dir_all(&at)?;
        let image = folder.join("image");
        File::create(&image)?.set_len(IMAGE_BYTES)?;
        let mut make = Command::new("mkfs.ext4");
        call(make.args(["-q", "-F", "-E", "nodiscard"]).arg(&image))?;
        Ok(Self { image, at, is_mounted: false })
    }

    fn mount(&mut self) -> Result<()> {
        let mut mount = Command::new("mount");
        call(mount.args(["-o", "loop,nodiscard"]).args([&self.image, &self.at]))?;
        self.is_mounted = true;
        Ok(())
    }

    /// An empty folder for its owner only, as the server wants it.
    fn hand_over(&self) -> Result<()> {
        fs::remove_dir(self.at.join("lost+found"))?;
        Ok(fs::set_permissions(&self.at, Permissions::from_mode(0o700))?)
    }

    fn unmount(&mut self) -> Result<()> {
        call(Command::new("umount").arg(&self.at))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = call(Command::new("umount").args(["--lazy"]).arg(&self.at));
        }
    }
}

fn call(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?} (needs root): {told}", command.get_program());
    Ok(())
}
