//! `system_lib_metadata.json`, which the compiler writes next to the archive.

use std::collections::BTreeMap;

use charsiug2p_g2p_tvm::{SystemLibPrefixes, TvmError};
use serde::Deserialize;

use crate::config::{CacheDtype, ConfigError, ModelConfig, Precision};

const fn byt5_vocab_size() -> usize {
    384
}

const fn byt5_eos() -> i32 {
    1
}

const fn yes() -> bool {
    true
}

/// The metadata. Keys not named here are allowed and ignored; those with a default are younger than
/// the format, and the default is what ByT5 models have.
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
    /// Words a batch.
    pub batch_size: usize,
    /// Bytes of prompt at most.
    pub max_input_bytes: usize,
    /// Generated tokens at most.
    pub max_output_len: usize,
    /// Name of the compilation target.
    pub target: String,
    /// Which decoder was compiled.
    pub use_kv_cache: bool,
    /// Hash of the archive.
    #[serde(default)]
    pub archive_sha256: Option<String>,
    /// Logits a token.
    #[serde(default = "byt5_vocab_size")]
    pub vocab_size: usize,
    /// Token at position 0.
    #[serde(default)]
    pub decoder_start_token_id: i32,
    /// Token that ends an output.
    #[serde(default = "byt5_eos")]
    pub eos_token_id: i32,
    /// Shape of the cache; needed with one.
    #[serde(default)]
    pub self_cache_shape: Option<Vec<usize>>,
    /// What the cache holds.
    #[serde(default)]
    pub self_cache_dtype: CacheDtype,
    /// How the model was compiled.
    #[serde(default)]
    pub precision: Precision,
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
        SystemLibPrefixes::from_map(&self.prefixes, self.use_kv_cache)
    }

    /// The sizes, checked.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn model_config(&self) -> Result<ModelConfig, ConfigError> {
        let config = ModelConfig {
            batch_size: self.batch_size,
            max_input_bytes: self.max_input_bytes,
            max_output_len: self.max_output_len,
            vocab_size: self.vocab_size,
            decoder_start_token_id: self.decoder_start_token_id,
            eos_token_id: self.eos_token_id,
            self_cache_shape: self.self_cache_shape.clone(),
            self_cache_dtype: self.self_cache_dtype,
            prompt_space: self.prompt_space,
        };
        config.check(self.use_kv_cache)?;
        Ok(config)
    }
}
