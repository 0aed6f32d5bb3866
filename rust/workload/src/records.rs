//! What a workload adds to the records of its calls; `harness/protocol/schema.py` explains the fields.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// One call of a workload with the parts of its time.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Nanoseconds of the whole call.
    pub total_ns: u64,
    /// Nanoseconds of the calls inside, in their order, by the name of the function that is called.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<&'static str, Vec<u64>>,
    /// What was generated for each item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// A hash of the outputs, of a workload whose outputs only the probe writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_sha256: Option<String>,
    /// How many tokens a language model's prompt has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<usize>,
}

/// The outputs of a call.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Probed {
    /// What was generated for each item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// The tensors that the call returned, of a workload that generates nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<TensorsRecord>,
}

/// What a model generated for one item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Output {
    /// Generated ids with the end token, without the start token.
    pub token_ids: Vec<i32>,
    /// Their text.
    pub text: String,
    /// Best minus second-best logit of every step, where asked for.
    pub margins: Option<Vec<f32>>,
    /// Logits of the steps asked for.
    pub logits: Option<BTreeMap<usize, Vec<f32>>>,
    /// The natural logarithm of the probability of the token that was fed after each step, where the item names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_probabilities: Option<Vec<f32>>,
    /// How far the distribution of each step is from the one that the item names, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergences: Option<Vec<f32>>,
    /// Why a language model's generation ended; none where its tokens were fed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It has as many tokens as were asked for.
    Length,
    /// It gave a token that ends it.
    StopToken,
}

/// Tensors by name, in the form in which they travel.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TensorsRecord {
    /// How many bytes they are.
    pub size: usize,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// The bytes in the format safetensors, in base64.
    pub data: String,
}

/// Whole nanoseconds; a run of 584 years would be cut short.
#[must_use]
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
