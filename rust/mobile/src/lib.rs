#![doc = include_str!("../README.md")]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cancel;
mod cpu;
mod error;
pub mod ffi;
mod generation;
mod guard;
mod library;
mod metadata;
mod model;
mod reasons;
mod self_test;
mod session;
mod stream;
mod tensor;
mod text;
mod text_model;
mod tokenizer;
mod worker;

pub use cancel::Cancellation;
pub use error::MobileError;
pub use library::ModelLibrary;
pub use metadata::{ModelInfo, ModelKind, Versions, G2P};
pub use self_test::SelfTest;
pub use session::{Session, SessionOptions, MAX_QUEUE};
pub use stream::{Failure, PhonemeListener, PhonemeStream, Phonemes};
pub use tensor::{DataType, Extent, InputInfo, NamedTensor};
pub use text::{
    Conversation, Generation, GenerationEnd, GenerationOptions, Piece, PromptPart, TextListener,
    TextStream,
};

uniffi::setup_scaffolding!("charsiug2p");
