//! The sizes a session needs, wherever they come from.

use charsiug2p_g2p_core::PromptFormat;
use thiserror::Error;

/// 4 GiB of float32.
const MAX_CACHE_ELEMENTS: usize = 1 << 30;

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
    #[error("{name} {id} lies outside the vocabulary of {vocab_size}")]
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
    #[error(
        "self_cache_shape {found:?} is not [layers, 2, batch_size {batch_size}, max_output_len \
         {max_output_len}, heads * d_kv]"
    )]
    CacheShape {
        /// The shape given.
        found: Vec<usize>,
        /// Words a batch.
        batch_size: usize,
        /// Tokens a word.
        max_output_len: usize,
    },
}

/// Sizes and special tokens of a compiled G2P model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelConfig {
    /// Rows of every tensor; the archive is compiled for exactly this many.
    pub batch_size: usize,
    /// Bytes of prompt at most.
    pub max_input_bytes: usize,
    /// Generated tokens at most.
    pub max_output_len: usize,
    /// Logits a token.
    pub vocab_size: usize,
    /// Token at position 0.
    pub decoder_start_token_id: i32,
    /// Token that ends an output.
    pub eos_token_id: i32,
    /// `[decoder layers, 2, batch, max_output_len, heads * d_kv]`; none without a cache.
    pub self_cache_shape: Option<Vec<usize>>,
    /// Whether a space follows the prompt's colon.
    pub prompt_space: bool,
}

impl ModelConfig {
    /// How the model wants its prompt.
    #[must_use]
    pub fn prompt_format(&self) -> PromptFormat {
        PromptFormat { max_input_bytes: self.max_input_bytes, space: self.prompt_space }
    }

    /// Checks that the sizes make sense together.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self, use_kv_cache: bool) -> Result<(), ConfigError> {
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
        if !use_kv_cache {
            return Ok(());
        }
        let shape = self.self_cache_shape.as_deref().ok_or(ConfigError::NoCacheShape)?;
        let fits = matches!(shape, &[layers, 2, batch, length, width]
            if layers > 0 && width > 0 && batch == self.batch_size && length == self.max_output_len);
        let elements = shape.iter().fold(1, |count: usize, &extent| count.saturating_mul(extent));
        if elements > MAX_CACHE_ELEMENTS {
            let name = "the number of elements of self_cache_shape";
            Err(ConfigError::TooLarge { name, size: elements, limit: MAX_CACHE_ELEMENTS })
        } else if fits {
            Ok(())
        } else {
            Err(ConfigError::CacheShape {
                found: shape.to_vec(),
                batch_size: self.batch_size,
                max_output_len: self.max_output_len,
            })
        }
    }
}
