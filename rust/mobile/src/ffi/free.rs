//! What ends the life of a handle. A function each, because cbindgen reads no macros.

use std::ffi::{c_char, CString};

use super::text::{ConversationHandle, GenerationHandle};
use super::{CancellationHandle, LibraryHandle, PhonemesHandle, SessionHandle, TensorsHandle};
use crate::guard::caught;

/// # Safety
/// The handle is null or came from a box, and was not freed.
unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: by the caller's promise. What ends with it may not unwind into C.
        let owned = unsafe { Box::from_raw(handle) };
        let _ = caught(|| {
            drop(owned);
            Ok(())
        });
    }
}

/// Frees the models' handle. Open sessions continue. Null is allowed.
///
/// # Safety
/// The handle is null or one of this library that was not freed, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_library(handle: *mut LibraryHandle) {
    // SAFETY: by the caller's promise.
    unsafe { free(handle) };
}

/// Frees a session, which ends after the call that runs. Null is allowed.
///
/// # Safety
/// The handle is null or one of this library that was not freed, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_session(handle: *mut SessionHandle) {
    // SAFETY: by the caller's promise.
    unsafe { free(handle) };
}

/// Frees a cancellation. Null is allowed.
///
/// # Safety
/// The handle is null or one of this library that was not freed, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_cancellation(handle: *mut CancellationHandle) {
    // SAFETY: by the caller's promise.
    unsafe { free(handle) };
}

/// Frees outputs, and with them their views. Null is allowed.
///
/// # Safety
/// The handle is null or one of this library that was not freed, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_tensors(handle: *mut TensorsHandle) {
    // SAFETY: by the caller's promise.
    unsafe { free(handle) };
}

/// Frees phonemes. Null is allowed.
///
/// # Safety
/// The handle is null or one of this library that was not freed, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_phonemes(handle: *mut PhonemesHandle) {
    // SAFETY: by the caller's promise.
    unsafe { free(handle) };
}

/// Frees a conversation's handle; the session frees its memory. Null is allowed.
///
/// # Safety
/// The handle is null or one of this library that was not freed, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_conversation(handle: *mut ConversationHandle) {
    // SAFETY: by the caller's promise.
    unsafe { free(handle) };
}

/// Frees an answer, and with it its view. Null is allowed.
///
/// # Safety
/// The handle is null or one of this library that was not freed, and no other call uses it.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_generation(handle: *mut GenerationHandle) {
    // SAFETY: by the caller's promise.
    unsafe { free(handle) };
}

/// Frees a message or a description. Null is allowed.
///
/// # Safety
/// The text is null or one that this library wrote, and was not freed.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_free_text(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: by the caller's promise it came from `CString::into_raw`.
        drop(unsafe { CString::from_raw(text) });
    }
}
