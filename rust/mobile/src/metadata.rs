//! What the library holds, from `system_lib_metadata.json`.

use std::collections::{BTreeMap, BTreeSet};

use charsiug2p_g2p_pipeline::SystemLibMetadata;
use charsiug2p_language::{CacheDtype, Sizes, PREFILL, STEP};
use serde::Deserialize;
use serde_json::Value;

use crate::error::MobileError;
use crate::tensor::{DataType, Extent, InputInfo};

/// The model of an archive with a G2P model; nothing in its metadata names it.
pub const G2P: &str = "g2p";

/// Compiled in by the build script; empty without an archive.
pub(crate) const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/metadata.json"));

include!(concat!(env!("OUT_DIR"), "/tokenizers.rs"));

/// What a model is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ModelKind {
    /// `run_inference`, with tensors.
    Tensors,
    /// `phonemize`, with words.
    Words,
    /// `generate`, with a prompt.
    Text,
}

/// A model in the library.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ModelInfo {
    /// The name to load it by.
    pub name: String,
    /// What it is called with.
    pub kind: ModelKind,
    /// The inputs of a model of tensors.
    pub inputs: Vec<InputInfo>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// The languages of a model of words; empty if it takes any.
    pub languages: Vec<String>,
    /// The most bytes of `<language>: word` that a model of words takes; else 0.
    pub max_input_bytes: u64,
    /// How many tokens a text of a language model can have, with its prompt; else 0.
    pub context_tokens: u64,
    /// How many tokens a language model knows; else 0.
    pub vocab_size: u64,
    /// Whether a language model takes and gives text: the library has its tokenizer.
    pub has_tokenizer: bool,
}

impl ModelInfo {
    /// A model with nothing of what only one kind has.
    pub(crate) fn new(name: String, kind: ModelKind) -> Self {
        Self {
            name,
            kind,
            inputs: Vec::new(),
            outputs: Vec::new(),
            languages: Vec::new(),
            max_input_bytes: 0,
            context_tokens: 0,
            vocab_size: 0,
            has_tokenizer: false,
        }
    }
}

/// Versions of the library and of what it holds.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Versions {
    /// Of this crate.
    pub library: String,
    /// Of TVM's compiler.
    pub tvm: String,
    /// Name of the compile target.
    pub target: String,
    /// SHA-256 of the archive, by which `harness` names a build.
    pub archive_sha256: String,
}

/// A model with what is needed to load it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelEntry {
    pub info: ModelInfo,
    pub source: Source,
}

/// Where a model's functions are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Tensors { prefix: String },
    Words(Box<SystemLibMetadata>),
    Text(Box<TextSource>),
}

/// A language model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextSource {
    /// The functions to their prefixes.
    pub prefixes: BTreeMap<String, String>,
    pub sizes: Sizes,
    /// Tokens that end an answer.
    pub stop_tokens: Vec<i32>,
    /// The content of its `tokenizer.json`.
    pub tokenizer: Option<&'static [u8]>,
}

/// The metadata, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metadata {
    pub versions: Versions,
    pub models: Vec<ModelEntry>,
    pub cpu_features: Vec<String>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    kind: RawKind,
    #[serde(default)]
    models: Vec<Value>,
    archive_sha256: String,
    target: String,
    tvm_version: String,
    #[serde(default)]
    cpu_features: Vec<String>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    #[default]
    G2p,
    Tensors,
}

/// What the metadata calls a language model's kind.
const LANGUAGE: &str = "language";

#[derive(Deserialize)]
struct RawLanguage {
    name: String,
    prefixes: BTreeMap<String, String>,
    vocab_size: usize,
    capacity: usize,
    /// The positions that the model knows, where the cache has more.
    context: Option<usize>,
    block: usize,
    #[serde(default)]
    stop_tokens: Vec<i32>,
    cache_shape: Vec<usize>,
    #[serde(default)]
    cache_dtype: CacheDtype,
}

#[derive(Deserialize)]
struct RawModel {
    name: String,
    prefix: String,
    inputs: Vec<RawInput>,
    outputs: Vec<RawOutput>,
}

