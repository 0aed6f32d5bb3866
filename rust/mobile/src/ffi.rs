//! The C interface, and all `unsafe` code of this crate.
//!
//! Each function returns a code, and writes what it makes through an out-pointer. With a code other than 0 nothing is
//! written but the message. No panic leaves a function: it would be undefined behaviour in C. What cannot be checked
//! here is that pointers which are not null lead to values of their types; each function's documentation asks for it.
#![allow(unsafe_code)]

mod convert;
mod free;
mod text;

use std::ffi::{c_char, c_void, CString};
use std::sync::Arc;

use convert::{answer, borrow, give, owned_text, text, texts, write_out};

use crate::cancel::Cancellation;
use crate::error::MobileError;
use crate::library::ModelLibrary;
use crate::session::{Session, SessionOptions};
use crate::tensor::{DataType, NamedTensor};

/// How a call ended. The numbers stay the same in later versions.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Code {
    Ok = 0,
    NotLinked = 1,
    BadMetadata = 2,
    OtherBuild = 3,
    UnknownModel = 4,
    ModelMissing = 5,
    CorruptModel = 6,
    OutOfMemory = 7,
    UnsupportedCpu = 8,
    WrongKind = 9,
    WrongInputs = 10,
    WrongType = 11,
    WrongShape = 12,
    WrongSize = 13,
    BadWord = 14,
    BadOption = 15,
    BadArgument = 16,
    Closed = 17,
    Cancelled = 18,
    QueueFull = 19,
    ModelFailed = 20,
    Panic = 21,
    NotTested = 22,
    BadPrompt = 23,
    ContextFull = 24,
    OtherConversation = 25,
}

/// The type of a tensor's elements.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Element {
    Float64 = 0,
    Float32 = 1,
    Float16 = 2,
    Int64 = 3,
    Int32 = 4,
    Int16 = 5,
    Int8 = 6,
    Uint8 = 7,
    Bool = 8,
}

/// A tensor in memory of the caller's, or in that of the tensors it was got from.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TensorView {
    /// The input's or output's name, in UTF-8.
    pub name: *const c_char,
    /// A number of the element types.
    pub element: i32,
    /// How many extents.
    pub rank: usize,
    /// The extents, the outermost first.
    pub shape: *const u64,
    /// How many bytes.
    pub size: usize,
    /// The elements, row-major and without gaps.
    pub data: *const u8,
}

/// Gets a word's phonemes. Anything but 0 ends the call, which then returns `Cancelled`.
pub type OnWord = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        index: usize,
        word: *const c_char,
        phonemes: *const c_char,
    ) -> i32,
>;

/// The models of the app.
pub struct LibraryHandle(Arc<ModelLibrary>);
/// A loaded model. Any thread may use it.
pub struct SessionHandle(Arc<Session>);
/// Cancels calls. Any thread may use it.
pub struct CancellationHandle(Arc<Cancellation>);
/// The outputs of a call.
pub struct TensorsHandle(Vec<(CString, NamedTensor)>);
/// The phonemes of a call, in the words' order.
pub struct PhonemesHandle(Vec<CString>);

/// Opens the models. `metadata` is null for those that the library was built with, or the text of the archive's
/// `system_lib_metadata.json`.
///
/// # Safety
/// `metadata` is null or ends in a NUL; `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_open(
    metadata: *const c_char,
    out: *mut *mut LibraryHandle,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        let library = if metadata.is_null() {
            ModelLibrary::open()?
        } else {
            // SAFETY: not null, and a text by the caller's promise.
            ModelLibrary::open_with_metadata(unsafe { text(metadata, "metadata") }?)?
        };
        // SAFETY: by the caller's promise.
        unsafe { give(out, LibraryHandle(library)) }
    })
}

/// Writes a description of the models and versions as JSON, to be freed by `charsiug2p_free_text`.
///
/// # Safety
/// `library` is null or a handle of this library; `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_describe(
    library: *const LibraryHandle,
    out: *mut *mut c_char,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let library = unsafe { borrow(library, "library") }?;
        let described = owned_text(&library.0.describe());
        // SAFETY: by the caller's promise.
        unsafe { write_out(out, described.into_raw()) }
    })
}

