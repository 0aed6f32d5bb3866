//! The sizes a session needs, from any source.

use serde::Deserialize;
use thiserror::Error;

/// 4 GiB of float32, 2 GiB of float16.
const MAX_CACHE_ELEMENTS: usize = 1 << 30;

const fn byt5_vocab_size() -> usize {
    384
}

const fn byt5_eos() -> i32 {
    1
}

/// A model's sizes that no session could work with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A size of zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A size beyond any model, which would only exhaust the memory.
    #[error("{name} {size} is more than {limit}")]
    TooLarge {
        /// Which size.
        name: &'static str,
        /// The size given.
        size: usize,
        /// The largest accepted.
        limit: usize,
    },
    /// A token id outside the vocabulary.
    #[error("{name} {id} is outside the vocabulary of {vocab_size}")]
    TokenId {
        /// Which token.
        name: &'static str,
        /// Its id.
        id: i32,
        /// The vocabulary's size.
        vocab_size: usize,
    },
    /// A cached model without the shape of its cache.
    #[error("a model with a cache needs self_cache_shape")]
    NoCacheShape,
    /// A cache whose shape contradicts the other sizes.
    #[error("self_cache_shape {found:?} does not begin with batch_size {batch_size}, or is empty")]
    CacheShape {
        /// The shape given.
        found: Vec<usize>,
        /// Words a batch.
        batch_size: usize,
    },
}

/// The element type of a cache. Only compiled functions use the elements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheDtype {
    /// Four bytes each.
    #[default]
    Float32,
    /// Two bytes each.
    Float16,
}

/// How a model was compiled, for readers of its metadata; decoding does not depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Weights and arithmetic in float32.
    #[default]
    Fp32,
    /// Weights in float16.
    Fp16,
    /// Weights in int8.
    Int8,
}

/// Sizes and special tokens of a compiled G2P model, as the metadata and the device runner's orders have them. Keys
/// with a default are younger than the metadata, and the default is what ByT5 models have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ModelConfig {
    /// Which decoder was compiled.
    pub use_kv_cache: bool,
    /// Words decoded together at most; the archive is compiled for exactly this many.
    pub batch_size: usize,
    /// Bytes of prompt at most.
    pub max_input_bytes: usize,
    /// Generated tokens at most.
    pub max_output_len: usize,
    /// Logits a token.
    #[serde(default = "byt5_vocab_size")]
    pub vocab_size: usize,
    /// Token at position 0.
    #[serde(default)]
    pub decoder_start_token_id: i32,
    /// Token that ends an output.
    #[serde(default = "byt5_eos")]
    pub eos_token_id: i32,
    /// Shape of the cache, whose first extent is the batch size; none without a cache.
    #[serde(default)]
    pub self_cache_shape: Option<Vec<usize>>,
    /// What the cache holds.
    #[serde(default)]
    pub self_cache_dtype: CacheDtype,
    /// How the model was compiled.
    #[serde(default)]
    pub precision: Precision,
}

impl ModelConfig {
    /// Checks that the sizes make sense together.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, size, limit) in [
            ("batch_size", self.batch_size, 1 << 12),
            ("max_input_bytes", self.max_input_bytes, 1 << 16),
            ("max_output_len", self.max_output_len, 1 << 16),
            ("vocab_size", self.vocab_size, 1 << 24),
        ] {
            if size == 0 {
                return Err(ConfigError::Zero(name));
            }
            if size > limit {
                return Err(ConfigError::TooLarge { name, size, limit });
            }
        }
        for (name, id) in [
            ("decoder_start_token_id", self.decoder_start_token_id),
            ("eos_token_id", self.eos_token_id),
        ] {
            if usize::try_from(id).is_ok_and(|id| id < self.vocab_size) {
                continue;
            }
            return Err(ConfigError::TokenId { name, id, vocab_size: self.vocab_size });
        }
        if !self.use_kv_cache {
            return Ok(());
        }
        let shape = self.self_cache_shape.as_deref().ok_or(ConfigError::NoCacheShape)?;
        let elements = shape.iter().fold(1, |count: usize, &extent| count.saturating_mul(extent));
        if elements > MAX_CACHE_ELEMENTS {
            let name = "the number of elements of self_cache_shape";
            Err(ConfigError::TooLarge { name, size: elements, limit: MAX_CACHE_ELEMENTS })
        } else if shape.first() == Some(&self.batch_size) && elements > 0 {
            Ok(())
        } else {
            let (found, batch_size) = (shape.to_vec(), self.batch_size);
            Err(ConfigError::CacheShape { found, batch_size })
        }
    }
}