#[derive(Deserialize)]
struct RawInput {
    name: String,
    dtype: DataType,
    shape: Vec<RawExtent>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawExtent {
    Fixed(u64),
    Named(String),
}

#[derive(Deserialize)]
struct RawOutput {
    name: String,
}

impl Metadata {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`MobileError::BadMetadata`].
    pub fn read(text: &str) -> Result<Self, MobileError> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| bad(&error))?;
        let mut models = Vec::new();
        if raw.kind == RawKind::G2p {
            models.push(words(text)?);
        }
        for value in raw.models {
            models.push(described(value)?);
        }
        let mut seen = BTreeSet::new();
        for model in &models {
            if !seen.insert(&model.info.name) {
                return Err(bad(&format!("it names two models {:?}", model.info.name)));
            }
        }
        if models.is_empty() {
            return Err(bad("it names no model"));
        }
        let versions = Versions {
            library: env!("CARGO_PKG_VERSION").to_owned(),
            tvm: raw.tvm_version,
            target: raw.target,
            archive_sha256: raw.archive_sha256,
        };
        Ok(Self { versions, models, cpu_features: raw.cpu_features })
    }

    /// The model of that name.
    ///
    /// # Errors
    /// [`MobileError::UnknownModel`].
    pub fn model(&self, name: &str) -> Result<&ModelEntry, MobileError> {
        self.models.iter().find(|model| model.info.name == name).ok_or_else(|| {
            let known = self.models.iter().map(|model| model.info.name.clone()).collect();
            MobileError::UnknownModel { name: name.to_owned(), known }
        })
    }
}

fn bad(reason: &(impl ToString + ?Sized)) -> MobileError {
    MobileError::BadMetadata { message: reason.to_string() }
}

fn words(text: &str) -> Result<ModelEntry, MobileError> {
    let metadata: SystemLibMetadata = serde_json::from_str(text).map_err(|error| bad(&error))?;
    metadata.config.check().map_err(|error| bad(&error))?;
    metadata.system_lib_prefixes().map_err(|error| bad(&error))?;
    let info = ModelInfo {
        languages: metadata.languages.clone().unwrap_or_default(),
        max_input_bytes: metadata.config.max_input_bytes as u64,
        ..ModelInfo::new(G2P.to_owned(), ModelKind::Words)
    };
    Ok(ModelEntry { info, source: Source::Words(Box::new(metadata)) })
}

/// One of the models beside that of words.
fn described(value: Value) -> Result<ModelEntry, MobileError> {
    if value.get("kind").and_then(Value::as_str) == Some(LANGUAGE) {
        return language(serde_json::from_value(value).map_err(|error| bad(&error))?);
    }
    Ok(tensors(serde_json::from_value(value).map_err(|error| bad(&error))?))
}

fn language(raw: RawLanguage) -> Result<ModelEntry, MobileError> {
    let named = |reason: String| bad(&format!("the model {:?}: {reason}", raw.name));
    let capacity = raw.context.map_or(raw.capacity, |context| context.min(raw.capacity));
    let sizes = Sizes {
        vocab_size: raw.vocab_size,
        capacity,
        block: raw.block.min(capacity),
        cache_shape: raw.cache_shape,
        cache_dtype: raw.cache_dtype,
    };
    sizes.check().map_err(named)?;
    if ![PREFILL, STEP].iter().all(|&name| raw.prefixes.contains_key(name)) {
        return Err(named(format!("it needs the functions {PREFILL:?} and {STEP:?}")));
    }
    if let Some(token) = raw.stop_tokens.iter().find(|&&token| !sizes.knows(token)) {
        return Err(named(format!("the stop token {token} is outside of its vocabulary")));
    }
    let tokenizer = TOKENIZERS.iter().find(|(name, _)| *name == raw.name).map(|(_, data)| *data);
    let info = ModelInfo {
        context_tokens: sizes.capacity as u64,
        vocab_size: sizes.vocab_size as u64,
        has_tokenizer: tokenizer.is_some(),
        ..ModelInfo::new(raw.name, ModelKind::Text)
    };
    let (prefixes, stop_tokens) = (raw.prefixes, raw.stop_tokens);
    let source = TextSource { prefixes, sizes, stop_tokens, tokenizer };
    Ok(ModelEntry { info, source: Source::Text(Box::new(source)) })
}

fn tensors(raw: RawModel) -> ModelEntry {
    let extent = |raw| match raw {
        RawExtent::Fixed(size) => Extent::Fixed { size },
        RawExtent::Named(name) => Extent::Named { name },
    };
    let input = |raw: RawInput| InputInfo {
        name: raw.name,
        data_type: raw.dtype,
        shape: raw.shape.into_iter().map(extent).collect(),
    };
    let info = ModelInfo {
        inputs: raw.inputs.into_iter().map(input).collect(),
        outputs: raw.outputs.into_iter().map(|output| output.name).collect(),
        ..ModelInfo::new(raw.name, ModelKind::Tensors)
    };
    ModelEntry { info, source: Source::Tensors { prefix: raw.prefix } }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
