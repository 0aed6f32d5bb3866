//! The system-lib prefixes of a G2P model's functions.

use std::collections::BTreeMap;

use crate::error::TvmError;

/// A function of a model.
pub const ENCODER: &str = "encoder";
/// The cacheless decoder.
pub const DECODER: &str = "decoder";
/// Computes the cross-attention keys and values of a word.
pub const DECODER_PREFILL: &str = "decoder_prefill";
/// One decoding step with the cache.
pub const DECODER_STEP: &str = "decoder_step";

/// Which decoder a model has, with its prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecoderPrefixes {
    /// Cacheless: every step runs over all tokens so far.
    Full {
        /// Prefix of the decoder.
        decoder: String,
    },
    /// With a key-value cache; such archives have no `decoder`.
    Cached {
        /// Prefix of the prefill.
        prefill: String,
        /// Prefix of the step.
        step: String,
    },
}

/// The prefixes of a G2P model's functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemLibPrefixes {
    /// Prefix of the encoder.
    pub encoder: String,
    /// Prefixes of the decoder.
    pub decoder: DecoderPrefixes,
}

impl SystemLibPrefixes {
    /// From function names and prefixes, as the metadata's `prefixes` has them; other functions in
    /// the map are ignored.
    ///
    /// # Errors
    /// [`TvmError::NoPrefix`] names the missing function.
    pub fn from_map(map: &BTreeMap<String, String>, use_kv_cache: bool) -> Result<Self, TvmError> {
        let get = |function: &'static str| {
            map.get(function).cloned().ok_or_else(|| TvmError::NoPrefix {
                missing: function,
                named: map.keys().cloned().collect(),
            })
        };
        let decoder = if use_kv_cache {
            DecoderPrefixes::Cached { prefill: get(DECODER_PREFILL)?, step: get(DECODER_STEP)? }
        } else {
            DecoderPrefixes::Full { decoder: get(DECODER)? }
        };
        Ok(Self { encoder: get(ENCODER)?, decoder })
    }

    /// The prefixes the compiler gives by default: the base, the function's name, an underscore.
    #[must_use]
    pub fn from_base(base: &str, use_kv_cache: bool) -> Self {
        let prefix = |function: &str| format!("{base}{function}_");
        let decoder = if use_kv_cache {
            DecoderPrefixes::Cached { prefill: prefix(DECODER_PREFILL), step: prefix(DECODER_STEP) }
        } else {
            DecoderPrefixes::Full { decoder: prefix(DECODER) }
        };
        Self { encoder: prefix(ENCODER), decoder }
    }

    /// Function names and prefixes, in the order they run.
    #[must_use]
    pub fn functions(&self) -> Vec<(&'static str, &str)> {
        let mut functions = vec![(ENCODER, self.encoder.as_str())];
        match &self.decoder {
            DecoderPrefixes::Full { decoder } => functions.push((DECODER, decoder)),
            DecoderPrefixes::Cached { prefill, step } => {
                functions.push((DECODER_PREFILL, prefill));
                functions.push((DECODER_STEP, step));
            }
        }
        functions
    }
}
