//! `conclave recording`: look into recordings on a disk, and verify those that were delivered.

mod extract;
mod inspect;
pub(crate) mod list;
mod verify;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;

/// Verbs of `conclave recording`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordingCommand {
    /// List the recordings of which something is still here: id, project, state with progress or why it
    /// is blocked and who must act, bytes of sealed files, hours until it is purged. The server may run.
    List {
        /// Only of this project.
        #[arg(long, value_name = "ID")]
        project: Option<String>,
        /// Print the list again each second, until it is interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// Read a journal and say what is in it and how it ends; changes nothing. Without a key only its
    /// outer shape is told. Exit code 1 when something was changed, cannot be read or is missing.
    ///
    /// With --data-dir the operator's key of the hour opens it, as after a restart of the server.
    Inspect {
        /// A file of a journal, or the folder of a recording.
        path: PathBuf,
        /// File with the 32 bytes of the data key, as `age -d` gives them.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Verify a recording that was delivered: signatures, digests, and with an identity also what is
    /// inside. Works offline and keeps nothing. Exit code 1 when something is wrong.
    Verify {
        /// Folder of the recording: the one with manifest.json.
        folder: PathBuf,
        /// Public keys that you trust: keys.json or PEM, not from that folder. Repeat it for more;
        /// a capture key and an export key are needed.
        #[arg(long, value_name = "FILE", required = true)]
        key: Vec<PathBuf>,
        /// Identity of age that opens the artifacts.
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Make the files of a recording that was handed over as a journal: its server could not open it any
    /// more, or found it damaged. Writes plain files, one for each track, and events.json. Exit code 1
    /// when something of the journal is missing or was changed; what can be read is written.
    Extract {
        /// Folder of the recording: the one with manifest.json.
        folder: PathBuf,
        /// Identity of age that opens the artifacts.
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// Folder to make for the files.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Verify a deletion receipt, as the API or a webhook gave it. Exit code 1 when it is wrong.
    Receipt {
        /// JSON with receipt, key and signature.
        file: PathBuf,
        /// Public keys that you trust: keys.json or PEM. Repeat it for more.
        #[arg(long, value_name = "FILE", required = true)]
        key: Vec<PathBuf>,
        /// Folder of the recording that it should be of.
        #[arg(long, value_name = "FOLDER")]
        of: Option<PathBuf>,
    },
}

/// Runs a `conclave recording` command; `None`: it needs the database.
///
/// # Errors
/// When a file or key cannot be used.
pub(crate) fn run(
    command: &RecordingCommand,
    data: Option<&Path>,
) -> anyhow::Result<Option<ExitCode>> {
    let code = match command {
        RecordingCommand::List { .. } => return Ok(None),
        RecordingCommand::Inspect { path, key_file } => {
            inspect::run(path, key_file.as_deref(), data)
        }
        RecordingCommand::Verify { folder, key, identity } => {
            verify::recording(folder, key, identity.as_deref())
        }
        RecordingCommand::Extract { folder, identity, out } => extract::run(folder, identity, out),
        RecordingCommand::Receipt { file, key, of } => verify::receipt(file, key, of.as_deref()),
    };
    code.map(Some)
}
