//! What is wrong with a step of a generation.

use charsiug2p_g2p_tvm::TvmError;
use charsiug2p_workload::BadLogits;
use thiserror::Error;

/// Why a generation cannot begin or continue.
#[derive(Debug, Error)]
pub enum BadStep {
    /// TVM's reason.
    #[error(transparent)]
    Tvm(#[from] TvmError),
    /// The text has no token, so nothing can follow it.
    #[error("the prompt is empty")]
    Empty,
    /// The text fills the cache, so nothing can follow it.
    #[error("{tokens} tokens leave no room for another one in the context of {capacity}")]
    Full {
        /// Of the text.
        tokens: usize,
        /// The positions of the cache.
        capacity: usize,
    },
    /// The cache was made by another model.
    #[error("the cache is of the model {of:?}, and this one is {model:?}")]
    OtherModel {
        /// Who made the cache.
        of: String,
        /// Who was to use it.
        model: String,
    },
    /// A logit is not finite.
    #[error("the model's logits of step {step} hold {value}, not a finite number")]
    NotFinite {
        /// From 0.
        step: usize,
        /// The logit.
        value: f32,
    },
    /// A token that there is not.
    #[error("step {step} answered token {token}, outside the vocabulary")]
    NoToken {
        /// From 0.
        step: usize,
        /// The token.
        token: i32,
    },
    /// A token that is not the best one.
    #[error("step {step} answered token {token}, which is not its best logit")]
    NotBest {
        /// From 0.
        step: usize,
        /// The token.
        token: i32,
    },
    /// Logits from which no token can be drawn.
    #[error("no token can be drawn at step {step}: {reason}")]
    NotDrawn {
        /// From 0.
        step: usize,
        /// What is wrong with them.
        reason: BadLogits,
    },
}
