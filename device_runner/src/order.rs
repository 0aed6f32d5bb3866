//! The work order: `harness/protocol.py` in Rust, and everything that can be wrong with one.

use std::collections::{BTreeMap, BTreeSet};

use charsiug2p_g2p_core::Language;
use charsiug2p_g2p_pipeline::{ModelConfig, ProbeOptions};
use charsiug2p_g2p_tvm::SystemLibPrefixes;
use serde::Deserialize;

use crate::failure::Failure;

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
    #[serde(default = "one")]
    pub warmup: usize,
    #[serde(default = "one")]
    pub repetitions: usize,
    #[serde(default = "one")]
    pub threads: usize,
    #[serde(default)]
    pub probe: Option<RecordOptions>,
}

/// A model of a checked order.
#[derive(Debug, Clone)]
pub struct PlannedModel {
    pub name: String,
    pub prefixes: SystemLibPrefixes,
    pub config: ModelConfig,
}

/// Consecutive items of one model, at most its batch size.
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
    pub warmup: usize,
    pub repetitions: usize,
    pub threads: usize,
    pub probe: Option<ProbeOptions>,
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
        let models = plan_models(self.models)?;
        let batches = plan_batches(&self.items, &models)?;
        Ok(Plan {
            order_id: self.order_id,
            models,
            batches,
            warmup: self.warmup,
            repetitions: self.repetitions,
            threads: self.threads,
            probe: self.probe.map(|RecordOptions { margins, logit_steps }| ProbeOptions {
                margins,
                logit_steps,
            }),
        })
    }
}

fn plan_models(models: Vec<OrderModel>) -> Result<Vec<PlannedModel>, Failure> {
    if models.is_empty() {
        return Err(Failure::usage("the order names no models"));
    }
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
            prompt_space: model.prompt_space,
        };
        config.check(model.use_kv_cache).map_err(|error| refuse(error.to_string()))?;
        planned.push(PlannedModel { name: model.name, prefixes, config });
    }
    Ok(planned)
}

fn plan_batches(items: &[WorkItem], models: &[PlannedModel]) -> Result<Vec<Batch>, Failure> {
    let mut ids = BTreeSet::new();
    let mut batches: Vec<Batch> = Vec::new();
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
        let config = &models[model].config;
        let prompt = Language::new(&item.language, None)
            .and_then(|language| config.prompt_format().prompt(&language, &item.word))
            .map_err(|error| refuse(format!("item {:?}: {error}", item.id)))?;
        match batches.last_mut() {
            Some(batch) if batch.model == model && batch.items.len() < config.batch_size => {
                batch.items.push(item.id.clone());
                batch.prompts.push(prompt);
            }
            _ => {
                batches.push(Batch { model, items: vec![item.id.clone()], prompts: vec![prompt] });
            }
        }
    }
    Ok(batches)
}
