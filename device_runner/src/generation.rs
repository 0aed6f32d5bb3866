//! Generation workloads: prompts in batches of like lengths, decoded greedily by the pipeline that apps use.

use std::collections::BTreeMap;

use charsiug2p_g2p_pipeline::{
    group_by_length, CacheDtype, ModelConfig, PipelineError, Precision, ProbeOptions, Session,
    Timings,
};
use charsiug2p_g2p_tvm::{DeviceConfig, SystemLibPrefixes};
use serde::Deserialize;

use crate::failure::{Failure, FailureKind};
use crate::instruments::Instruments;
use crate::records::{nanoseconds, Output, Record};
use crate::result_file::ResultFile;
use crate::slowdown::Slowdown;
use crate::workload::{Loaded, Measured, Planned, Probed, Workload};
use crate::Linked;

const fn eos() -> i32 {
    1
}

/// A generation workload as an order has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationOrder {
    pub name: String,
    pub functions: BTreeMap<String, String>,
    pub use_kv_cache: bool,
    pub batch_size: usize,
    pub max_input_bytes: usize,
    pub max_output_len: usize,
    pub vocab_size: usize,
    #[serde(default)]
    pub decoder_start_token_id: i32,
    #[serde(default = "eos")]
    pub eos_token_id: i32,
    #[serde(default)]
    pub self_cache_shape: Option<Vec<usize>>,
    #[serde(default)]
    pub self_cache_dtype: CacheDtype,
    /// Part of the schema; the runner runs all precisions alike.
    #[serde(default, rename = "precision")]
    pub _precision: Precision,
}

/// Items with prompts of like lengths, at most the batch size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub items: Vec<String>,
    pub prompts: Vec<String>,
}

/// A checked workload with its batches, in the order they run.
#[derive(Debug)]
pub struct Generation {
    name: String,
    prefixes: SystemLibPrefixes,
    config: ModelConfig,
    batches: Vec<Batch>,
}

impl GenerationOrder {
    /// Checks the workload and its items, ids and prompts, which fill its batches.
    pub fn plan(self, items: &[(String, String)]) -> Result<Generation, Failure> {
        let refuse = |reason: String| Failure::usage(format!("workload {:?}: {reason}", self.name));
        let prefixes = SystemLibPrefixes::from_map(&self.functions, self.use_kv_cache)
            .map_err(|error| refuse(error.to_string()))?;
        let needed = prefixes.functions();
        let unknown = self.functions.keys().find(|key| !needed.iter().any(|(name, _)| name == key));
        if let Some(unknown) = unknown {
            return Err(refuse(format!("no such model has a function {unknown:?}")));
        }
        if let Some((name, _)) = needed.iter().find(|(_, prefix)| prefix.is_empty()) {
            return Err(refuse(format!("the prefix of {name} is empty")));
        }
        let config = ModelConfig {
            batch_size: self.batch_size,
            max_input_bytes: self.max_input_bytes,
            max_output_len: self.max_output_len,
            vocab_size: self.vocab_size,
            decoder_start_token_id: self.decoder_start_token_id,
            eos_token_id: self.eos_token_id,
            self_cache_shape: self.self_cache_shape.clone(),
            self_cache_dtype: self.self_cache_dtype,
            // Orders hold whole prompts.
            prompt_space: true,
        };
        config.check(self.use_kv_cache).map_err(|error| refuse(error.to_string()))?;
        for (id, prompt) in items {
            check_prompt(prompt, config.max_input_bytes)
                .map_err(|why| Failure::usage(format!("item {id:?}: {why}")).of_item(id))?;
        }
        let batches = batches(items, config.batch_size);
        Ok(Generation { name: self.name, prefixes, config, batches })
    }
}

fn check_prompt(prompt: &str, limit: usize) -> Result<(), String> {
    if prompt.is_empty() {
        return Err("the prompt is empty".to_owned());
    }
    if let Some(found) = prompt.chars().find(|one| matches!(one, '\t' | '\n' | '\r' | '\0')) {
        return Err(format!("the prompt {prompt:?} contains {found:?}"));
    }
    if prompt.len() > limit {
        let size = prompt.len();
        return Err(format!("the prompt {prompt:?} has {size} bytes, the model takes {limit}"));
    }
    Ok(())
}

fn batches(items: &[(String, String)], batch_size: usize) -> Vec<Batch> {
    let lengths: Vec<usize> = items.iter().map(|(_, prompt)| prompt.len()).collect();
    let of_group = |group: Vec<usize>| {
        let (items, prompts) = group.into_iter().map(|at| items[at].clone()).unzip();
        Batch { items, prompts }
    };
    group_by_length(&lengths, batch_size).into_iter().map(of_group).collect()
}

