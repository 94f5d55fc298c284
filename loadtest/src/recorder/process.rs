//! A `conclave` process of our own: ended in any way, and what it used.

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{sys::signal, unistd::Pid};

/// Longest orderly end.
const STOP: Duration = Duration::from_secs(60);
/// Ticks of processor time in /proc, a second.
const TICKS: f64 = 100.0;

/// Ends with this value.
pub(super) struct Process(Child);

impl Process {
    /// Starts it; what it says is appended to the file `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn();
        Ok(Self(child.with_context(|| command.get_program().display().to_string())?))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended by itself, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// kill -9; when that was.
    pub(super) fn kill(&mut self) -> Result<Instant> {
        self.0.kill()?;
        let at = Instant::now();
        self.0.wait()?;
        Ok(at)
    }

    pub(super) fn signal(&self, signal: signal::Signal) -> Result<()> {
        signal::kill(Pid::from_raw(i32::try_from(self.id())?), signal).context("signal")
    }

    /// SIGTERM, and waits for the end.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.signal(signal::Signal::SIGTERM)?;
        let end = Instant::now() + STOP;
        while Instant::now() < end {
            if let Some(status) = self.ended()? {
                ensure!(status.success(), "the process ended: {status}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the process did not end in {} s", STOP.as_secs())
    }

    /// Seconds of processor time so far, of all its threads; not of programs that it starts.
    pub(super) fn processor_seconds(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let (_, rest) = text.rsplit_once(')').context("stat")?;
        // proc(5): utime and stime are fields 14 and 15; 3 is the first after the name.
        let mut fields = rest.split_whitespace().skip(11);
        let mut next = || -> Result<f64> { Ok(fields.next().context("stat")?.parse()?) };
        Ok((next()? + next()?) / TICKS)
    }

    /// Bytes written so far: by calls, and to the disk.
    pub(super) fn written(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.id()))?;
        let of = |name: &str| -> Result<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(value.context("io")?.trim().parse()?)
        };
        Ok((of("wchar:")?, of("write_bytes:")?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
