//! Why a run ended early, as the end record holds it.

use serde::Serialize;

/// What kind of thing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The order.
    Usage,
    /// A model is missing or failing.
    Model,
    /// The model ran, and its output for the item cannot be an answer: logits that are not finite, no token.
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
    /// What failed.
    pub kind: FailureKind,
    /// What is wrong, for a person.
    pub message: String,
    /// Id of the item concerned.
    pub item: Option<String>,
}

impl Failure {
    /// A failure of no particular item.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), item: None }
    }

    /// The order is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// A model is missing or failing.
    pub fn model(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Model, message)
    }

    /// The order cannot be read, or the result not written.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Io, message)
    }

    /// An item of the order is wrong.
    #[must_use]
    pub fn bad_item(id: &str, reason: &str) -> Self {
        Self::usage(format!("item {id:?}: {reason}")).of_item(id)
    }

    /// Names the item concerned.
    #[must_use]
    pub fn of_item(mut self, id: &str) -> Self {
        self.item = Some(id.to_owned());
        self
    }

    /// Names the workload in the message, unless the failure names one of its items.
    #[must_use]
    pub fn of_workload(mut self, name: &str) -> Self {
        if self.item.is_none() {
            self.message = format!("workload {name:?}: {}", self.message);
        }
        self
    }
}
