//! The `ffmpeg` program, shut in: media are untrusted, and decoders are large.
//!
//! ```text
//! choom: ended before everybody else when the machine has no memory left
//! bwrap: no network, no files but /usr, read-only, no capabilities, own processes
//!   └─ nice ─ prlimit: memory, CPU time, processes, no files, no core dumps
//!        └─ ffmpeg: pipes only
//! ```
//! Each track has a decoder of its own: what breaks out of one has one participant's media. What does
//! not live here: what ffmpeg is told to do.

use std::{
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, Command, Stdio},
};

use command_fds::{CommandFdExt as _, FdMapping};

use crate::limits::{CHILD_FILES_MAX, CHILD_PROCESSES_MAX, DECODER_MEMORY_BYTES_MAX};

/// Libraries' addresses and alternatives live here; no user, no host, no key does.
const READABLE: [&str; 6] =
    ["/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives"];

/// The largest there is (proc(5), oom_score_adj): a composite can be made again, a call cannot.
const OOM_SCORE: &str = "1000";

/// How `ffmpeg` is shut in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// By `bwrap` of the package bubblewrap.
    #[default]
    Bwrap,
    /// Only limits. For systems where `bwrap` cannot run and something else shuts all of us in.
    None,
}

/// Why composites cannot be made here. Blame: the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Not installed, or not with what is needed.
    #[error("/usr/bin/ffmpeg with libx264, libopus and aac is missing")]
    Ffmpeg,
    /// Not installed, or the system does not let it.
    #[error("bwrap (package bubblewrap) is missing or may not make a sandbox")]
    Sandbox,
}

/// Programs that were found to work.
#[derive(Debug, Clone, Copy)]
pub struct Tools {
    sandbox: Sandbox,
}

/// What a child may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) cpu_seconds: u64,
    pub(super) memory_bytes: u64,
}

impl Limits {
    /// For a look whether programs run.
    pub(super) const LOOK: Self = Self { cpu_seconds: 20, memory_bytes: DECODER_MEMORY_BYTES_MAX };
}

impl Tools {
    /// Looks whether composites can be made, by running `ffmpeg` in the sandbox. Blocks for a moment.
    ///
    /// # Errors
    /// [`Lack`].
    pub fn look(sandbox: Sandbox) -> Result<Self, Lack> {
        let tools = Self { sandbox };
        let runs = |program: &str, args: &[&str]| {
            let mut command = tools.command(program, Limits::LOOK);
            let output = command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).output();
            output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
        };
        runs("/usr/bin/true", &[]).ok_or(Lack::Sandbox)?;
        let text = runs("/usr/bin/ffmpeg", &["-v", "error", "-encoders"]).ok_or(Lack::Ffmpeg)?;
        let text = String::from_utf8_lossy(&text);
        let has = |name: &str| text.split_whitespace().any(|word| word == name);
        let all = ["libx264", "libopus", "aac"].into_iter().all(has);
        all.then_some(tools).ok_or(Lack::Ffmpeg)
    }

    /// A program within the sandbox; its arguments are added.
    pub(super) fn command(self, program: &str, limits: Limits) -> Command {
        let mut command = Command::new("/usr/bin/choom");
        command.env_clear().current_dir("/").args(["-n", OOM_SCORE, "--"]);
        if self.sandbox == Sandbox::Bwrap {
            bwrap(&mut command);
        }
        command.args(["/usr/bin/nice", "-n", "10"]);
        command.arg("/usr/bin/prlimit");
        command.arg(format!("--as={}", limits.memory_bytes));
        command.arg(format!("--cpu={}", limits.cpu_seconds));
        command.arg(format!("--nofile={CHILD_FILES_MAX}"));
        if self.sandbox == Sandbox::Bwrap {
            // Without a sandbox all other processes of our user would count.
            command.arg(format!("--nproc={CHILD_PROCESSES_MAX}"));
        }
        command.args(["--fsize=0", "--core=0", "--", program]);
        command
    }

    /// `ffmpeg` with pipes for input and output; `more` is its descriptor 3. The child dies with the
    /// thread that calls this, and leads a process group, in which all that it starts is killed.
    pub(super) fn ffmpeg(
        self,
        limits: Limits,
        args: &[String],
        more: Option<OwnedFd>,
    ) -> std::io::Result<Child> {
        let mut command = self.command("/usr/bin/ffmpeg", limits);
        command.args(["-v", "error", "-nostdin", "-protocol_whitelist", "pipe"]);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.process_group(0);
        if let Some(parent_fd) = more {
            let mapping = FdMapping { parent_fd, child_fd: 3 };
            command.fd_mappings(vec![mapping]).map_err(std::io::Error::other)?;
        }
        command.spawn()
    }
}

