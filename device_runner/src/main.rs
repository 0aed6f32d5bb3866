//! Runs a work order on the models linked into this program and records what it measured.
//!
//! The schema of both files is `harness/protocol.py`; `docs/protocol.md` explains it.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(any(target_os = "ios", runner_app))]
mod app;
#[cfg(target_os = "ios")]
mod apple;
mod cpu;
mod failure;
mod guard;
mod instruments;
mod job;
mod memory;
mod order;
mod records;
mod roofline;
mod run;
mod slowdown;
mod taps;
mod tensor_model;
mod tensors;
mod thermal;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use charsiug2p_g2p_tvm::{compiled_prefix, compiled_system_lib_dir};
use clap::Parser;
use serde::Serialize;

use crate::job::Job;

/// Hash of the archive linked in, or `unknown`.
const ARCHIVE_SHA256: &str = env!("DEVICE_RUNNER_ARCHIVE_SHA256");

const EXAMPLES: &str = "\
Examples:
  device_runner --order order.json --result result.jsonl
  device_runner --describe

Exit status: 0 the result ends with status ok, 1 with status error, 2 the command line is wrong or
the result file cannot be created.";

/// Runs a work order on the models linked into this program.
#[derive(Debug, Parser)]
#[command(name = "device_runner", version, after_help = EXAMPLES)]
struct Arguments {
    /// The work order to run.
    #[arg(long, value_name = "FILE", required_unless_present = "describe")]
    order: Option<PathBuf>,

    /// Where the records go; must not exist yet.
    #[arg(long, value_name = "FILE", required_unless_present = "describe")]
    result: Option<PathBuf>,

    /// Also write each record to standard output, for who watches.
    #[arg(long, requires = "result")]
    stream: bool,

    /// Print what this program is as one line of JSON, and nothing else.
    #[arg(long, conflicts_with_all = ["order", "result", "stream"])]
    describe: bool,
}

#[derive(Debug, Serialize)]
struct Description<'a> {
    runner_version: &'a str,
    archive_sha256: &'a str,
    arch: &'a str,
    os: &'a str,
    /// Prefix bases of the archive linked in; none without one.
    prefixes: Vec<&'a str>,
    /// What the kernels need of the processor.
    cpu_features: Vec<&'a str>,
}

fn main() -> ExitCode {
    #[cfg(any(target_os = "ios", runner_app))]
    if std::env::args_os().len() == 1 {
        return app::main();
    }
    let arguments = Arguments::parse();
    match (arguments.order, arguments.result) {
        (Some(order), Some(result)) => execute(&order, &result, arguments.stream),
        _ => describe(),
    }
}

fn describe() -> ExitCode {
    let description = Description {
        runner_version: env!("CARGO_PKG_VERSION"),
        archive_sha256: ARCHIVE_SHA256,
        arch: std::env::consts::ARCH,
        os: std::env::consts::OS,
        prefixes: compiled_system_lib_dir().map(|_| compiled_prefix()).into_iter().collect(),
        cpu_features: cpu::needed(),
    };
    match serde_json::to_string(&description) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(order: &Path, result: &Path, stream: bool) -> ExitCode {
    // Not before the job is prepared: until then the process may have no second thread.
    let watched = |job| watch::end_with_stdin().map(|()| job);
    match Job::prepare(order, result, stream).and_then(watched) {
        Ok(job) => ExitCode::from(job.run()),
        Err(error) => {
            eprintln!("error: {}: {error}", result.display());
            ExitCode::from(job::USAGE)
        }
    }
}
