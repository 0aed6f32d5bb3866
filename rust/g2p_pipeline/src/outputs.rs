//! What a batch answers, and how long it took.

use std::collections::BTreeMap;
use std::time::Duration;

/// What to keep of the logits besides the tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeOptions {
    /// Best minus second-best logit of every step.
    pub margins: bool,
    /// Steps whose logits are kept whole; steps an output does not reach are left out.
    pub logit_steps: Vec<usize>,
}

/// What the model answered for one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct WordOutput {
    /// Generated ids with the end token, without the start token.
    pub token_ids: Vec<i32>,
    /// Their text.
    pub text: String,
    /// Best minus second-best logit of every step, where asked for.
    pub margins: Option<Vec<f32>>,
    /// Logits of the steps asked for.
    pub logits: Option<BTreeMap<usize, Vec<f32>>>,
}

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
    pub outputs: Vec<WordOutput>,
    /// Of the whole batch.
    pub timings: Timings,
}