impl Planned for Generation {
    fn calls(&self) -> usize {
        self.batches.len()
    }

    fn load(self: Box<Self>, linked: &Linked, result: &mut ResultFile) -> Result<Loaded, Failure> {
        let mut loads = Vec::new();
        let session =
            Session::load(self.config, &self.prefixes, DeviceConfig::cpu(), |name, took| {
                loads.push((name, took));
            });
        for (function, took) in loads {
            let load_ns = nanoseconds(took);
            result.write(&Record::Load { workload: &self.name, function, load_ns })?;
        }
        let session = session.map_err(|error| {
            Failure::new(FailureKind::Model, format!("workload {:?}: {error}", self.name))
        })?;
        // The archive's base is the prefix of its one generation workload.
        let instruments = linked.prefix.map(Instruments::find).transpose()?.flatten();
        let workload = Box::new(Decoding { name: self.name, session, batches: self.batches });
        Ok(Loaded { workload, instruments })
    }
}

/// A loaded model with its batches.
struct Decoding {
    name: String,
    session: Session,
    batches: Vec<Batch>,
}

impl Workload for Decoding {
    fn name(&self) -> &str {
        &self.name
    }

    fn items(&self, call: usize) -> &[String] {
        &self.batches[call].items
    }

    fn run(&mut self, call: usize, slowdown: Slowdown) -> Result<Measured, Failure> {
        let batch = &self.batches[call];
        let measured = self.session.run(&batch.prompts, &ProbeOptions::default());
        let mut measured = measured.map_err(|error| blame(batch, error))?;
        slowdown.burn(&mut measured.timings);
        let Timings { total, encoder, prefill, steps } = measured.timings;
        let mut parts = BTreeMap::from([("encoder", vec![encoder]), ("step", steps)]);
        parts.extend(prefill.map(|took| ("prefill", vec![took])));
        Ok(Measured {
            total,
            parts,
            outputs: measured.outputs.into_iter().map(Output::from).collect(),
            output_sha256: None,
        })
    }

    fn probe(&mut self, call: usize, options: &ProbeOptions) -> Result<Probed, Failure> {
        let batch = &self.batches[call];
        let measured =
            self.session.run(&batch.prompts, options).map_err(|error| blame(batch, error))?;
        let outputs = measured.outputs.into_iter().map(Output::from).collect();
        Ok(Probed { outputs, tensors: None })
    }
}

/// Names the item whose answer cannot be one, or else all that were in the batch.
fn blame(batch: &Batch, error: PipelineError) -> Failure {
    let answered =
        error.answered().and_then(|said| batch.prompts.iter().position(|prompt| prompt == said));
    let failure = Failure::from(error);
    match (answered.and_then(|at| batch.items.get(at)), &batch.items[..]) {
        (Some(item), _) | (None, [item]) => failure.of_item(item),
        (None, items) => Failure {
            message: format!("items {}: {}", items.join(", "), failure.message),
            ..failure
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_without_an_answer_is_named() {
        let batch = Batch {
            items: vec!["w0".into(), "w1".into()],
            prompts: vec!["one".into(), "two".into()],
        };
        let nan = |prompt: &str| PipelineError::NotFinite {
            step: 2,
            prompt: prompt.into(),
            value: "NaN".into(),
        };
        let failure = blame(&batch, nan("two"));
        assert_eq!((failure.kind, failure.item.as_deref()), (FailureKind::Answer, Some("w1")));
        let failure = blame(&batch, PipelineError::BatchSize { given: 2, batch_size: 1 });
        assert_eq!((failure.kind, failure.item), (FailureKind::Model, None));
        assert!(failure.message.starts_with("items w0, w1: "), "{}", failure.message);
    }

    /// Batches of items `0..n`, whose prompts have these lengths.
    fn batched(batch_size: usize, lengths: &[usize]) -> Vec<String> {
        let prompts = lengths.iter().enumerate().map(|(at, &n)| (at.to_string(), "a".repeat(n)));
        let found = batches(&prompts.collect::<Vec<_>>(), batch_size);
        for batch in &found {
            for (id, prompt) in batch.items.iter().zip(&batch.prompts) {
                assert_eq!(prompt.len(), lengths[id.parse::<usize>().unwrap()]);
            }
        }
        found.into_iter().map(|batch| batch.items.join(" ")).collect()
    }

    #[test]
    fn items_of_like_lengths_share_a_batch_under_their_own_ids() {
        assert_eq!(batched(3, &[5, 1, 5, 2, 9, 1, 5]), ["1 5 3", "0 2 6", "4"]);
    }

    #[test]
    fn single_items_keep_their_order() {
        assert_eq!(batched(1, &[5, 1, 9]), ["0", "1", "2"]);
    }
}
