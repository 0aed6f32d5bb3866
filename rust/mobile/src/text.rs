//! Prompts, options and answers of language models.

use std::sync::{Arc, Mutex, PoisonError};

use charsiug2p_language::Ended;
use charsiug2p_workload::SamplingOptions;
use crossbeam_channel::{Receiver, Sender};

use crate::cancel::Cancellation;
use crate::error::MobileError;
use crate::stream::{Failure, Next, Sent};
use crate::worker::Pending;

/// The most tokens that a generation may be asked for.
const MOST_TOKENS: u32 = 1 << 20;

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum PromptPart {
    /// Text, for a model with a tokenizer. Names of special tokens in it are text like any other.
    Text {
        /// The text.
        text: String,
    },
    /// A special token by its name, such as `<|im_end|>`, for a model with a tokenizer.
    Special {
        /// The name in the model's `tokenizer.json`.
        name: String,
    },
    /// Token ids.
    Tokens {
        /// The ids.
        tokens: Vec<i32>,
    },
}

/// How an answer is generated.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct GenerationOptions {
    /// The most tokens of the answer, 1 to 1048576. It ends earlier where the context is full.
    #[uniffi(default = 256)]
    pub max_tokens: u32,
    /// Texts that end the answer and are not a part of it, for a model with a tokenizer: 16 at most.
    #[uniffi(default = [])]
    pub stop_strings: Vec<String>,
    /// 0: the best token each time. Else tokens are drawn by chance, below 1 with more of the probable ones.
    #[uniffi(default = 0.0)]
    pub temperature: f64,
    /// Draws from so many of the most probable tokens only; 0 means all.
    #[uniffi(default = 0)]
    pub top_k: u32,
    /// Draws from the most probable tokens whose probabilities together reach this, 0 to 1.
    #[uniffi(default = 1.0)]
    pub top_p: f64,
    /// Draws from tokens that are at least this share as probable as the most probable one, 0 to 1.
    #[uniffi(default = 0.0)]
    pub min_p: f64,
    /// Makes tokens that the text has already less probable if it is above 1.
    #[uniffi(default = 1.0)]
    pub repetition_penalty: f64,
    /// The same seed draws the same tokens from the same text, on every machine.
    #[uniffi(default = 0)]
    pub seed: u64,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            max_tokens: 256,
            stop_strings: Vec::new(),
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl GenerationOptions {
    /// Checks the numbers.
    pub(crate) fn check(&self) -> Result<(), MobileError> {
        let bad = |name: &str, allowed: &str, found: &dyn ToString| MobileError::BadOption {
            name: name.to_owned(),
            allowed: allowed.to_owned(),
            found: found.to_string(),
        };
        if !(1..=MOST_TOKENS).contains(&self.max_tokens) {
            return Err(bad("max_tokens", &format!("1 to {MOST_TOKENS}"), &self.max_tokens));
        }
        #[allow(clippy::cast_possible_truncation)] // Scores are float32.
        let positive = |value: f64| value as f32 > 0.0 && (value as f32).is_finite();
        if self.temperature != 0.0 && !positive(self.temperature) {
            return Err(bad("temperature", "0, or a number above it", &self.temperature));
        }
        if !positive(self.repetition_penalty) {
            let found = &self.repetition_penalty;
            return Err(bad("repetition_penalty", "a number above 0", found));
        }
        for (name, value) in [("top_p", self.top_p), ("min_p", self.min_p)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(bad(name, "0 to 1", &value));
            }
        }
        Ok(())
    }

    /// A sampler's options; none if the model's own best token is the answer.
    pub(crate) fn sampling(&self) -> Option<SamplingOptions> {
        let plain = (self.repetition_penalty - 1.0).abs() == 0.0;
        if self.greedy() {
            // Only the penalty changes which token is the best.
            let penalized = SamplingOptions {
                repetition_penalty: self.repetition_penalty,
                ..SamplingOptions::default()
            };
            return (!plain).then_some(penalized);
        }
        Some(SamplingOptions {
            temperature: self.temperature,
            top_k: self.top_k as usize,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        })
    }

    /// Whether the best token is taken.
    pub(crate) fn greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Piece {
    /// Whole characters, and nothing of a stop string. Empty for a model without a tokenizer, and where the last tokens
    /// of an answer have no text.
    pub text: String,
    /// The tokens since the piece before.
    pub tokens: Vec<i32>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum GenerationEnd {
    /// It has as many tokens as were asked for.
    Length,
    /// The model gave a token that ends it.
    StopToken,
    /// It came to a stop string.
    StopString,
    /// The model's context is full.
    ContextFull,
}

impl GenerationEnd {
    /// None if the listener left, which is a stop string's doing or an error.
    pub(crate) fn of(ended: Ended) -> Option<Self> {
        match ended {
            Ended::Length => Some(Self::Length),
            Ended::StopToken => Some(Self::StopToken),
            Ended::ContextFull => Some(Self::ContextFull),
            Ended::Left => None,
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Generation {
    /// All pieces' text together.
    pub text: String,
    /// All tokens, with a stop token and with those of a stop string.
    pub tokens: Vec<i32>,
    /// Why it ended.
    pub ended: GenerationEnd,
    /// The stop string to which it came.
    pub stop_string: Option<String>,
    /// How many tokens were before the answer: the conversation's and the prompt's.
    pub prompt_tokens: u64,
    /// How many of them the model had not read in an earlier call.
    pub read_tokens: u64,
    /// From the start of the call until the first token was known; 0 without a token.
    pub first_token_nanoseconds: u64,
    /// How long the call took.
    pub nanoseconds: u64,
}

/// A text that continues from call to call: prompts, and the model's answers.
///
/// The model keeps what it computed of the text, and reads only what is new. After
/// [`Session::release_memory`](crate::Session::release_memory) it reads the text again. A call that was cancelled
/// leaves the tokens that were decoded until then, one that failed nothing.
#[derive(uniffi::Object)]
pub struct Conversation {
    text: Arc<Mutex<Vec<i32>>>,
    model: String,
    session: u64,
    /// Has the session free the memory of a conversation that was dropped.
    waker: Sender<()>,
}

#[uniffi::export]
impl Conversation {
    /// All tokens: of prompts, and of answers with their stop tokens and stop strings.
    #[must_use]
    pub fn tokens(&self) -> Vec<i32> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Conversation {
    pub(crate) fn new(model: &str, session: u64, waker: Sender<()>) -> Arc<Self> {
        Arc::new(Self { text: Arc::default(), model: model.to_owned(), session, waker })
    }

    /// Checks that it is of this session.
    pub(crate) fn check(&self, model: &str, session: u64) -> Result<(), MobileError> {
        if self.session == session {
            return Ok(());
        }
        Err(MobileError::OtherConversation { of: self.model.clone(), model: model.to_owned() })
    }

    pub(crate) fn text(&self) -> &Arc<Mutex<Vec<i32>>> {
        &self.text
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // The session looks for conversations that are gone. One that waits to look already will find this one, too.
        self.text = Arc::default();
        let _ = self.waker.try_send(());
    }
}

/// Gets an answer as it is decoded. It is called on the model's thread.
#[uniffi::export(with_foreign)]
pub trait TextListener: Send + Sync {
    /// More of the answer.
    fn on_piece(&self, piece: Piece);

    /// The answer is complete, or `failure` has the reason why it is not. Called exactly once.
    fn on_end(&self, generation: Option<Generation>, failure: Option<Failure>);
}

/// An answer to take piece after piece.
#[derive(uniffi::Object)]
pub struct TextStream {
    sent: Sent<Piece, Generation>,
    generation: Mutex<Option<Generation>>,
}

impl TextStream {
    pub(crate) fn new(
        received: Receiver<Piece>,
        cancellation: Arc<Cancellation>,
        pending: Pending<Generation>,
    ) -> Arc<Self> {
        let generation = Mutex::default();
        Arc::new(Self { sent: Sent::new(received, cancellation, pending), generation })
    }
}

#[uniffi::export]
impl TextStream {
    /// Waits for the next piece; none once all are taken.
    ///
    /// # Errors
    /// [`MobileError`], once, if the call ended early.
    pub fn next(&self) -> Result<Option<Piece>, MobileError> {
        match self.sent.next()? {
            Next::One(piece) => Ok(Some(piece)),
            Next::Nothing => Ok(None),
            Next::End(generation) => {
                let mut kept = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
                *kept = Some(generation);
                Ok(None)
            }
        }
    }

    /// The whole answer, once [`TextStream::next`] had no more pieces.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl TextStream {
    /// The pieces that follow, as Rust's iterators have them.
    pub fn pieces(&self) -> impl Iterator<Item = Result<Piece, MobileError>> + '_ {
        std::iter::from_fn(|| self.next().transpose())
    }
}
