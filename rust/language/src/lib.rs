#![doc = include_str!("../README.md")]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_step;
mod decoder;
mod generate;
mod pieces;
mod stops;
#[cfg(feature = "tokenizer")]
mod tokenizer;

pub use bad_step::BadStep;
pub use decoder::{Cache, CacheDtype, Decoder, Sizes, WithCache, PREFILL, STEP};
pub use generate::{generate, Choice, Ended, Listener, Model, Plan};
pub use pieces::{Decode, Pieces};
pub use stops::{Stops, MOST_STOPS, MOST_STOP_BYTES};
#[cfg(feature = "tokenizer")]
pub use tokenizer::Tokenizer;
