//! A generation workload of the device runner: prompts in batches of like lengths, decoded greedily as in apps.

use std::collections::BTreeMap;

use charsiug2p_g2p_tvm::{DeviceConfig, SystemLibPrefixes};
use charsiug2p_workload::{
    nanoseconds, Failure, FailureKind, Measured, Order, Planned, ProbeOptions, Probed, Workload,
};
use serde::Deserialize;

use crate::config::ModelConfig;
use crate::error::PipelineError;
use crate::grouping::group_by_length;
use crate::outputs::{BatchResult, Timings};
use crate::session::Session;

/// A generation workload as an order has it. Keys that neither it nor [`ModelConfig`] names are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationOrder {
    name: String,
    /// Function to system-lib prefix.
    functions: BTreeMap<String, String>,
    #[serde(flatten)]
    config: ModelConfig,
}

impl Order for GenerationOrder {
    /// The prompt.
    type Input = String;

    fn name(&self) -> &str {
        &self.name
    }

    fn plan(self, items: Vec<(String, String)>) -> Result<Planned, Failure> {
        let Self { functions, config, .. } = self;
        check_functions(&functions, config.use_kv_cache).map_err(Failure::usage)?;
        config.check().map_err(|error| Failure::usage(error.to_string()))?;
        for (id, prompt) in &items {
            check_prompt(prompt, config.max_input_bytes)
                .map_err(|why| Failure::bad_item(id, &why))?;
        }
        let batches = batches(&items, config.batch_size);
        Ok(Planned {
            calls: batches.len(),
            // The archive's own prefix is that of its one generation workload.
            prefix: None,
            load: Box::new(move |on_load| {
                let session = Session::load(config, &functions, DeviceConfig::cpu(), on_load)?;
                Ok(Box::new(Generation { session, batches }))
            }),
        })
    }
}

fn check_functions(functions: &BTreeMap<String, String>, use_kv_cache: bool) -> Result<(), String> {
    let prefixes = SystemLibPrefixes::from_map(functions, use_kv_cache);
    let prefixes = prefixes.map_err(|error| error.to_string())?;
    let needed = prefixes.functions();
    if let Some(unknown) = functions.keys().find(|key| !needed.iter().any(|(name, _)| name == key))
    {
        return Err(format!("no such model has a function {unknown:?}"));
    }
    match needed.iter().find(|(_, prefix)| prefix.is_empty()) {
        Some((name, _)) => Err(format!("the prefix of {name} is empty")),
        None => Ok(()),
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

/// Items with prompts of like lengths, at most the batch size.
#[derive(Debug)]
struct Batch {
    items: Vec<String>,
    prompts: Vec<String>,
}

fn batches(items: &[(String, String)], batch_size: usize) -> Vec<Batch> {
    let lengths: Vec<usize> = items.iter().map(|(_, prompt)| prompt.len()).collect();
    let of_group = |group: Vec<usize>| {
        let (items, prompts) = group.into_iter().map(|at| items[at].clone()).unzip();
        Batch { items, prompts }
    };
    group_by_length(&lengths, batch_size).into_iter().map(of_group).collect()
}

/// A loaded model with its batches, in the order they run.
struct Generation {
    session: Session,
    batches: Vec<Batch>,
}

impl Generation {
    fn decode(&mut self, call: usize, options: &ProbeOptions) -> Result<BatchResult, Failure> {
        let batch = &self.batches[call];
        self.session.run(&batch.prompts, options).map_err(|error| blame(batch, error))
    }
}

impl Workload for Generation {
    fn items(&self, call: usize) -> &[String] {
        &self.batches[call].items
    }

    fn run(&mut self, call: usize) -> Result<Measured, Failure> {
        let BatchResult { outputs, timings } = self.decode(call, &ProbeOptions::default())?;
        let Timings { total, encoder, prefill, steps } = timings;
        let steps = steps.into_iter().map(nanoseconds).collect();
        let mut parts = BTreeMap::from([("encoder", vec![nanoseconds(encoder)]), ("step", steps)]);
        parts.extend(prefill.map(|took| ("prefill", vec![nanoseconds(took)])));
        Ok(Measured { total_ns: nanoseconds(total), parts, outputs, ..Measured::default() })
    }

    fn probe(&mut self, call: usize, options: &ProbeOptions) -> Result<Probed, Failure> {
        Ok(Probed { outputs: self.decode(call, options)?.outputs, tensors: None })
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        let kind =
            if error.answered().is_some() { FailureKind::Answer } else { FailureKind::Model };
        Self::new(kind, error.to_string())
    }
}

/// Names the item whose answer cannot be one, or else all that were in the batch.
fn blame(batch: &Batch, error: PipelineError) -> Failure {
    let answered =
        error.answered().and_then(|text| batch.prompts.iter().position(|prompt| prompt == text));
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
