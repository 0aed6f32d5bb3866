//! From C's pointers to values and back.

use std::ffi::{c_char, CStr, CString};
use std::slice;

use super::TensorView;
use crate::error::MobileError;
use crate::guard::caught;
use crate::tensor::{DataType, NamedTensor};

/// An argument that cannot be used.
pub(super) fn bad(message: impl Into<String>) -> MobileError {
    MobileError::BadArgument { message: message.into() }
}

/// Does the work of a function; its code, with the message written where one is wanted.
pub(super) fn answer(
    message: *mut *mut c_char,
    work: impl FnOnce() -> Result<(), MobileError>,
) -> i32 {
    let Err(error) = caught(work) else {
        return 0;
    };
    if !message.is_null() {
        // SAFETY: not null, and to be written by the promise of every function that has it.
        unsafe { message.write(owned_text(&error.to_string()).into_raw()) };
    }
    error.code()
}

/// A text for C. A NUL inside, which C cannot have, becomes the replacement character.
pub(super) fn owned_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// # Safety
/// The text is null or ends in a NUL, and is not changed while it is borrowed.
pub(super) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, MobileError> {
    if text.is_null() {
        return Err(bad(format!("{name} is null")));
    }
    // SAFETY: not null, and by the caller's promise.
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes.to_str().map_err(|_| bad(format!("{name} is not UTF-8")))
}

/// # Safety
/// The array is null or has as many texts, each null or ending in a NUL.
pub(super) unsafe fn texts(
    array: *const *const c_char,
    count: usize,
    name: &str,
) -> Result<Vec<String>, MobileError> {
    // SAFETY: by the caller's promise.
    let pointers = unsafe { array_of(array, count, name) }?;
    let each = format!("one of {name}");
    // SAFETY: by the caller's promise.
    pointers.iter().map(|&one| unsafe { text(one, &each) }.map(str::to_owned)).collect()
}

/// # Safety
/// The array is null or has as many elements, which are not changed while they are borrowed.
pub(super) unsafe fn array_of<'a, T>(
    array: *const T,
    count: usize,
    name: &str,
) -> Result<&'a [T], MobileError> {
    if count == 0 {
        return Ok(&[]);
    }
    let fits = count.checked_mul(size_of::<T>()).is_some_and(|size| isize::try_from(size).is_ok());
    if array.is_null() || !array.is_aligned() || !fits {
        return Err(bad(format!("{name} is null, not aligned, or longer than any memory")));
    }
    // SAFETY: checked above, and by the caller's promise.
    Ok(unsafe { slice::from_raw_parts(array, count) })
}

/// # Safety
/// The array is null or has as many views, whose pointers are null or lead to values of their types.
pub(super) unsafe fn tensors(
    array: *const TensorView,
    count: usize,
) -> Result<Vec<NamedTensor>, MobileError> {
    // SAFETY: by the caller's promise.
    let views = unsafe { array_of(array, count, "inputs") }?;
    // SAFETY: by the caller's promise.
    views.iter().map(|view| unsafe { tensor(view) }).collect()
}

/// # Safety
/// The view's pointers are null or lead to values of their types.
unsafe fn tensor(view: &TensorView) -> Result<NamedTensor, MobileError> {
    // SAFETY: by the caller's promise.
    let name = unsafe { text(view.name, "an input's name") }?;
    let data_type =
        usize::try_from(view.element).ok().and_then(|at| DataType::ALL.get(at).copied());
    let data_type = data_type.ok_or_else(|| bad(format!("{} is no element type", view.element)))?;
    // SAFETY: by the caller's promise.
    let (shape, data) = unsafe {
        (array_of(view.shape, view.rank, "a shape")?, array_of(view.data, view.size, "data")?)
    };
    Ok(NamedTensor { name: name.to_owned(), data_type, shape: shape.to_vec(), data: data.to_vec() })
}

/// # Safety
/// The handle is null or alive while it is borrowed.
pub(super) unsafe fn borrow<'a, T>(handle: *const T, name: &str) -> Result<&'a T, MobileError> {
    // SAFETY: by the caller's promise.
    unsafe { handle.as_ref() }.ok_or_else(|| bad(format!("{name} is null")))
}

/// # Safety
/// `out` is null or can be written.
pub(super) unsafe fn write_out<T>(out: *mut T, value: T) -> Result<(), MobileError> {
    if out.is_null() {
        return Err(bad("out is null"));
    }
    // SAFETY: not null, and by the caller's promise.
    unsafe { out.write(value) };
    Ok(())
}

/// # Safety
/// `out` is null or can be written.
pub(super) unsafe fn give<T>(out: *mut *mut T, value: T) -> Result<(), MobileError> {
    if out.is_null() {
        return Err(bad("out is null"));
    }
    // SAFETY: not null, and by the caller's promise.
    unsafe { write_out(out, Box::into_raw(Box::new(value))) }
}