/// Without `--new-session`: it has no terminal, and must stay in our process group to be killed.
fn bwrap(command: &mut Command) {
    command.arg("/usr/bin/bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]);
    command.args(["--clearenv", "--ro-bind", "/usr", "/usr"]);
    for path in READABLE {
        command.args(["--ro-bind-try", path, path]);
    }
    command.args(["--remount-ro", "/", "--chdir", "/", "--"]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{
        fs,
        io::{Read as _, Write as _},
        net::TcpListener,
        os::unix::net::UnixListener,
    };

    use super::*;

    fn tools() -> Tools {
        Tools::look(Sandbox::Bwrap).expect("run .ci/setup (ffmpeg, bubblewrap)")
    }

    fn sh(tools: Tools, script: &str) -> (bool, String) {
        let mut command = tools.command("/usr/bin/python3", Limits::LOOK);
        let output = command.args(["-c", script]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn nothing_outside_can_be_reached_read_or_written() {
        let tools = tools();
        assert!(sh(tools, "print(1)").0, "python runs at all");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("sandbox-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let connect = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5)");
        let local =
            format!("import socket; socket.socket(socket.AF_UNIX).connect('{}')", socket.display());
        let write = format!("open('{}/x', 'w').write('x')", folder.display());
        let bad = [
            connect.as_str(),
            local.as_str(),
            write.as_str(),
            "import socket; socket.create_connection(('192.0.2.1', 80), 5)",
            "open('/etc/passwd').read()",
            "open('/proc/1/environ').read()",
            "import os; os.listdir('/home')",
            "open('/x', 'w').write('x')",
            "open('/usr/x', 'w').write('x')",
            "open('/tmp/x', 'w').write('x')",
            "bytearray(1 << 33)",
            "import os; os.mkdir('/usr/x')",
        ];
        for script in bad {
            let (good, text) = sh(tools, script);
            assert!(!good, "{script} worked: {text}");
        }
        let (_, text) = sh(tools, "import os; print(dict(os.environ))");
        assert!(!text.contains("HOME") && !text.contains("PATH"), "{text}");
        assert!(!folder.join("x").exists());
        // The same programs do it without the sandbox: the checks can fail.
        let open = Tools { sandbox: Sandbox::None };
        assert!(sh(open, &connect).0 && sh(open, &local).0);
        assert!(sh(open, "open('/etc/passwd').read()").0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_child_that_computes_for_ever_is_ended_by_its_limit() {
        let mut command =
            tools().command("/usr/bin/python3", Limits { cpu_seconds: 1, ..Limits::LOOK });
        let status = command.args(["-c", "while True: pass"]).status().unwrap();
        assert!(!status.success());
    }

    #[test]
    fn a_child_is_ended_before_us_when_memory_is_short() {
        for sandbox in [Sandbox::Bwrap, Sandbox::None] {
            let mut command = Tools { sandbox }.command("/usr/bin/cat", Limits::LOOK);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            // What it answers comes from behind all of its wrappers.
            child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", child.id())).unwrap();
            assert_eq!(score.trim(), OOM_SCORE, "{sandbox:?}");
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
        }
    }
}
