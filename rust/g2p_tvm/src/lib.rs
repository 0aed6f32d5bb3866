//! A safe face over TVM's C interface, for models linked into the program as system libraries.
//!
//! ```no_run
//! use charsiug2p_g2p_tvm::{Argument, DEFAULT_ENTRY, DeviceConfig, Tensor, TvmModule};
//! let main = TvmModule::from_system_lib("g2p_test_")?.load_entry(DeviceConfig::cpu(), DEFAULT_ENTRY)?;
//! let answer = main.call_tensor(&[Argument::Tensor(&Tensor::from_slice(&[1], &[1.5_f32])?)])?;
//! assert_eq!(answer.as_slice::<f32>()?, [2.5]);
//! # Ok::<(), charsiug2p_g2p_tvm::TvmError>(())
//! ```
//!
//! What is linked, and how, is decided by the `G2P_TVM_*` variables at build time (docs/rust.md).
//! Built without them, everything compiles and every call answers [`TvmError::NotLinked`].
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod element;
mod error;
mod ffi;
mod link;
mod module;
mod prefixes;
mod tensor;

pub use element::ElementType;
pub use error::TvmError;
pub use ffi::{set_num_threads, Element, Float16};
pub use link::{compiled_prefix, compiled_system_lib_dir, ensure_linked};
pub use module::{Argument, Array, DeviceConfig, Function, TvmModule, Value, DEFAULT_ENTRY};
pub use prefixes::{
    DecoderPrefixes, SystemLibPrefixes, DECODER, DECODER_PREFILL, DECODER_STEP, ENCODER,
};
pub use tensor::Tensor;
