//! The format of a case, as data: `sdk-spec/conformance/README.md` explains it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// What they are about.
    pub title: String,
    /// Values for every case, as `${name}`.
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
    /// In order; each stands for itself.
    pub cases: Vec<Case>,
}

/// A case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What holds when it passes.
    pub name: String,
    /// What the run must have been given.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// In order; the first that fails ends the case.
    pub steps: Vec<Step>,
}

/// What not every run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// `--other-key`: a key of another project.
    OtherKey,
}

/// One step.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A request and what the answer must be.
    Http(Box<Http>),
    /// Opens a WebSocket.
    Connect(Connect),
    /// Sends a message.
    Send(Send),
    /// Waits for a message; others are kept for later steps.
    Expect(Expect),
    /// Takes what comes for some time: neither that nor what no step asked for may be like this.
    Never(Never),
    /// The server closes the WebSocket.
    Closed(Closed),
    /// Breaks the connection without a word.
    Cut(Cut),
    /// Values must be equal.
    Same(Vec<Value>),
    /// Values must differ.
    Different(Vec<Value>),
}

/// A request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `key`, `other`, `none`, or a bearer token.
    #[serde(default = "key")]
    pub auth: String,
    /// Besides `Authorization` and `Content-Type`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Sent as JSON.
    pub body: Option<Value>,
    /// Sent as it is; then the `Content-Type` is in `headers`.
    pub text: Option<String>,
    /// Sent so often; every answer but the last may be anything.
    #[serde(default = "once")]
    pub repeat: u32,
    /// Sent again until the answer is as expected, for so long.
    #[serde(default)]
    pub within_ms: u64,
    /// What the answer must be.
    pub expect: Answer,
    /// Names for parts of the answer: a JSON pointer into the body, `header:name`, or `text`.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

fn key() -> String {
    String::from("key")
}

fn once() -> u32 {
    1
}

/// What an answer must be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Pattern of each header, lower case.
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// Pattern of the JSON body.
    pub body: Option<Value>,
    /// It is a problem of this code, whole and with its media type.
    pub problem: Option<String>,
    /// `errors` of the problem name this field.
    pub field: Option<String>,
}

/// Opens a WebSocket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Its name in the case.
    pub socket: String,
    /// Goes on counting where this one stood.
    pub resumes: Option<String>,
}

/// Sends a message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// On which.
    pub socket: String,
    /// The message; `seq` and `ack` are added unless it is `join` or `resume` or has them.
    pub message: Option<Value>,
    /// A text as it is, instead.
    pub text: Option<String>,
    /// Bytes, instead.
    pub binary: Option<Vec<u8>>,
    /// So often.
    #[serde(default = "once")]
    pub repeat: u32,
}

/// Waits for a message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// On which.
    pub socket: String,
    /// Pattern.
    pub message: Value,
    /// For at most so long.
    #[serde(default = "patience")]
    pub within_ms: u64,
    /// It must be the very next message.
    #[serde(default)]
    pub next: bool,
    /// Names for parts of it: JSON pointers.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

fn patience() -> u64 {
    10_000
}

/// No such message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Never {
    /// On which.
    pub socket: String,
    /// Pattern.
    pub message: Value,
    /// How long.
    pub for_ms: u64,
}

/// The server closes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Which.
    pub socket: String,
    /// Close code.
    pub code: u16,
}

/// Breaks the connection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Which.
    pub socket: String,
}

/// Every suite of a folder, by file name.
///
/// # Errors
/// A file that cannot be read, or is not of the format.
pub(super) fn load(folder: &Path) -> Result<Vec<Suite>> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("the folder of cases {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    ensure!(!paths.is_empty(), "no cases in {}", folder.display());
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
    };
    paths.iter().map(read).collect()
}
