//! The black-box cases of `sdk-spec/conformance` against any server.

mod case;
mod pattern;
mod run;
pub(crate) mod socket;
mod vars;

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use reqwest::{Client, redirect};
use serde_json::json;

pub use case::{Case, Need, Suite};
pub use run::Target;

use self::{run::Run, vars::Vars};

/// Longest time of one case.
const CASE: Duration = Duration::from_secs(120);

/// Options of the command.
#[derive(Debug, Args)]
pub struct Options {
    /// The server, such as http://127.0.0.1:7880.
    pub url: String,
    /// API key with every scope.
    #[arg(long, env = "CONCLAVE_KEY", hide_env_values = true)]
    pub key: String,
    /// API key of another project, for the cases about foreign resources.
    #[arg(long, env = "CONCLAVE_OTHER_KEY", hide_env_values = true)]
    pub other_key: Option<String>,
    /// Folder of the cases.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk-spec/conformance"))]
    pub cases: PathBuf,
    /// Only cases whose file or name contains this.
    #[arg(long, default_value = "")]
    pub only: String,
}

/// How a case ended.
#[derive(Debug)]
pub enum Verdict {
    /// As it must be.
    Passed,
    /// The run was not given what it needs.
    Skipped,
    /// Where and why.
    Failed(String),
}

/// A case and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// Suite and case.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.took.as_millis();
        match &self.verdict {
            Verdict::Passed => write!(f, "ok    {} ({ms} ms)", self.name),
            Verdict::Skipped => write!(f, "skip  {}", self.name),
            Verdict::Failed(why) => write!(f, "FAIL  {} ({ms} ms)\n      {why}", self.name),
        }
    }
}

/// Runs the command; `say` gets a line for each case and the closing line. Tells whether all passed.
///
/// # Errors
/// Cases that cannot be read.
pub async fn run(options: &Options, say: impl Fn(&str)) -> Result<bool> {
    let target = Target {
        url: options.url.trim_end_matches('/').to_owned(),
        key: options.key.clone(),
        other_key: options.other_key.clone(),
    };
    let began = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for suite in case::load(&options.cases)? {
        for case in &suite.cases {
            let name = format!("{}: {}", suite.title, case.name);
            if !name.contains(&options.only) {
                continue;
            }
            let outcome = one(&target, &suite, case, name).await?;
            match outcome.verdict {
                Verdict::Passed => passed += 1,
                Verdict::Skipped => skipped += 1,
                Verdict::Failed(_) => failed += 1,
            }
            say(&outcome.to_string());
        }
    }
    let seconds = began.elapsed().as_secs_f32();
    say(&format!("{passed} passed, {failed} failed, {skipped} skipped in {seconds:.1} s"));
    Ok(failed == 0 && passed > 0)
}

async fn one(target: &Target, suite: &Suite, case: &Case, name: String) -> Result<Outcome> {
    let began = Instant::now();
    let missing = case.needs.contains(&Need::OtherKey) && target.other_key.is_none();
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .context("the HTTP client")?;
    let mut vars = Vars::new(&suite.vars);
    vars.set("unique", json!(format!("{:016x}", rand::random::<u64>())));
    let run = Run::new(target, &client, vars).case(case);
    let verdict = if missing {
        Verdict::Skipped
    } else {
        match tokio::time::timeout(CASE, run).await {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(error)) => Verdict::Failed(format!("{error:#}")),
            Err(_) => Verdict::Failed(format!("not over in {} s", CASE.as_secs())),
        }
    };
    Ok(Outcome { name, verdict, took: began.elapsed() })
}
