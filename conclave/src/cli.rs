//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{audit::AuditCommand, config::Overrides, recording::RecordingCommand};

/// Conclave: real-time audio and video rooms that an organisation runs itself.
///
/// `conclave serve` runs everything in one process on built-in defaults. Every setting and its
/// default: `conclave config sample`.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Where configuration comes from.
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server: signaling, media and database in one process. Ends on SIGTERM or SIGINT.
    Serve {
        /// Also serve the demo page in this directory at /demo/, with a partner server that lets
        /// in whoever has the join code of the URL that is printed at the start.
        #[arg(long, value_name = "DIR", env = "CONCLAVE_DEMO")]
        demo: Option<PathBuf>,
    },
    /// Run the recorder as a process of its own ([link] in the configuration), or show its key. Ends on SIGTERM
    /// or SIGINT.
    Recorder {
        /// What to do instead.
        #[command(subcommand)]
        what: Option<RecorderCommand>,
    },
    /// Manage partners: a partner has projects.
    #[command(subcommand)]
    Partner(PartnerCommand),
    /// Manage the keys of the operator's API.
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Manage projects: a project holds the rooms and keys of one application.
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Manage API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Export and verify audit logs: who changed what.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Look into recordings on a disk, and verify those that were delivered.
    #[command(subcommand)]
    Recording(RecordingCommand),
    /// Check usage against the event log.
    #[command(subcommand)]
    Usage(UsageCommand),
    /// Write the whole database to a new file, as of one moment; the server may run. The data key is
    /// not in it: keep it too, in another place.
    Backup {
        /// File to make.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Fill an empty database from a backup, of SQLite or PostgreSQL alike. Needs the data key of
    /// the server that was backed up; stop all servers of the database before.
    Restore {
        /// File that `conclave backup` wrote.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Check this machine and the configuration, and say what to do. Exit code 1 when the server
    /// cannot run. Run it while the server is stopped: it tries the ports.
    Doctor,
    /// Show configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Verbs of `conclave recorder`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecorderCommand {
    /// Print the fingerprint of this data directory's key for the link, made if missing: what the other side
    /// has in link.servers or link.recorders.
    Fingerprint,
}

/// Verbs of `conclave partner`.
#[derive(Debug, Subcommand)]
pub(crate) enum PartnerCommand {
    /// Create a partner and print its id.
    Create {
        /// What operators call it.
        label: String,
    },
    /// List partners: id, label.
    List,
}

/// What `conclave operator` manages.
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Manage keys.
    #[command(subcommand)]
    Key(OperatorKeyCommand),
}

/// Verbs of `conclave operator key`.
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorKeyCommand {
    /// Create a key. Its secret is printed once and is kept only as a hash.
    Create {
        /// What it is for, an opaque word such as billing-job.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it may do: operator:read, operator:write; repeat it or separate by commas.
        #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',')]
        scope: Vec<String>,
        /// From when on it is refused: a time such as 2027-01-31T00:00:00.000Z.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// List keys: id, whether they are valid, name, scopes.
    List,
    /// Revoke a key at once.
    Revoke {
        /// Key id, as shown by the list.
        id: String,
    },
}

/// Verbs of `conclave project`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Create a project and print its id.
    Create {
        /// Id of the partner whose it is. Left out: a partner of the same label is made.
        #[arg(long, value_name = "ID")]
        partner: Option<String>,
        /// What operators call it.
        label: String,
    },
    /// List projects: id, label.
    List,
}

/// Verbs of `conclave key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key of a project. Its secret is printed once and is kept only as a hash.
    Create {
        /// Project id, as printed by `conclave project create`.
        #[arg(long, value_name = "ID")]
        project: String,
        /// What the key may do, such as rooms:write; repeat it or separate by commas. Nothing is
        /// granted by default.
        #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',')]
        scope: Vec<String>,
        /// What it is for, an opaque word such as backend-1.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// From when on it is refused: a time such as 2027-01-31T00:00:00.000Z.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Give a key a new secret, which is printed once; the old one stays good for a while.
    Rotate {
        /// Project id.
        #[arg(long, value_name = "ID")]
        project: String,
        /// Key id, as shown by `conclave key list`.
        id: String,
        /// Seconds for which the old secret stays good.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        overlap: u32,
    },
    /// List the keys of a project: id, scopes, whether it was revoked.
    List {
        /// Project id.
        #[arg(long, value_name = "ID")]
        project: String,
    },
    /// Revoke a key at once.
    Revoke {
        /// Key id, as shown by `conclave key list`.
        id: String,
    },
}

/// Verbs of `conclave usage`.
#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Count the usage of a project again from the events that are kept, and compare. Exit code 1
    /// when they differ. The server may run meanwhile.
    Verify {
        /// Project id.
        project: String,
    },
}

/// Verbs of `conclave config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a configuration file with every value, its default and its explanation.
    Sample,
}
