//! Why a run ended early, as the end record says it.

use charsiug2p_g2p_pipeline::PipelineError;
use serde::Serialize;

/// The status of a process whose result ends with status ok.
pub const OK: u8 = 0;
/// The status of a process whose result ends with status error.
pub const FAILED: u8 = 1;
/// The status of a process that has no result.
pub const USAGE: u8 = 2;

/// What kind of thing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The order.
    Usage,
    /// A model is missing or failing.
    Model,
    /// The model ran, and what it said of the item cannot be an answer: logits that are not finite, no token.
    Answer,
    /// The processor lacks what the kernels were compiled for.
    Cpu,
    /// A defect of the runner.
    Panic,
    /// Reading the order or writing the result.
    Io,
}

/// The error of an end record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    /// Id of the item concerned.
    pub item: Option<String>,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), item: None }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    pub fn io(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Io, message)
    }

    #[must_use]
    pub fn of_item(mut self, item: &str) -> Self {
        self.item = Some(item.to_owned());
        self
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let kind =
            if error.answered().is_some() { FailureKind::Answer } else { FailureKind::Model };
        Self::new(kind, error.to_string())
    }
}
