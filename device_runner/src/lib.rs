//! Runs a work order on the models linked into a program and records what it measured.
//!
//! The schema of both files is `harness/protocol/schema.py`; `docs/protocol.md` explains it. This library has no archive:
//! the program around it (`device_runner/program`) links one and describes it in [`Linked`], so that all of this is
//! compiled once for all archives. Without the feature `program` it is what a user's app needs to run orders itself.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "program")]
mod app;
#[cfg(target_os = "ios")]
mod apple;
#[cfg(all(target_os = "ios", feature = "program"))]
mod apple_app;
mod cpu;
mod guard;
mod input;
mod instruments;
#[cfg(feature = "program")]
mod job;
mod kinds;
mod language;
mod memory;
mod order;
#[cfg(feature = "program")]
mod program;
mod readings;
mod records;
mod result_file;
mod roofline;
mod run;
mod self_test;
mod slowdown;
#[cfg(feature = "program")]
mod status;
mod taps;
mod tensor;
mod tensors;
mod thermal;
#[cfg(feature = "program")]
mod watch;

#[cfg(feature = "program")]
pub use program::main;
pub use self_test::{self_test, SelfTested};

/// What is linked into the program beside this library.
#[derive(Debug, Clone, Copy)]
pub struct Linked<'a> {
    /// Hash of the archive, or `unknown`.
    pub archive_sha256: &'a str,
    /// The archive's prefix base; none without an archive.
    pub prefix: Option<&'a str>,
    /// What the archive's kernels need of the processor, separated by commas.
    pub cpu_features: &'a str,
    /// Whether the program is an app where it is started without arguments, as it always is on iOS.
    pub app: bool,
}

impl<'a> Linked<'a> {
    /// The features that the kernels need.
    fn needed(&self) -> Vec<&'a str> {
        self.cpu_features.split(',').filter(|name| !name.is_empty()).collect()
    }
}