/// Loads a model into a session of its own. `queue_capacity` is how many calls may wait, 1 to 1024.
///
/// # Safety
/// `library` is null or a handle of this library; `model` is null or ends in a NUL; `out` and `message` are null or can
/// be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_load(
    library: *const LibraryHandle,
    model: *const c_char,
    queue_capacity: u32,
    out: *mut *mut SessionHandle,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let (library, model) = unsafe { (borrow(library, "library")?, text(model, "model")?) };
        let session = library.0.load(model, SessionOptions { queue_capacity })?;
        // SAFETY: by the caller's promise.
        unsafe { give(out, SessionHandle(session)) }
    })
}

/// Runs a model of tensors. `cancellation` may be null.
///
/// # Safety
/// Handles are null or of this library; `inputs` is null or as many views as `count`, whose pointers are null or lead
/// to values of their types; `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_run(
    session: *const SessionHandle,
    inputs: *const TensorView,
    count: usize,
    cancellation: *const CancellationHandle,
    out: *mut *mut TensorsHandle,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let session = unsafe { borrow(session, "session") }?;
        // SAFETY: by the caller's promise.
        let inputs = unsafe { convert::tensors(inputs, count) }?;
        // SAFETY: by the caller's promise.
        let cancellation = unsafe { optional(cancellation) };
        let outputs = session.0.run_inference(inputs, cancellation)?;
        let named = outputs.into_iter().map(|tensor| (owned_text(&tensor.name), tensor)).collect();
        // SAFETY: by the caller's promise.
        unsafe { give(out, TensorsHandle(named)) }
    })
}

/// How many tensors there are; 0 for null.
///
/// # Safety
/// `tensors` is null or a handle of this library.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_tensors_count(tensors: *const TensorsHandle) -> usize {
    // SAFETY: by the caller's promise.
    unsafe { tensors.as_ref() }.map_or(0, |tensors| tensors.0.len())
}

/// Writes a view of a tensor, which holds until the tensors are freed.
///
/// # Safety
/// `tensors` is null or a handle of this library; `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_tensors_get(
    tensors: *const TensorsHandle,
    index: usize,
    out: *mut TensorView,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let tensors = unsafe { borrow(tensors, "tensors") }?;
        let (name, tensor) = tensors
            .0
            .get(index)
            .ok_or_else(|| convert::bad(format!("there is no tensor {index}")))?;
        let at = DataType::ALL.iter().position(|one| *one == tensor.data_type);
        let view = TensorView {
            name: name.as_ptr(),
            element: at.and_then(|at| i32::try_from(at).ok()).unwrap_or(-1),
            rank: tensor.shape.len(),
            shape: tensor.shape.as_ptr(),
            size: tensor.data.len(),
            data: tensor.data.as_ptr(),
        };
        // SAFETY: by the caller's promise.
        unsafe { write_out(out, view) }
    })
}

/// Phonemes of words. `cancellation` may be null.
///
/// # Safety
/// Handles are null or of this library; `words` is null or as many texts as `count`; texts are null or end in a NUL;
/// `out` and `message` are null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_phonemize(
    session: *const SessionHandle,
    language: *const c_char,
    words: *const *const c_char,
    count: usize,
    cancellation: *const CancellationHandle,
    out: *mut *mut PhonemesHandle,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let (session, language) =
            unsafe { (borrow(session, "session")?, text(language, "language")?) };
        // SAFETY: by the caller's promise.
        let (words, cancellation) =
            unsafe { (texts(words, count, "words")?, optional(cancellation)) };
        let found = session.0.phonemize(language, words, cancellation)?;
        let found = found.iter().map(|one| owned_text(&one.phonemes)).collect();
        // SAFETY: by the caller's promise.
        unsafe { give(out, PhonemesHandle(found)) }
    })
}

/// A word's phonemes, until they are freed; null for null or an index outside.
///
/// # Safety
/// `phonemes` is null or a handle of this library.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_phonemes_get(
    phonemes: *const PhonemesHandle,
    index: usize,
) -> *const c_char {
    // SAFETY: by the caller's promise.
    let found = unsafe { phonemes.as_ref() }.and_then(|phonemes| phonemes.0.get(index));
    found.map_or(std::ptr::null(), |one| one.as_ptr())
}

