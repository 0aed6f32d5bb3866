//! TVM's C interface (`tvm/ffi/c_api.h`, version 0.1) and all `unsafe` code of the workspace.
//!
//! Why not the `tvm-ffi` crate: its `-sys` crate always links `dylib=tvm_ffi` from the folder that a
//! `tvm-ffi-config` on `PATH` prints, so it can neither be linked statically nor built for a phone.
//! The part needed here is small: reference counts, calls, errors and tensors.
//!
//! The functions of this module are safe to call. One thing cannot be checked from here: compiled
//! functions get raw memory of their arguments and are trusted to stay inside it, to write only to
//! arguments meant to be written, and not to keep using memory after they return.
#![allow(unsafe_code)]

mod call;
mod layout;
mod object;
mod tensor;
mod threads;

use std::ffi::c_int;
#[cfg(g2p_tvm_linked)]
use std::ffi::c_void;
use std::fmt;
use std::ptr;

use crate::error::TvmError;
use layout::{ByteArray, DlManagedTensor, ErrorCell, ObjectHeader, RawAny};

pub use call::{call, global, RawArgument, Returned, MAX_ARGUMENTS};
pub use layout::Dtype;
pub use object::Object;
pub use tensor::{Element, Float16, TensorObject};
pub use threads::{num_threads, set_num_threads};

/// What the shims return when the program is not linked with TVM; TVM itself returns 0 or -1.
const NOT_LINKED: c_int = c_int::MIN;

macro_rules! tvm_functions {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> c_int;)*) => {
        #[cfg(g2p_tvm_linked)]
        unsafe extern "C" {
            $(fn $name($($argument: $kind),*) -> c_int;)*
        }
        $(
            #[cfg(not(g2p_tvm_linked))]
            #[allow(non_snake_case)]
            unsafe extern "C" fn $name($(_: $kind),*) -> c_int {
                NOT_LINKED
            }
        )*
    };
}

tvm_functions! {
    fn TVMFFIObjectIncRef(object: *mut ObjectHeader) -> c_int;
    fn TVMFFIObjectDecRef(object: *mut ObjectHeader) -> c_int;
    fn TVMFFIFunctionGetGlobal(name: *const ByteArray, out: *mut *mut ObjectHeader) -> c_int;
    fn TVMFFIFunctionCall(
        function: *mut ObjectHeader, arguments: *mut RawAny, count: i32, result: *mut RawAny
    ) -> c_int;
    fn TVMFFITensorFromDLPack(
        from: *mut DlManagedTensor, alignment: i32, contiguous: i32, out: *mut *mut ObjectHeader
    ) -> c_int;
}

#[cfg(g2p_tvm_ffi_testing)]
unsafe extern "C" {
    fn TVMFFITestingDummyTarget();
}

#[cfg(g2p_tvm_linked)]
#[repr(C)]
struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

#[cfg(g2p_tvm_linked)]
unsafe extern "C" {
    fn TVMFFIErrorMoveFromRaised(error: *mut *mut ObjectHeader);
    fn TVMFFIGetVersion(version: *mut Version);
    fn TVMBackendParallelLaunch(body: *const c_void, data: *mut c_void, tasks: c_int) -> c_int;
}

#[cfg(not(g2p_tvm_linked))]
#[allow(non_snake_case)]
unsafe extern "C" fn TVMFFIErrorMoveFromRaised(_: *mut *mut ObjectHeader) {}

/// Whether TVM is linked, and in a version this module is written for.
#[cfg(not(g2p_tvm_linked))]
pub fn check_linked() -> Result<(), TvmError> {
    Err(TvmError::NotLinked)
}

#[cfg(g2p_tvm_linked)]
pub fn check_linked() -> Result<(), TvmError> {
    // Nothing else refers to the runtime library (models are found through its registry), so
    // without this reference --as-needed would drop the shared one, also in dependents, which no
    // linker argument from here can reach.
    std::hint::black_box(TVMBackendParallelLaunch as *const c_void);
    #[cfg(g2p_tvm_ffi_testing)]
    std::hint::black_box(TVMFFITestingDummyTarget as *const c_void);
    let mut version = Version { major: 0, minor: 0, patch: 0 };
    // SAFETY: the header promises this function for every version; the pointer is to a local.
    unsafe { TVMFFIGetVersion(&raw mut version) };
    match version {
        Version { major: 0, minor: 1, .. } => Ok(()),
        Version { major, minor, patch } => {
            Err(TvmError::Version { found: format!("{major}.{minor}.{patch}"), expected: "0.1" })
        }
    }
}

/// The error for a call's status other than 0.
fn raised(status: c_int, doing: &dyn fmt::Display) -> TvmError {
    if status == NOT_LINKED {
        return TvmError::NotLinked;
    }
    let mut error = ptr::null_mut();
    // SAFETY: the pointer is to a local; the function stores an owned error object or null in it.
    unsafe { TVMFFIErrorMoveFromRaised(&raw mut error) };
    let (kind, message) = match Object::from_owned(error) {
        // SAFETY: an error object's header is followed by its cell, alive as long as the object.
        Some(object) => unsafe {
            let cell = object.as_ptr().add(1).cast::<ErrorCell>();
            (text(&(*cell).kind), text(&(*cell).message))
        },
        None => (String::from("an unknown error"), format!("status {status}")),
    };
    TvmError::Raised { doing: doing.to_string(), kind, message }
}

/// # Safety
/// The array must point to `size` readable bytes.
unsafe fn text(bytes: &ByteArray) -> String {
    if bytes.data.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.data.cast::<u8>(), bytes.size) };
    String::from_utf8_lossy(bytes).into_owned()
}
