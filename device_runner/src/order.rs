//! The work order: `harness/protocol/schema.py` in Rust, and everything that can be wrong with one.

use std::collections::{BTreeMap, BTreeSet};

use charsiug2p_g2p_core::Language;
use charsiug2p_g2p_pipeline::{group_by_length, CacheDtype, ModelConfig, Precision, ProbeOptions};
use charsiug2p_g2p_tvm::SystemLibPrefixes;
use serde::Deserialize;

use crate::failure::Failure;
use crate::slowdown::Slowdown;
use crate::taps::TapWindow;
use crate::tensor_model::{self, TensorItem, TensorModel};

/// The one version of the schema.
pub const SCHEMA_VERSION: u32 = 1;

const fn one() -> usize {
    1
}

const fn eos() -> i32 {
    1
}

const fn yes() -> bool {
    true
}

const fn version() -> u32 {
    SCHEMA_VERSION
}

/// The kinds of model this runner knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Words to phonemes.
    #[default]
    G2p,
}

/// A model of the archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderModel {
    pub name: String,
    #[serde(default)]
    pub kind: ModelKind,
    pub prefixes: BTreeMap<String, String>,
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
    #[serde(default = "yes")]
    pub prompt_space: bool,
}

/// One word to run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkItem {
    pub id: String,
    pub model: String,
    pub language: String,
    pub word: String,
}

/// What the probe pass records.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordOptions {
    #[serde(default)]
    pub margins: bool,
    #[serde(default)]
    pub logit_steps: Vec<usize>,
    #[serde(default)]
    pub taps: Option<TapWindow>,
}

/// What to run and how often.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkOrder {
    #[serde(default = "version")]
    pub schema_version: u32,
    pub order_id: String,
    pub archive_sha256: String,
    pub models: Vec<OrderModel>,
    pub items: Vec<WorkItem>,
    #[serde(default)]
    pub tensor_models: Vec<TensorModel>,
    #[serde(default)]
    pub tensor_items: Vec<TensorItem>,
    #[serde(default = "one")]
    pub warmup: usize,
    #[serde(default = "one")]
    pub repetitions: usize,
    #[serde(default = "one")]
    pub threads: usize,
    #[serde(default)]
    pub probe: Option<RecordOptions>,
    /// Samples that an earlier process of this order has recorded.
    #[serde(default)]
    pub skip_samples: usize,
    /// Probes that an earlier process of this order has recorded.
    #[serde(default)]
    pub skip_probes: usize,
    /// A test of the gate: how much longer each call is made to take.
    #[serde(default)]
    pub slowdown_percent: f64,
}

/// A model of a checked order.
#[derive(Debug, Clone)]
pub struct PlannedModel {
    pub name: String,
    pub prefixes: SystemLibPrefixes,
    pub config: ModelConfig,
}

/// Items of one model with prompts of like lengths, at most its batch size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Index into [`Plan::models`].
    pub model: usize,
    pub items: Vec<String>,
    pub prompts: Vec<String>,
}

/// A checked order, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub order_id: String,
    pub models: Vec<PlannedModel>,
    pub batches: Vec<Batch>,
    pub tensor_models: Vec<TensorModel>,
    /// In the order they run, behind the batches.
    pub tensor_items: Vec<TensorItem>,
    /// Batches and tensor items: what a pass runs.
    pub units: usize,
    pub warmup: usize,
    pub repetitions: usize,
    pub threads: usize,
    pub probe: Option<ProbeOptions>,
    /// Of the probe.
    pub taps: Option<TapWindow>,
    pub skip_samples: usize,
    pub skip_probes: usize,
    pub slowdown: Slowdown,
}

impl Plan {
    /// Whether samples are left to record; the memory of a process that ran none says nothing.
    pub fn has_samples_left(&self) -> bool {
        let passes = self.warmup.saturating_add(self.repetitions);
        self.skip_samples == 0 || passes.saturating_mul(self.units) > self.skip_samples
    }
}

/// Reads an order. The order id is found even in orders that are refused, where there is one.
pub fn parse(bytes: &[u8]) -> Result<WorkOrder, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::usage(format!("the order: {error}")))
}

/// The order id of bytes that may be no valid order; empty if there is none.
pub fn order_id_of(bytes: &[u8]) -> String {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .ok()
        .and_then(|order| Some(order.get("order_id")?.as_str()?.to_owned()))
        .unwrap_or_default()
}