/// Calls `on_word` with each word's phonemes, on the caller's thread. `cancellation` may be null.
///
/// # Safety
/// As for `charsiug2p_phonemize`; `on_word` is null or can be called with `user`, and does not throw.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_stream(
    session: *const SessionHandle,
    language: *const c_char,
    words: *const *const c_char,
    count: usize,
    cancellation: *const CancellationHandle,
    on_word: OnWord,
    user: *mut c_void,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let (session, language) =
            unsafe { (borrow(session, "session")?, text(language, "language")?) };
        // SAFETY: by the caller's promise.
        let (words, cancellation) =
            unsafe { (texts(words, count, "words")?, optional(cancellation)) };
        let on_word = on_word.ok_or_else(|| convert::bad("on_word is null"))?;
        for one in session.0.stream(language, words, cancellation)?.words() {
            let one = one?;
            let (word, phonemes) = (owned_text(&one.word), owned_text(&one.phonemes));
            // SAFETY: by the caller's promise; both texts outlive the call.
            if unsafe { on_word(user, one.index as usize, word.as_ptr(), phonemes.as_ptr()) } != 0 {
                return Err(MobileError::Cancelled);
            }
        }
        Ok(())
    })
}

/// Calls the model once with made-up input.
///
/// # Safety
/// `session` is null or a handle of this library; `message` is null or can be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_warm_up(
    session: *const SessionHandle,
    message: *mut *mut c_char,
) -> i32 {
    // SAFETY: by the caller's promise.
    answer(message, || unsafe { borrow(session, "session") }?.0.warm_up())
}

/// Runs orders of `harness selftest orders` inside the app, and writes their records to the file `out`, for
/// `harness selftest read`. `orders` is the text of that command's file. The number of orders
/// that did not run to their end is written to `failed`, which may be null.
///
/// # Safety
/// `library` is null or a handle of this library; texts are null or end in a NUL; `failed` and `message` are null or can
/// be written.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_self_test(
    library: *const LibraryHandle,
    orders: *const c_char,
    out: *const c_char,
    failed: *mut usize,
    message: *mut *mut c_char,
) -> i32 {
    answer(message, || {
        // SAFETY: by the caller's promise.
        let library = unsafe { borrow(library, "library") }?;
        // SAFETY: by the caller's promise.
        let (orders, out) = unsafe { (text(orders, "orders")?, text(out, "out")?) };
        let tested = library.0.self_test(orders, out)?;
        if failed.is_null() {
            return Ok(());
        }
        // SAFETY: by the caller's promise.
        unsafe { write_out(failed, tested.failures.len()) }
    })
}

/// For a low-memory signal: drops the loaded models of all sessions; their next calls load them again.
///
/// # Safety
/// `library` is null or a handle of this library.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_release_memory(library: *const LibraryHandle) {
    answer(std::ptr::null_mut(), || {
        // SAFETY: by the caller's promise.
        unsafe { borrow(library, "library") }?.0.release_memory();
        Ok(())
    });
}

/// Ends a session: later calls of it return `Closed`. The handle is still to be freed.
///
/// # Safety
/// `session` is null or a handle of this library.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_close(session: *const SessionHandle) {
    answer(std::ptr::null_mut(), || {
        // SAFETY: by the caller's promise.
        unsafe { borrow(session, "session") }?.0.close();
        Ok(())
    });
}

/// A new cancellation, for any number of calls.
#[no_mangle]
pub extern "C" fn charsiug2p_cancellation() -> *mut CancellationHandle {
    Box::into_raw(Box::new(CancellationHandle(Cancellation::new())))
}

/// Ends the calls that it was given to with `Cancelled`.
///
/// # Safety
/// `cancellation` is null or a handle of this library.
#[no_mangle]
pub unsafe extern "C" fn charsiug2p_cancel(cancellation: *const CancellationHandle) {
    // SAFETY: by the caller's promise.
    if let Some(cancellation) = unsafe { optional(cancellation) } {
        cancellation.cancel();
    }
}

/// # Safety
/// `cancellation` is null or a handle of this library.
unsafe fn optional(cancellation: *const CancellationHandle) -> Option<Arc<Cancellation>> {
    // SAFETY: by the caller's promise.
    unsafe { cancellation.as_ref() }.map(|one| one.0.clone())
}

#[cfg(test)]
#[path = "ffi_tests.rs"]
mod tests;
