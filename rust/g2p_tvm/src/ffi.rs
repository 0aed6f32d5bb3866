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

mod tensor;
mod threads;

use std::ffi::{c_char, c_int, c_void, CString};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::TvmError;

pub use tensor::{
    host_tensor, tensor_dtype, tensor_extents, tensor_slice, tensor_slice_mut, Element,
};
pub use threads::set_num_threads;

/// More than any entry function has; keeps the arguments of a call on the stack.
pub const MAX_ARGUMENTS: usize = 16;

mod index {
    pub const NONE: i32 = 0;
    pub const INT: i32 = 1;
    pub const BOOL: i32 = 2;
    pub const FLOAT: i32 = 3;
    pub const RAW_STR: i32 = 8;
    pub const FIRST_OBJECT: i32 = 64;
    pub const FUNCTION: i32 = 68;
    pub const TENSOR: i32 = 70;
    pub const MODULE: i32 = 73;
}

#[repr(C)]
struct ObjectHeader {
    /// Strong count in the lower half.
    counts: AtomicU64,
    type_index: i32,
    padding: u32,
    /// A function pointer, 8 bytes wide on every platform.
    deleter: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
union Payload {
    int: i64,
    float: f64,
    text: *const c_char,
    object: *mut ObjectHeader,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RawAny {
    type_index: i32,
    small_length: u32,
    payload: Payload,
}

impl RawAny {
    const NONE: Self =
        Self { type_index: index::NONE, small_length: 0, payload: Payload { int: 0 } };
}

#[repr(C)]
struct ByteArray {
    data: *const c_char,
    size: usize,
}

/// The start of the cell that follows an error object's header.
#[repr(C)]
struct ErrorCell {
    kind: ByteArray,
    message: ByteArray,
}

#[repr(C)]
struct DlDevice {
    kind: i32,
    id: i32,
}

/// `DLDataType`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dtype {
    code: u8,
    bits: u8,
    lanes: u16,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, bits, lanes } = self;
        match code {
            0 => write!(f, "int{bits}")?,
            1 => write!(f, "uint{bits}")?,
            2 => write!(f, "float{bits}")?,
            4 => write!(f, "bfloat{bits}")?,
            6 => f.write_str("bool")?,
            _ => write!(f, "{bits} bits of dtype code {code}")?,
        }
        if *lanes == 1 {
            Ok(())
        } else {
            write!(f, "x{lanes}")
        }
    }
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: DlDevice,
    ndim: i32,
    dtype: Dtype,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct DlManagedTensor {
    tensor: DlTensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut DlManagedTensor)>,
}

/// What the stand-ins return when the program is not linked with TVM; TVM itself returns 0 or -1.
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
            let cell = object.0.as_ptr().add(1).cast::<ErrorCell>();
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

/// One strong reference to an object of TVM's. Neither `Send` nor `Sync`: a virtual machine and its
/// functions share state that nothing locks.
#[derive(Debug)]
pub struct Object(NonNull<ObjectHeader>);

impl Object {
    /// Takes over a reference that TVM handed out; null is none.
    fn from_owned(pointer: *mut ObjectHeader) -> Option<Self> {
        NonNull::new(pointer).map(Self)
    }

    fn type_index(&self) -> i32 {
        // SAFETY: the object is alive while `self` holds its reference.
        unsafe { self.0.as_ref() }.type_index
    }

    /// Whether this is the only strong reference.
    fn is_unique(&self) -> bool {
        // SAFETY: as above. Acquire pairs with the release of the decrement, as in `Arc`.
        let counts = unsafe { self.0.as_ref() }.counts.load(Ordering::Acquire);
        counts & u64::from(u32::MAX) == 1
    }

