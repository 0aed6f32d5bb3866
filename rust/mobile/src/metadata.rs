//! What the library holds, from `system_lib_metadata.json`.

use std::collections::BTreeSet;

use charsiug2p_g2p_pipeline::SystemLibMetadata;
use serde::Deserialize;

use crate::error::MobileError;
use crate::tensor::{DataType, Extent, InputInfo};

/// The model of an archive with a G2P model; nothing in its metadata names it.
pub const G2P: &str = "g2p";

/// Compiled in by the build script; empty without an archive.
pub(crate) const EMBEDDED: &str = include_str!(concat!(env!("OUT_DIR"), "/metadata.json"));

/// What a model is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ModelKind {
    /// `run_inference`, with tensors.
    Tensors,
    /// `phonemize`, with words.
    Words,
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
    models: Vec<RawModel>,
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
        models.extend(raw.models.into_iter().map(tensors));
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
        name: G2P.to_owned(),
        kind: ModelKind::Words,
        inputs: Vec::new(),
        outputs: Vec::new(),
        languages: metadata.languages.clone().unwrap_or_default(),
        max_input_bytes: metadata.config.max_input_bytes as u64,
    };
    Ok(ModelEntry { info, source: Source::Words(Box::new(metadata)) })
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
        name: raw.name,
        kind: ModelKind::Tensors,
        inputs: raw.inputs.into_iter().map(input).collect(),
        outputs: raw.outputs.into_iter().map(|output| output.name).collect(),
        languages: Vec::new(),
        max_input_bytes: 0,
    };
    ModelEntry { info, source: Source::Tensors { prefix: raw.prefix } }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
