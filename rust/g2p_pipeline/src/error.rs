//! What can go wrong between a prompt and its phonemes.

use charsiug2p_g2p_tvm::TvmError;
use thiserror::Error;

use crate::config::ConfigError;

/// An error of a session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PipelineError {
    /// TVM or the linked model.
    #[error(transparent)]
    Tvm(#[from] TvmError),
    /// The sizes of the model.
    #[error("the model's sizes cannot be: {0}")]
    Config(#[from] ConfigError),
    /// A batch that the archive is not compiled for.
    #[error("a batch of {given} prompts, the model takes 1 to {batch_size}")]
    BatchSize {
        /// How many prompts were given.
        given: usize,
        /// How many the archive takes.
        batch_size: usize,
    },
    /// A prompt that was not checked.
    #[error("the prompt {prompt:?} has {size} bytes, the model takes 1 to {limit}")]
    PromptSize {
        /// The prompt.
        prompt: String,
        /// Its bytes.
        size: usize,
        /// `max_input_bytes`.
        limit: usize,
    },
    /// Arithmetic that went astray inside the model.
    #[error("the model's logits of step {step} for {prompt:?} hold {value}, not a finite number")]
    NotFinite {
        /// The decoding step.
        step: usize,
        /// The prompt.
        prompt: String,
        /// NaN or an infinity, as text.
        value: String,
    },
    /// A token that is none.
    #[error(
        "step {step} for {prompt:?} answered token {token}, outside the vocabulary of {vocab_size}"
    )]
    NoToken {
        /// The decoding step.
        step: usize,
        /// The prompt.
        prompt: String,
        /// The answer.
        token: i32,
        /// The model's `vocab_size`.
        vocab_size: usize,
    },
    /// A token that the model's own logits do not favour; looked for where margins are.
    #[error("step {step} for {prompt:?} answered token {token}, which is not its best logit")]
    NotBest {
        /// The decoding step.
        step: usize,
        /// The prompt.
        prompt: String,
        /// The answer.
        token: i32,
    },
}

impl PipelineError {
    /// The prompt whose answer cannot be one, though the model ran; `None` for whatever kept it from running.
    #[must_use]
    pub fn answered(&self) -> Option<&str> {
        match self {
            Self::NotFinite { prompt, .. }
            | Self::NoToken { prompt, .. }
            | Self::NotBest { prompt, .. } => Some(prompt),
            Self::Tvm(_) | Self::Config(_) | Self::BatchSize { .. } | Self::PromptSize { .. } => {
                None
            }
        }
    }
}
