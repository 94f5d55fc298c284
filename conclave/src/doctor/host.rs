//! The machine: disk, limits, clock.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use nix::sys::resource::{Resource, getrlimit};
use recorder::composite::{Lack, Tools};

use super::Finding;
use crate::data::{self, Openness};

/// Open files that a small server needs: sockets of clients, database, logs.
const OPEN_FILES_MIN: u64 = 1024;
/// Open files below which ICE-TCP and WebSockets of a full machine could run out.
const OPEN_FILES_GOOD: u64 = 16_384;
/// 2026-11-01T00:00:00Z; no build of this version is older, so no right clock shows less.
const RELEASED: Duration = Duration::from_secs(1_793_491_200);
/// Written by systemd-timesyncd at each synchronization.
const TIMESYNC_STAMP: &str = "/run/systemd/timesync/synchronized";
/// Where other time daemons keep their process id or socket.
const TIME_DAEMONS: [&str; 4] =
    ["/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/ntpd.pid", "/run/ntpsec/ntpd.pid"];

/// The directory exists or can be made, is writable, and others cannot read it.
pub(super) fn data_dir(dir: &Path) -> Finding {
    let shown = dir.display();
    let remedy = "make it writable for this user or set storage.data_dir";
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        return Finding::fail(format!("{shown}: {error}"), remedy);
    }
    let probe = dir.join(".doctor");
    if let Err(error) = fs::write(&probe, b"") {
        return Finding::fail(format!("{shown} is not writable: {error}"), remedy);
    }
    let removed = fs::remove_file(&probe);
    match fs::metadata(dir) {
        Err(error) => Finding::fail(format!("{shown}: {error}"), remedy),
        Ok(_) if removed.is_err() => Finding::warn(
            format!("{shown}: a file cannot be removed"),
            "check the directory's sticky bit and owner",
        ),
        Ok(found) => privacy(dir, &found),
    }
}

/// The judgement that the server makes at its start.
fn privacy(dir: &Path, found: &fs::Metadata) -> Finding {
    let shown = dir.display();
    let open = || format!("{shown} {}", data::open_to_others(found));
    match data::judge(dir, found) {
        Openness::Private => Finding::ok(format!("{shown} is writable, private")),
        Openness::Ours => {
            Finding::warn(open(), format!("chmod 700 '{shown}'; the server does it at its start"))
        }
        Openness::Refused => Finding::fail(open(), data::remedy(dir)),
    }
}

/// The limit of open files.
pub(super) fn open_files() -> Finding {
    let remedy = "raise LimitNOFILE= of the service or `ulimit -n`";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Err(error) => Finding::warn(format!("limit unknown: {error}"), remedy),
        Ok((soft, _)) if soft < OPEN_FILES_MIN => {
            Finding::fail(format!("at most {soft}; at least {OPEN_FILES_MIN} are needed"), remedy)
        }
        Ok((soft, _)) if soft < OPEN_FILES_GOOD => {
            Finding::warn(format!("at most {soft}; a full machine can need more"), remedy)
        }
        Ok((soft, _)) => Finding::ok(format!("at most {soft}")),
    }
}

/// The clock is plausible and something keeps it right; tokens live for minutes.
pub(super) fn clock() -> Finding {
    let remedy = "run a time daemon (systemd-timesyncd, chrony): tokens live for minutes only";
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if now < RELEASED {
        return Finding::fail("it shows a time before this version was made", remedy);
    }
    let kept =
        Path::new(TIMESYNC_STAMP).exists() || TIME_DAEMONS.iter().any(|p| Path::new(p).exists());
    if kept {
        Finding::ok("plausible, kept by a time daemon")
    } else {
        Finding::warn("plausible, but no time daemon was found", remedy)
    }
}

/// Composites of recordings can be made; tracks need nothing.
pub(super) fn composites(found: Result<Tools, Lack>) -> Finding {
    match found {
        Ok(_) => Finding::ok("ffmpeg runs, shut in as configured"),
        Err(lack) => Finding::warn(
            format!("{lack}; recordings come as tracks only"),
            "install the packages ffmpeg and bubblewrap, and allow user namespaces",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_in_place_of_the_data_directory_fails() {
        let file = std::env::temp_dir().join(format!("conclave-doctor-{}", std::process::id()));
        fs::write(&file, b"").unwrap();
        assert!(matches!(data_dir(&file), Finding::Fail(..)));
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_data_directory_is_judged_as_the_server_does_at_its_start() {
        let dir = std::env::temp_dir().join(format!("conclave-doctor-dir-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let found = format!("{:?}", data_dir(&dir));
        assert!(matches!(data_dir(&dir), Finding::Fail(..)) && found.contains("chmod 700"));
        fs::write(dir.join("conclave.db"), b"").unwrap();
        assert!(matches!(data_dir(&dir), Finding::Warn(..)));
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(data_dir(&dir), Finding::Ok(..)));
        fs::remove_dir_all(&dir).unwrap();
    }
}
