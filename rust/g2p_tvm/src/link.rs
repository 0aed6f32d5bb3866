//! What the build script compiled in.

use std::path::Path;

use crate::error::TvmError;

/// Whether TVM is linked, in a version this crate is written for.
///
/// # Errors
/// [`TvmError::NotLinked`] names the variables to set; [`TvmError::Version`].
pub fn ensure_linked() -> Result<(), TvmError> {
    crate::ffi::check_linked()
}

/// The prefix base of `G2P_TVM_SYSTEM_LIB_PREFIX`, by default `g2p_`.
#[must_use]
pub const fn compiled_prefix() -> &'static str {
    env!("G2P_TVM_COMPILED_PREFIX")
}

/// The folder of `G2P_TVM_SYSTEM_LIB`, where its metadata was at build time.
#[must_use]
pub fn compiled_system_lib_dir() -> Option<&'static Path> {
    option_env!("G2P_TVM_COMPILED_DIR").map(Path::new)
}
