//! The runner as an app: no arguments, its files in the container's `Documents`, UIKit around it on iOS.
//!
//! Its companion, the same runner built for the machine of a virtual iPhone, does all of it but UIKit.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::job::Job;
use crate::status;
use crate::Linked;

/// Runs `Documents/order.json` into `Documents/result.jsonl`, each record to standard output, too.
pub fn main(linked: &Linked<'static>) -> ExitCode {
    let Some(documents) = env::var_os("HOME").map(|home| PathBuf::from(home).join("Documents"))
    else {
        eprintln!("error: HOME is not set, and the app's container with it");
        return ExitCode::from(status::USAGE);
    };
    let order = documents.join("order.json");
    // Without an order nothing is left behind that would stand in a later one's way.
    if !order.is_file() {
        eprintln!("error: there is no {}", order.display());
        return ExitCode::from(status::USAGE);
    }
    let result = documents.join("result.jsonl");
    match Job::prepare(linked, &order, &result, true) {
        Ok(job) => start(job),
        Err(error) => {
            eprintln!("error: {}: {error}", result.display());
            ExitCode::from(status::USAGE)
        }
    }
}

#[cfg(target_os = "ios")]
fn start(job: Job) -> ExitCode {
    crate::apple_app::run_app(move || job.run())
}

#[cfg(not(target_os = "ios"))]
fn start(job: Job) -> ExitCode {
    ExitCode::from(job.run())
}