    fn dl_tensor(&self) -> Option<&DlTensor> {
        if self.type_index() != index::TENSOR {
            return None;
        }
        // SAFETY: a tensor object's header is followed by its DLTensor.
        Some(unsafe { &*self.0.as_ptr().add(1).cast::<DlTensor>() })
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        // SAFETY: the object is alive; the new value owns the new reference.
        unsafe { TVMFFIObjectIncRef(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns.
        unsafe { TVMFFIObjectDecRef(self.0.as_ptr()) };
    }
}

/// An argument of a call.
#[derive(Debug, Clone, Copy)]
pub enum RawArgument<'a> {
    Int(i64),
    Bool(bool),
    Text(&'a str),
    Object(&'a Object),
}

/// The result of a call.
#[derive(Debug)]
pub enum Returned {
    None,
    Int(i64),
    Bool(bool),
    Float(f64),
    Tensor(Object),
    Function(Object),
    Module(Object),
    /// Anything else, by TVM's type index; already released.
    Other(i32),
}

impl Returned {
    fn from_raw(raw: RawAny) -> Self {
        // SAFETY: the type index says which field of the union was written; an object's reference
        // is owned by the result and moves into `Object`.
        unsafe {
            match raw.type_index {
                index::NONE => Self::None,
                index::INT => Self::Int(raw.payload.int),
                index::BOOL => Self::Bool(raw.payload.int != 0),
                index::FLOAT => Self::Float(raw.payload.float),
                kind if kind >= index::FIRST_OBJECT => {
                    match (Object::from_owned(raw.payload.object), kind) {
                        (Some(object), index::TENSOR) => Self::Tensor(object),
                        (Some(object), index::FUNCTION) => Self::Function(object),
                        (Some(object), index::MODULE) => Self::Module(object),
                        _ => Self::Other(kind),
                    }
                }
                kind => Self::Other(kind),
            }
        }
    }
}

/// A function of TVM's global registry, or none.
pub fn global(name: &str) -> Result<Option<Object>, TvmError> {
    check_linked()?;
    let bytes = ByteArray { data: name.as_ptr().cast(), size: name.len() };
    let mut out = ptr::null_mut();
    // SAFETY: both pointers are to locals that outlive the call.
    let status = unsafe { TVMFFIFunctionGetGlobal(&raw const bytes, &raw mut out) };
    if status != 0 {
        return Err(raised(status, &format_args!("looking up the global function {name:?}")));
    }
    Ok(Object::from_owned(out))
}

/// Calls a function object. Allocates nothing unless an argument is text.
pub fn call(
    function: &Object,
    arguments: &[RawArgument<'_>],
    doing: &dyn fmt::Display,
) -> Result<Returned, TvmError> {
    if function.type_index() != index::FUNCTION {
        return Err(TvmError::Type {
            doing: doing.to_string(),
            expected: "a function",
            found: format!("an object of type index {}", function.type_index()),
        });
    }
    if arguments.len() > MAX_ARGUMENTS {
        return Err(TvmError::TooManyArguments { given: arguments.len(), max: MAX_ARGUMENTS });
    }
    let mut raw = [RawAny::NONE; MAX_ARGUMENTS];
    let mut texts: Vec<CString> = Vec::new();
    for (slot, argument) in raw.iter_mut().zip(arguments) {
        (slot.type_index, slot.payload) = match *argument {
            RawArgument::Int(int) => (index::INT, Payload { int }),
            RawArgument::Bool(truth) => (index::BOOL, Payload { int: i64::from(truth) }),
            RawArgument::Object(object) => {
                (object.type_index(), Payload { object: object.0.as_ptr() })
            }
            RawArgument::Text(text) => {
                let owned = CString::new(text).map_err(|_| TvmError::NulInName(text.to_owned()))?;
                // The heap block stays where it is when the vector grows.
                let pointer = owned.as_ptr();
                texts.push(owned);
                (index::RAW_STR, Payload { text: pointer })
            }
        };
    }
    let mut result = RawAny::NONE;
    // SAFETY: the function is a live function object; the arguments are views of values borrowed
    // for longer than the call, and as many as said; the result is none, as required.
    let status = unsafe {
        let count = i32::try_from(arguments.len()).unwrap_or(0);
        TVMFFIFunctionCall(function.0.as_ptr(), raw.as_mut_ptr(), count, &raw mut result)
    };
    if status == 0 {
        Ok(Returned::from_raw(result))
    } else {
        Err(raised(status, doing))
    }
}
