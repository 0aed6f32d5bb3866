//! The outputs of a batch, and how long it took.

use std::time::Duration;

use charsiug2p_workload::Output;

/// How long a batch took; monotonic, around the calls themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// From before tokenization to after the last text.
    pub total: Duration,
    /// The encoder's call.
    pub encoder: Duration,
    /// The prefill's call; none without a cache.
    pub prefill: Option<Duration>,
    /// Each decoder call.
    pub steps: Vec<Duration>,
}

/// A batch's outputs, one for each prompt given, and its times.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchResult {
    /// In the order of the prompts.
    pub outputs: Vec<Output>,
    /// The times of the whole batch.
    pub timings: Timings,
}
