//! What can go wrong between an app and a model.

use thiserror::Error;

/// An error of this crate. Every variant has a message for a person and a number that does not change ([`MobileError::code`]).
#[derive(Debug, Clone, PartialEq, Eq, Error, uniffi::Error)]
#[uniffi(flat_error)]
pub enum MobileError {
    /// The library was built without TVM.
    #[error("this library was built without models: {message}")]
    NotLinked {
        /// Which variables link them.
        message: String,
    },
    /// The metadata is no metadata, or lacks what it needs.
    #[error("the metadata cannot be used: {message}")]
    BadMetadata {
        /// What is wrong.
        message: String,
    },
    /// The metadata describes other models than those in the library.
    #[error("the metadata is of another build: it describes the archive {found}, the library holds {expected}")]
    OtherBuild {
        /// Hash of the archive in the library.
        expected: String,
        /// Hash in the metadata.
        found: String,
    },
    /// The library has no model of that name.
    #[error("there is no model {name:?}; the library holds {}", known.join(", "))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The metadata names a model whose code is not in the library.
    #[error("the model {model:?} is not in the library: {message}")]
    ModelMissing {
        /// The model.
        model: String,
        /// What was looked for.
        message: String,
    },
    /// The model's data cannot be loaded.
    #[error("the model {model:?} is damaged: {message}")]
    CorruptModel {
        /// The model.
        model: String,
        /// TVM's reason.
        message: String,
    },
    /// There is not enough memory.
    #[error("not enough memory: {message}")]
    OutOfMemory {
        /// For what.
        message: String,
    },
    /// The processor lacks what the models were compiled for.
    #[error("this processor has no {}, which the models were compiled for", missing.join(", "))]
    UnsupportedCpu {
        /// Names of what it lacks.
        missing: Vec<String>,
    },
    /// A call that this kind of model does not answer.
    #[error("the model {model:?} takes {takes}")]
    WrongKind {
        /// The model.
        model: String,
        /// What it is called with.
        takes: String,
    },
    /// The inputs are not those of the model.
    #[error("the inputs are {found:?}, the model takes {expected:?}")]
    WrongInputs {
        /// The model's, in order.
        expected: Vec<String>,
        /// Those given.
        found: Vec<String>,
    },
    /// An input of another element type.
    #[error("the input {input:?} holds {found}, the model takes {expected}")]
    WrongType {
        /// The input.
        input: String,
        /// The model's type.
        expected: String,
        /// The type given.
        found: String,
    },
    /// An input of another shape.
    #[error("the input {input:?} has the shape {found:?}, the model takes [{expected}]")]
    WrongShape {
        /// The input.
        input: String,
        /// The model's shape, with names for what is not fixed.
        expected: String,
        /// The shape given.
        found: Vec<u64>,
    },
    /// Bytes that do not fill the shape.
    #[error("the input {input:?} has {found} bytes, its shape needs {expected}")]
    WrongSize {
        /// The input.
        input: String,
        /// Bytes of the shape.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// A word or a language that the model does not take.
    #[error("{message}")]
    BadWord {
        /// What is wrong.
        message: String,
    },
    /// An option outside its limits.
    #[error("{name} is {found}, and may be {allowed}")]
    BadOption {
        /// The option.
        name: String,
        /// Its limits.
        allowed: String,
        /// The value given.
        found: String,
    },
    /// A pointer that is null, or text that is not UTF-8. Only C can give them.
    #[error("{message}")]
    BadArgument {
        /// Which argument.
        message: String,
    },
    /// The session was closed.
    #[error("the session of {model:?} is closed")]
    Closed {
        /// The model.
        model: String,
    },
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
    /// More calls wait than the session's queue holds.
    #[error("{capacity} calls wait already: try again when one of them has ended")]
    QueueFull {
        /// The queue's capacity.
        capacity: u32,
    },
    /// The model ran and failed.
    #[error("the model {model:?} failed: {message}")]
    ModelFailed {
        /// The model.
        model: String,
        /// Why.
        message: String,
    },
    /// The self-test's orders are none, or its file cannot be written.
    #[error("the self-test was not done: {message}")]
    NotTested {
        /// Why.
        message: String,
    },
    /// A prompt that the model does not take.
    #[error("{message}")]
    BadPrompt {
        /// What is wrong.
        message: String,
    },
    /// The text fills the model's context, so nothing can follow it.
    #[error("{tokens} tokens leave no room for another one in the context of {context}")]
    ContextFull {
        /// Of the conversation with the prompt.
        tokens: u64,
        /// The most that there can be.
        context: u64,
    },
    /// A conversation of another session.
    #[error(
        "the conversation is of another session, of the model {of:?}; this one is of {model:?}"
    )]
    OtherConversation {
        /// The model of the conversation.
        of: String,
        /// The session's.
        model: String,
    },
    /// A defect: of this library, or of a listener that it called.
    #[error("a defect, please report it: {message}")]
    Panic {
        /// The panic's message.
        message: String,
    },
}

impl MobileError {
    /// A number that stays the same in later versions. 0 means no error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NotLinked { .. } => 1,
            Self::BadMetadata { .. } => 2,
            Self::OtherBuild { .. } => 3,
            Self::UnknownModel { .. } => 4,
            Self::ModelMissing { .. } => 5,
            Self::CorruptModel { .. } => 6,
            Self::OutOfMemory { .. } => 7,
            Self::UnsupportedCpu { .. } => 8,
            Self::WrongKind { .. } => 9,
            Self::WrongInputs { .. } => 10,
            Self::WrongType { .. } => 11,
            Self::WrongShape { .. } => 12,
            Self::WrongSize { .. } => 13,
            Self::BadWord { .. } => 14,
            Self::BadOption { .. } => 15,
            Self::BadArgument { .. } => 16,
            Self::Closed { .. } => 17,
            Self::Cancelled => 18,
            Self::QueueFull { .. } => 19,
            Self::ModelFailed { .. } => 20,
            Self::Panic { .. } => 21,
            Self::NotTested { .. } => 22,
            Self::BadPrompt { .. } => 23,
            Self::ContextFull { .. } => 24,
            Self::OtherConversation { .. } => 25,
        }
    }
}
