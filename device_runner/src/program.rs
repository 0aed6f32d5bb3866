//! The command line around a job.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use crate::job::Job;
use crate::{app, status, watch, Linked};

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

/// Does what the command line asks for, with what is linked in.
#[must_use]
pub fn main(linked: &Linked<'static>) -> ExitCode {
    if linked.app && std::env::args_os().len() == 1 {
        return app::main(linked);
    }
    let arguments = Arguments::parse();
    match (arguments.order, arguments.result) {
        (Some(order), Some(result)) => execute(linked, &order, &result, arguments.stream),
        _ => describe(linked),
    }
}

fn describe(linked: &Linked<'static>) -> ExitCode {
    let description = Description {
        runner_version: env!("CARGO_PKG_VERSION"),
        archive_sha256: linked.archive_sha256,
        arch: std::env::consts::ARCH,
        os: std::env::consts::OS,
        prefixes: linked.prefix.into_iter().collect(),
        cpu_features: linked.needed(),
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

fn execute(linked: &Linked<'static>, order: &Path, result: &Path, stream: bool) -> ExitCode {
    // Not before the job is prepared: until then the process may have no second thread.
    let watched = |job| watch::end_with_stdin().map(|()| job);
    match Job::prepare(linked, order, result, stream).and_then(watched) {
        Ok(job) => ExitCode::from(job.run()),
        Err(error) => {
            eprintln!("error: {}: {error}", result.display());
            ExitCode::from(status::USAGE)
        }
    }
}
