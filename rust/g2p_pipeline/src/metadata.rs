//! `system_lib_metadata.json`, which the compiler writes next to the archive.

use std::collections::BTreeMap;

use charsiug2p_g2p_core::PromptFormat;
use charsiug2p_g2p_tvm::{SystemLibPrefixes, TvmError};
use serde::Deserialize;

use crate::config::ModelConfig;

const fn yes() -> bool {
    true
}

/// The metadata. Keys not named here are allowed and ignored; those with a default are younger than
/// the format.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SystemLibMetadata {
    /// File name of the archive.
    pub archive: String,
    /// What all prefixes begin with.
    pub prefix_base: String,
    /// Function to system-lib prefix; with the cache there is no `decoder`.
    pub prefixes: BTreeMap<String, String>,
    /// The compiled checkpoint.
    pub checkpoint: String,
    /// Name of the compilation target.
    pub target: String,
    /// Hash of the archive.
    #[serde(default)]
    pub archive_sha256: Option<String>,
    /// The model's sizes, not checked.
    #[serde(flatten)]
    pub config: ModelConfig,
    /// Whether a space follows the prompt's colon.
    #[serde(default = "yes")]
    pub prompt_space: bool,
    /// The languages of the model; none if nobody listed them.
    #[serde(default)]
    pub languages: Option<Vec<String>>,
}

impl SystemLibMetadata {
    /// The prefixes of the functions this variant of the model has.
    ///
    /// # Errors
    /// [`TvmError::NoPrefix`].
    pub fn system_lib_prefixes(&self) -> Result<SystemLibPrefixes, TvmError> {
        SystemLibPrefixes::from_map(&self.prefixes, self.config.use_kv_cache)
    }

    /// How the model wants its prompt.
    #[must_use]
    pub fn prompt_format(&self) -> PromptFormat {
        PromptFormat { max_input_bytes: self.config.max_input_bytes, space: self.prompt_space }
    }
}