impl WorkOrder {
    /// Checks everything that can be checked before the first model is loaded.
    pub fn plan(self, archive_sha256: &str) -> Result<Plan, Failure> {
        if self.schema_version != SCHEMA_VERSION {
            return Err(Failure::usage(format!(
                "schema_version {} is not {SCHEMA_VERSION}, the one this runner knows",
                self.schema_version
            )));
        }
        if self.order_id.is_empty() {
            return Err(Failure::usage("order_id is empty"));
        }
        if self.archive_sha256 != archive_sha256 {
            return Err(Failure::usage(format!(
                "the order is for the archive {}, this runner was built with {archive_sha256}",
                self.archive_sha256
            )));
        }
        if self.threads == 0 {
            return Err(Failure::usage("threads must be at least 1"));
        }
        let slowdown = Slowdown::new(self.slowdown_percent)?;
        if self.models.is_empty() && self.tensor_models.is_empty() {
            return Err(Failure::usage("the order names no models"));
        }
        let models = plan_models(self.models)?;
        let batches = plan_batches(&self.items, &models)?;
        let names = models.iter().map(|model| model.name.as_str()).collect();
        let ids: BTreeSet<_> = self.items.iter().map(|item| item.id.as_str()).collect();
        if let Some(window) = self.probe.as_ref().and_then(|probe| probe.taps.as_ref()) {
            window.check(|item| {
                ids.contains(item) || self.tensor_items.iter().any(|known| known.id == item)
            })?;
        }
        tensor_model::check(&self.tensor_models, &self.tensor_items, names, ids)?;
        let units = batches.len() + self.tensor_items.len();
        let passes = self.warmup.checked_add(self.repetitions);
        let samples = passes.and_then(|passes| passes.checked_mul(units));
        let probes = if self.probe.is_some() { units } else { 0 };
        for (skipped, all, what) in [
            (self.skip_samples, samples.unwrap_or(0), "samples"),
            (self.skip_probes, probes, "probes"),
        ] {
            if skipped > all {
                let message = format!("skip_{what} is {skipped}, the order has {all} {what}");
                return Err(Failure::usage(message));
            }
        }
        if self.skip_probes > 0 && samples != Some(self.skip_samples) {
            let message = "skip_probes without skipping every sample: probes come after them";
            return Err(Failure::usage(message));
        }
        let (probe, taps) = match self.probe {
            Some(RecordOptions { margins, logit_steps, taps }) => {
                (Some(ProbeOptions { margins, logit_steps }), taps)
            }
            None => (None, None),
        };
        Ok(Plan {
            order_id: self.order_id,
            models,
            batches,
            tensor_models: self.tensor_models,
            tensor_items: self.tensor_items,
            units,
            warmup: self.warmup,
            repetitions: self.repetitions,
            threads: self.threads,
            skip_samples: self.skip_samples,
            skip_probes: self.skip_probes,
            slowdown,
            probe,
            taps,
        })
    }
}

fn plan_models(models: Vec<OrderModel>) -> Result<Vec<PlannedModel>, Failure> {
    let mut names = BTreeSet::new();
    let mut planned = Vec::with_capacity(models.len());
    for model in models {
        let refuse = |reason: String| Failure::usage(format!("model {:?}: {reason}", model.name));
        if !names.insert(model.name.clone()) {
            return Err(refuse("named twice".to_owned()));
        }
        let ModelKind::G2p = model.kind;
        let prefixes = SystemLibPrefixes::from_map(&model.prefixes, model.use_kv_cache)
            .map_err(|error| refuse(error.to_string()))?;
        let needed = prefixes.functions();
        let unknown = model.prefixes.keys().find(|key| !needed.iter().any(|(name, _)| name == key));
        if let Some(unknown) = unknown {
            return Err(refuse(format!("no such model has a function {unknown:?}")));
        }
        if let Some((name, _)) = needed.iter().find(|(_, prefix)| prefix.is_empty()) {
            return Err(refuse(format!("the prefix of {name} is empty")));
        }
        let config = ModelConfig {
            batch_size: model.batch_size,
            max_input_bytes: model.max_input_bytes,
            max_output_len: model.max_output_len,
            vocab_size: model.vocab_size,
            decoder_start_token_id: model.decoder_start_token_id,
            eos_token_id: model.eos_token_id,
            self_cache_shape: model.self_cache_shape.clone(),
            self_cache_dtype: model.self_cache_dtype,
            prompt_space: model.prompt_space,
        };
        config.check(model.use_kv_cache).map_err(|error| refuse(error.to_string()))?;
        planned.push(PlannedModel { name: model.name, prefixes, config });
    }
    Ok(planned)
}

