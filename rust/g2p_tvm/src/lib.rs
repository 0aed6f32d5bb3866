#![doc = include_str!("../README.md")]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cpu;
mod element;
mod error;
mod ffi;
mod link;
mod module;
mod prefixes;
mod tensor;

pub use cpu::{cpu_features, known_cpu_features};
pub use element::ElementType;
pub use error::TvmError;
pub use ffi::{num_threads, set_num_threads, Element, Float16};
pub use link::{compiled_prefix, compiled_system_lib_dir, ensure_linked};
pub use module::{Argument, Array, DeviceConfig, Function, TvmModule, Value, DEFAULT_ENTRY};
pub use prefixes::{
    DecoderPrefixes, SystemLibPrefixes, DECODER, DECODER_PREFILL, DECODER_STEP, ENCODER,
};
pub use tensor::Tensor;