/// Batches of the first model's items, then of the next one's.
fn plan_batches(items: &[WorkItem], models: &[PlannedModel]) -> Result<Vec<Batch>, Failure> {
    let mut ids = BTreeSet::new();
    let mut prompts: Vec<Vec<(&str, String)>> = models.iter().map(|_| Vec::new()).collect();
    for item in items {
        let refuse = |reason: String| Failure::usage(reason).of_item(&item.id);
        if item.id.is_empty() {
            return Err(refuse("an item has no id".to_owned()));
        }
        if !ids.insert(&item.id) {
            return Err(refuse(format!("item {:?} stands twice in the order", item.id)));
        }
        let Some(model) = models.iter().position(|model| model.name == item.model) else {
            let known: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
            return Err(refuse(format!(
                "item {:?} is for the model {:?}, the order names {}",
                item.id,
                item.model,
                known.join(", ")
            )));
        };
        let prompt = Language::new(&item.language, None)
            .and_then(|code| models[model].config.prompt_format().prompt(&code, &item.word))
            .map_err(|error| refuse(format!("item {:?}: {error}", item.id)))?;
        prompts[model].push((&item.id, prompt));
    }
    let mut batches = Vec::new();
    for (model, prompts) in prompts.into_iter().enumerate() {
        let lengths: Vec<usize> = prompts.iter().map(|(_, prompt)| prompt.len()).collect();
        for group in group_by_length(&lengths, models[model].config.batch_size) {
            let (items, prompts) = group
                .into_iter()
                .map(|index| (prompts[index].0.to_owned(), prompts[index].1.clone()))
                .unzip();
            batches.push(Batch { model, items, prompts });
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items `0..n` for models of these batch sizes, in turn, with words of these lengths.
    fn batches(batch_sizes: &[usize], lengths: &[usize]) -> Vec<(usize, Vec<String>)> {
        let models: Vec<_> = batch_sizes
            .iter()
            .enumerate()
            .map(|(at, batch_size)| {
                serde_json::json!({"name": format!("m{at}"), "use_kv_cache": false,
                    "prefixes": {"encoder": "e_", "decoder": "d_"}, "batch_size": batch_size,
                    "max_input_bytes": 64, "max_output_len": 8, "vocab_size": 384})
            })
            .collect();
        let items: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(at, &length)| {
                serde_json::json!({"id": at.to_string(), "model": format!("m{}", at % models.len()),
                    "language": "eng-us", "word": "a".repeat(length)})
            })
            .collect();
        let order = serde_json::json!({"order_id": "o", "archive_sha256": "unknown",
            "models": models, "items": items});
        let plan = parse(order.to_string().as_bytes()).unwrap().plan("unknown").unwrap();
        for batch in &plan.batches {
            for (id, prompt) in batch.items.iter().zip(&batch.prompts) {
                let length = lengths[id.parse::<usize>().unwrap()];
                assert_eq!(*prompt, format!("<eng-us>: {}", "a".repeat(length)));
            }
        }
        plan.batches.into_iter().map(|batch| (batch.model, batch.items)).collect()
    }

    fn ids(batches: Vec<(usize, Vec<String>)>) -> Vec<(usize, String)> {
        batches.into_iter().map(|(model, items)| (model, items.join(" "))).collect()
    }

    #[test]
    fn items_of_like_lengths_share_a_batch_under_their_own_ids() {
        let batches = ids(batches(&[3], &[5, 1, 5, 2, 9, 1, 5]));
        let expected = ["1 5 3", "0 2 6", "4"].map(|ids| (0, ids.to_owned()));
        assert_eq!(batches, expected);
    }

    #[test]
    fn single_items_keep_their_order_and_models_do_not_mix() {
        let batches = ids(batches(&[1, 2], &[5, 5, 1, 4, 3, 9]));
        let expected = [(0, "0"), (0, "2"), (0, "4"), (1, "3 1"), (1, "5")];
        assert_eq!(batches, expected.map(|(model, ids)| (model, ids.to_owned())));
    }
}
